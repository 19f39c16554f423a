package mvcc_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/shard/mvcc"
)

// check settles a copy of a state, as if every owner were dead and every message lost, and judges what has come of it.
func (o *orders) check() error {
	c := o.copy()
	for range 3 {
		for k := range ordersKeys {
			c.recoverKey(k, false)
		}
	}
	fates := make([]mvcc.Timestamp, len(c.owners))
	for i := range c.owners {
		if c.owners[i].phase == fresh {
			continue
		}
		var err error
		if fates[i], err = c.fate(i); err != nil {
			return err
		}
	}
	if err := c.firstWins(fates); err != nil {
		return err
	}
	return c.snapshots(fates)
}

// fate is when a transaction is committed, zero if it is not; its keys agree, and so does what its owner was told.
func (o *orders) fate(i int) (mvcc.Timestamp, error) {
	w := &o.owners[i]
	var fate mvcc.Timestamp
	for n, k := range w.keys {
		r := o.do(k, &mvcc.CheckStatus{Primary: ordersKeys[k], StartTS: w.start})
		if r.Status == mvcc.StatusLocked {
			return 0, fmt.Errorf("owner %d: a lock on key %d cannot be settled: %+v", i, k, r.Locks)
		}
		if n > 0 && r.CommitTS != fate {
			return 0, fmt.Errorf("owner %d: its primary says %d, key %d says %d", i, fate, k, r.CommitTS)
		}
		fate = r.CommitTS
	}
	if w.acked != 0 && w.acked != fate {
		return 0, fmt.Errorf("owner %d was told that it is committed at %d, and it is at %d", i, w.acked, fate)
	}
	if fate != 0 && fate <= w.start {
		return 0, fmt.Errorf("owner %d began at %d and is committed at %d", i, w.start, fate)
	}
	return fate, nil
}

// firstWins demands that no two that wrote one key were under way at the same time.
func (o *orders) firstWins(fates []mvcc.Timestamp) error {
	for i := range o.owners {
		for j := range i {
			a, b := &o.owners[i], &o.owners[j]
			if fates[i] == 0 || fates[j] == 0 || fates[i] <= b.start || fates[j] <= a.start {
				continue
			}
			for _, k := range a.keys {
				for _, l := range b.keys {
					if k == l {
						return fmt.Errorf("owner %d (%d to %d) and owner %d (%d to %d) overlap, and both wrote key %d", i, a.start, fates[i], j, b.start, fates[j], k)
					}
				}
			}
		}
	}
	return nil
}

// snapshots demands that every read showed the newest version up to its timestamp, as it now is.
func (o *orders) snapshots(fates []mvcc.Timestamp) error {
	for i := range o.readers {
		r := &o.readers[i]
		for k := range ordersKeys {
			if !r.read[k] {
				continue
			}
			var want mvcc.Timestamp
			for n := range o.owners {
				for _, wk := range o.owners[n].keys {
					if wk == k && fates[n] <= r.ts {
						want = max(want, fates[n])
					}
				}
			}
			if got := r.rows[k].CommitTS; got != want {
				return fmt.Errorf("reader %d at %d saw key %d as of %d, and there is a version at %d", i, r.ts, k, got, want)
			}
		}
	}
	return nil
}

func both(mode mvcc.Mode, limit mvcc.Timestamp) owner {
	return owner{mode: mode, keys: []int{0, 1}, limit: limit}
}

// scenarios: modes of two transactions against one another and a reader; with the primary on either key; three of one key.
var scenarios = []scenario{
	{name: "two phases, a reader", owners: []owner{both(mvcc.TwoPhase, 0)}, readers: 1, late: 2, recover: 1},
	{name: "async, a reader", owners: []owner{both(mvcc.Async, 50)}, readers: 1, late: 2, recover: 1},
	{name: "async that falls back, a reader", owners: []owner{both(mvcc.Async, 2)}, readers: 1, late: 1, recover: 2},
	{name: "one phase against two, a reader", owners: []owner{{mode: mvcc.OnePhase, keys: []int{0}, limit: 50}, {keys: []int{0}}}, readers: 1, late: 1, recover: 1},
	{name: "pessimistic, kept alive", owners: []owner{{pessimistic: true, keys: []int{0, 1}}}, readers: 1, recover: 2, late: 1, keep: 1},
	{name: "two phases, kept alive", owners: []owner{both(mvcc.TwoPhase, 0)}, readers: 1, recover: 2, late: 1, keep: 1},
	{name: "two phases against each other", owners: []owner{both(mvcc.TwoPhase, 0), {keys: []int{1, 0}}}, recover: 1, late: 1},
	{name: "two phases against async", owners: []owner{both(mvcc.TwoPhase, 0), both(mvcc.Async, 50)}, recover: 1, late: 1},
	{name: "async against each other", owners: []owner{both(mvcc.Async, 50), {mode: mvcc.Async, keys: []int{1, 0}, limit: 50}}, recover: 1},
	{name: "pessimistic against two phases", owners: []owner{{pessimistic: true, keys: []int{0, 1}}, {keys: []int{1}}}, recover: 1, late: 1},
	{name: "three on one key", owners: []owner{{keys: []int{0}}, {keys: []int{0}}, {mode: mvcc.OnePhase, keys: []int{0}, limit: 50}}, late: 1},
}

// TestEveryOrder: in every state that any order leads to there is one outcome per transaction, on all of its keys, and as
// its owner was told; the first committer wins; and a reader saw a snapshot.
func TestEveryOrder(t *testing.T) {
	limit := 100_000
	for _, s := range scenarios {
		begun := time.Now()
		states, err := s.search(limit)
		t.Logf("%s: %d states in %s", s.name, states, time.Since(begun))
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if states == limit {
			t.Errorf("%s: there are more states than %d: give it a smaller budget", s.name, limit)
		}
	}
}
