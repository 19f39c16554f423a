package client

import (
	"errors"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// view reads at one timestamp. Safe for concurrent use.
type view struct {
	db *DB
	ts Timestamp
	// own is the start timestamp of the transaction that reads, whose locks do not stop it; or zero.
	own      Timestamp
	follower bool
	// impatient: the reader holds locks, and must not wait for long for others' (see txnlock.go).
	impatient func() bool

	mu sync.Mutex
	// pass are transactions whose locks do not stop reads at ts: rolled back ones, and those that commit above it, for good.
	pass []Timestamp // ascending, at most mvcc.MaxKeys
}

func (v *view) passing() []Timestamp {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.pass)
}

func (v *view) letPass(ts []Timestamp) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pass = append(v.pass, ts...)
	slices.Sort(v.pass)
	v.pass = slices.Compact(v.pass)
	if n := len(v.pass); n > mvcc.MaxKeys {
		v.pass = v.pass[n-mvcc.MaxKeys:] // the others are asked about again
	}
}

// maxReadWaits is how often a reader that holds locks looks again at a lock in its way before it gives up: a few hundred
// milliseconds. A commit under way takes less; two that wait for each other would do so for ever.
const maxReadWaits = 8

// ask asks one shard, and deals with the locks that it meets. Of a scan, the locks of an answer may be past its rows, which are read into
// the room of a's. The reply is the one that a lies in.
func (v *view) ask(e *effort, t *target, req call.Request, q *mvcc.Query, a *mvcc.Answer) (call.Reply, error) {
	q.TS, q.OwnTS = v.ts, v.own
	req.Kind = call.Read
	req.Follower = req.Follower || v.follower
	for waits := 0; ; {
		q.Bypass = v.passing()
		req.Body = q.Append(nil)
		rep, err := e.fetch(t, req)
		if err != nil {
			return rep, err
		}
		if err := a.Decode(rep.Body); err != nil {
			return rep, e.unreadable(err)
		}
		if a.Rejected != nil {
			return rep, e.refusal(a.Rejected)
		}
		if len(a.Locks) == 0 || q.Kind == mvcc.Scan && len(a.Rows) > 0 {
			return rep, nil
		}
		req.Follower = false // another replica may show a lock that is gone, for as long as it lags behind
		pass, wait, err := e.settle(a.Locks, v.ts)
		if err != nil {
			return rep, err
		}
		v.letPass(pass)
		if wait == nil {
			continue
		}
		if waits++; v.impatient != nil && waits > maxReadWaits && v.impatient() {
			return rep, e.conflictOf(&mvcc.Rejected{Reason: mvcc.Locked, Key: wait.Key, StartTS: v.own, Other: wait.StartTS},
				"it is being committed, and waits perhaps for a lock of this one")
		}
		if stop := e.pause(lockedOut, errors.New(wait.String()), 0); stop != nil {
			return rep, e.stopped(stop)
		}
	}
}

var spareViewRows sync.Pool // of *[]mvcc.Row

// read is the source of a scan.
func (v *view) read(e *effort, t *target, q *query) (page[mvcc.Row], error) {
	_, p, err := v.scan(e, t, q)
	return p, err
}

// scan reads a page, and returns the answer as well.
func (v *view) scan(e *effort, t *target, q *query) (mvcc.Answer, page[mvcc.Row], error) {
	a := mvcc.Answer{Rows: spareRows[mvcc.Row](&spareViewRows)}
	ask := mvcc.Query{Kind: mvcc.Scan, Range: q.in, Reverse: q.reverse, KeysOnly: q.o.keysOnly, Limit: q.limit, MaxBytes: q.bytes}
	rep, err := v.ask(e, t, call.Request{Follower: q.o.follower, Lend: q.o.reuse}, &ask, &a)
	if err != nil {
		return a, page[mvcc.Row]{}, err
	}
	return a, page[mvcc.Row]{rows: a.Rows, spare: &spareViewRows, room: q.room(&rep), more: a.More, next: a.Next}, nil
}

// get reads sorted keys. rows are in their order.
func (v *view) get(e *effort, keys []shard.Key, rows []mvcc.Row) error {
	at := func(k shard.Key) int {
		i, _ := slices.BinarySearchFunc(keys, k, shard.Key.Compare)
		return i
	}
	return v.db.overKeys(e, keys, func(e *effort, t *target, part []shard.Key) error {
		for len(part) > 0 {
			pt := target{first: part[0], last: part[len(part)-1]}
			var a mvcc.Answer
			if _, err := v.ask(e, &pt, call.Request{}, &mvcc.Query{Kind: mvcc.Get, Keys: part}, &a); err != nil {
				return err
			}
			n := len(a.Rows)
			if n == 0 || n > len(part) {
				return e.fail(ErrInvalid, errors.New("the store answered with another number of rows than was asked for"))
			}
			copy(rows[at(part[0]):], a.Rows)
			part = part[n:]
		}
		return nil
	})
}
