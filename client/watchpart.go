package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// watchPart is the part of a watch that lies in one shard, as far as is known.
type watchPart struct {
	rng shard.Range
	// after and key are the position: all changes up to it are among rows or were told. A nil key is beyond all keys.
	after Timestamp
	key   shard.Key
	rows  []watchRow
	bytes int

	settled env.Time // when a lock was looked after
}

// watchRow is a change.
type watchRow struct {
	row    mvcc.Row
	before mvcc.Row
}

func (r *watchRow) change() mvcc.Change { return mvcc.Change{TS: r.row.CommitTS, Key: r.row.Key} }

func (r *watchRow) event() Event {
	ev := Event{Key: userOf(r.row.Key), Deleted: !r.row.Found, Commit: r.row.CommitTS, Before: Found{Value: r.before.Value, Found: r.before.Found}}
	if r.row.Found {
		ev.Value = r.row.Value
	}
	return ev
}

// reached is the largest timestamp of which everything was asked for.
func (p *watchPart) reached() Timestamp {
	if p.key != nil {
		return p.after - 1
	}
	return p.after
}

// covers reports whether everything up to r was asked for.
func (p *watchPart) covers(r *watchRow) bool {
	if p.key == nil {
		return r.row.CommitTS <= p.after
	}
	return r.change().Compare(mvcc.Change{TS: p.after, Key: p.key}) <= 0
}

// less reports whether p has not come as far as o.
func (p *watchPart) less(o *watchPart) bool {
	switch {
	case p.after != o.after || p.key == nil && o.key == nil:
		return p.after < o.after
	case p.key == nil || o.key == nil:
		return o.key == nil
	}
	return p.key.Compare(o.key) < 0
}

// divide cuts the part at a key, and returns the right side: both have the same position.
func (p *watchPart) divide(at shard.Key) *watchPart {
	right := &watchPart{rng: shard.Range{Start: at, End: p.rng.End}, after: p.after, key: p.key}
	p.rng.End = at
	all := p.rows
	p.rows, p.bytes = nil, 0
	for i := range all {
		side := p
		if at.Compare(all[i].row.Key) <= 0 {
			side = right
		}
		side.push(all[i])
	}
	return right
}

func (p *watchPart) push(r watchRow) {
	p.bytes += len(r.row.Key) + len(r.row.Value) + len(r.before.Value)
	p.rows = append(p.rows, r)
}

// ask asks the shard of the part's first key, at ts. The part becomes what that covers; what is left of it is returned, and
// has the position that the part had.
func (w *watch) ask(e *effort, p *watchPart, ts Timestamp, wait time.Duration) (*watchPart, error) {
	q := mvcc.Query{Kind: mvcc.Changes, TS: ts, Range: p.rng, After: p.after, AfterKey: p.key, Previous: w.o.previous, KeysOnly: w.o.keysOnly,
		Limit: watchPageRows, MaxBytes: max(smallestWatchPage, min(pageBytes, watchBuffer/len(w.parts))), WaitMillis: uint32(wait.Milliseconds())}
	t := target{first: p.rng.Start}
	body, err := e.read(&t, q.Append(nil), w.o.follower)
	if err != nil {
		return nil, err
	}
	a, err := mvcc.DecodeAnswer(body)
	if err != nil {
		return nil, e.fail(ErrInvalid, err)
	}
	if a.Rejected != nil {
		return nil, e.compacted(a.Rejected)
	}
	var rest *watchPart
	if a.More {
		next := a.Next.Clone()
		if next.Compare(p.rng.Start) <= 0 {
			return nil, e.fail(ErrInvalid, fmt.Errorf("the watch does not move on from %s", p.rng.Start))
		}
		rest = p.divide(next)
	}
	if err := p.advance(a, w.o.previous); err != nil {
		return nil, e.fail(ErrInvalid, err)
	}
	return rest, w.unblock(e, p, a, ts)
}

// compacted says that the position is below the safe point.
func (e *effort) compacted(x *mvcc.Rejected) *Error {
	err := e.fail(ErrTooOld, fmt.Errorf("changes after %d are compacted: versions below the safe point, %d, may be gone", x.StartTS, x.CommitTS))
	err.Hint = "list the range again at a new timestamp, and watch from that"
	return err
}

// advance takes an answer in.
func (p *watchPart) advance(a *mvcc.Answer, previous bool) error {
	for i := 0; i < len(a.Rows); i++ {
		r := watchRow{row: a.Rows[i]}
		if previous {
			if i++; i == len(a.Rows) {
				return errors.New("the store answered without a previous value")
			}
			r.before = a.Rows[i]
		}
		if p.covers(&r) || !p.rng.Contains(r.row.Key) {
			return fmt.Errorf("the store answered with a change of %s at %d, which was not asked for", r.row.Key, r.row.CommitTS)
		}
		p.after, p.key = r.row.CommitTS, r.row.Key
		p.push(r)
	}
	if a.Resolved >= p.after {
		p.after, p.key = a.Resolved, nil
	}
	return nil
}

// staleLock is the age from which on somebody looks after the lock that holds a watch back: its owner may be gone. It is
// looked after once in that time.
const staleLock = time.Second

// unblock finishes the transaction whose lock holds the part back, if that is decided or its owner is gone.
func (w *watch) unblock(e *effort, p *watchPart, a *mvcc.Answer, ts Timestamp) error {
	if len(a.Locks) == 0 || ts.Millis()-min(ts.Millis(), a.Locks[0].StartTS.Millis()) < shard.Millis(staleLock.Milliseconds()) {
		return nil
	}
	if now := w.db.env.Now(); p.settled == 0 || now.Sub(p.settled) >= staleLock {
		p.settled = now
		_, _, err := e.settle(a.Locks, 0) // as a writer, who pushes nobody's commit
		return err
	}
	return nil
}
