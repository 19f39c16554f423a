//go:build bugs

package cluster

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// TestWorkloadFindsBugs: the workload of TestTxnProperty finds what breaks the rules that it is about.
func TestWorkloadFindsBugs(t *testing.T) {
	for _, b := range []string{"newest-floor", "async-too-early", "computed-timestamp-even", "resolved-past-locks", "ring-from-its-begin"} {
		t.Run(b, func(t *testing.T) {
			planted, ok := bug.Find(b)
			if !ok {
				t.Fatal("no such bug")
			}
			bug.Plant(planted)
			defer bug.Plant(bug.None)
			for round := 1; round <= 10; round++ {
				_, x := newTxns(t, nil)
				w := &TxnWorkload{X: x, Keys: []shard.Key{tk("a"), tk("b"), tk("m"), tk("n"), tk("z")}, SplitAt: []string{"c", "p"}, Duration: 3 * time.Second}
				if problems := w.Run(); len(problems) > 0 {
					t.Logf("round %d: %s", round, problems[0])
					return
				}
			}
			t.Error("not found")
		})
	}
}

// TestToldIsNotApplied: the bug is what readsBeforeApplied looks for.
func TestToldIsNotApplied(t *testing.T) {
	bug.Plant(bug.StaleBeforeApplied)
	defer bug.Plant(bug.None)
	if readsBeforeApplied(t) == "" {
		t.Error("not found")
	}
}

// TestPrimaryDecides: what became of a transaction is not told by a lock that names another primary.
func TestPrimaryDecides(t *testing.T) {
	for _, planted := range []bug.Bug{bug.None, bug.ResolveAnyLock} {
		bug.Plant(planted)
		_, x := newTxns(t, nil)
		a, b := tk("a"), tk("b")
		start := x.Next()
		x.do(t, a, &mvcc.Prewrite{StartTS: start, TTLMillis: 1, Primary: a, Mutations: []mvcc.Mutation{put(a, "1"), put(b, "2")}})
		x.do(t, a, mvcc.NewCommit(start, x.Next(), a))
		time.Sleep(5 * time.Millisecond)
		r, err := x.Do(b, &mvcc.CheckStatus{Primary: b, StartTS: start, CurrentTS: x.Next()})
		if err != nil {
			t.Fatal(err)
		}
		if torn := r.Status == mvcc.StatusRolledBack; torn != (planted == bug.ResolveAnyLock) {
			t.Errorf("bug %d: %+v", planted, r)
		}
	}
	bug.Plant(bug.None)
}
