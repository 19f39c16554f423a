package client

import (
	"errors"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/shard"
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

// ask asks one shard, and deals with the locks that it meets. Of a scan, the locks of an answer may be past its rows.
func (v *view) ask(e *effort, t *target, q *mvcc.Query) (*mvcc.Answer, error) {
	q.TS, q.OwnTS = v.ts, v.own
	follower := v.follower
	for waits := 0; ; {
		q.Bypass = v.passing()
		body, err := e.read(t, q.Append(nil), follower)
		if err != nil {
			return nil, err
		}
		a, err := mvcc.DecodeAnswer(body)
		if err != nil {
			return nil, e.fail(ErrInvalid, err)
		}
		if a.Rejected != nil {
			return nil, e.refusal(a.Rejected)
		}
		if len(a.Locks) == 0 || q.Kind == mvcc.Scan && len(a.Rows) > 0 {
			return a, nil
		}
		follower = false // another replica may show a lock that is gone, for as long as it lags behind
		pass, wait, err := e.settle(a.Locks, v.ts)
		if err != nil {
			return nil, err
		}
		v.letPass(pass)
		if wait == nil {
			continue
		}
		if waits++; v.impatient != nil && waits > maxReadWaits && v.impatient() {
			return nil, e.conflictOf(&mvcc.Rejected{Reason: mvcc.Locked, Key: wait.Key, StartTS: v.own, Other: wait.StartTS},
				"it is being committed, and waits perhaps for a lock of this one")
		}
		if stop := e.pause(lockedOut, errors.New(wait.String()), 0); stop != nil {
			return nil, e.stopped(stop)
		}
	}
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
			a, err := v.ask(e, &pt, &mvcc.Query{Kind: mvcc.Get, Keys: part})
			if err != nil {
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
