package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// comparing is the options of stores that compare all the time.
func comparing(o *raftstore.Options) {
	o.CheckEvery, o.CheckBytesPerSecond = 50*time.Millisecond, 1<<30
}

// compare compares a shard's replicas, whoever leads it.
func compare(c *Cluster, id shard.ID) *raftstore.Comparison {
	c.T.Helper()
	var out *raftstore.Comparison
	c.WaitFor("a comparison", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		s, _ := c.store(c.Leader(id))
		got, err := s.Compare(ctx, id)
		if err != nil || got.Verdict == raftstore.Unfinished {
			return false
		}
		out = got
		return true
	})
	return out
}

// verdicts adds up what came out of all comparisons.
func (c *Cluster) verdicts() map[raftstore.Verdict]uint64 {
	out := make(map[raftstore.Verdict]uint64)
	for id := range c.Stores {
		for v := raftstore.Equal; v <= raftstore.Unfinished; v++ {
			out[v] += counter(c, id, "comparisons_"+v.String()+"_total")
		}
	}
	return out
}

// wantEqual demands that replicas were compared, and did not differ.
func (c *Cluster) wantEqual(least uint64) {
	c.T.Helper()
	v := c.verdicts()
	c.T.Logf("%v", v)
	if v[raftstore.Equal] < least || v[raftstore.Divergent]+v[raftstore.Undecided] != 0 {
		c.T.Errorf("verdicts: %v, want %d equal or more and none that differ", v, least)
	}
}

// meddle writes a key of a store behind everybody's back.
func (c *Cluster) meddle(id shard.StoreID, k, v string) {
	c.T.Helper()
	b := c.Stores[id].Engine.NewStateBatch()
	defer b.Close()
	b.Set(shard.RawKey([]byte(k)), append([]byte{0}, v...)) // a value for ever
	if err := b.Commit(true); err != nil {
		c.T.Fatal(err)
	}
}

// ends gathers which stores stopped, and why.
type ends struct {
	mu  sync.Mutex
	all map[shard.StoreID]error
}

func (e *ends) broken(id shard.StoreID, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.all == nil {
		e.all = make(map[shard.StoreID]error)
	}
	e.all[id] = err
}

func (e *ends) of(id shard.StoreID) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.all[id]
}

func (e *ends) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.all)
}

// TestCompareUnderLoad: replicas are the same at every index, byte for byte, whatever happens meanwhile: writes, times to live,
// splits, changes of leader, moves, a store that crashes.
func TestCompareUnderLoad(t *testing.T) {
	t.Parallel()
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Stores: 4, Shards: []*shard.Descriptor{d}, Store: comparing})
	mustPut(t, c, d, "a", "1")
	parts := c.Split(d.ID, "m")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, p := range parts {
		k := []string{"b", "n"}[i]
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				ops := []raw.Op{{Kind: raw.Put, Key: shard.RawKey(fmt.Appendf(nil, "%s%d", k, n%50)), Value: fmt.Append(nil, n)},
					{Kind: raw.Put, Key: shard.RawKey(fmt.Appendf(nil, "%st%d", k, n%10)), Value: []byte("short"), TTL: time.Duration(20+n%100) * time.Millisecond}}
				cur := c.Status(c.Leader(p.ID), p.ID).Desc
				if cur == nil {
					continue // its store has just crashed
				}
				var stale *shard.StaleEpochError
				var ambiguous *shard.AmbiguousError
				if _, err := c.Write(cur, &raw.Command{Ops: ops}); err != nil && !errors.As(err, &stale) && !errors.As(err, &ambiguous) {
					t.Errorf("write %d: %v", n, err)
					return
				}
			}
		})
	}
	for i := range 6 {
		for _, p := range parts {
			lead := c.Leader(p.ID)
			_ = c.Stores[lead].Store.TransferLeader(context.Background(), p.ID, lead%3+1)
		}
		time.Sleep(100 * time.Millisecond)
		if i == 2 {
			c.Crash(3, 0)
			c.Start(3)
		}
	}
	change := func(ch shard.Change) {
		t.Helper()
		c.WaitFor(ch.String(), func() bool {
			lead := c.Leader(parts[0].ID)
			cur := c.Status(lead, parts[0].ID).Desc
			return cur != nil && c.Stores[lead].Store.Change(context.Background(), parts[0].ID, cur.Epoch, ch) == nil
		})
	}
	change(shard.Change{Kind: shard.AddLearner, Replica: shard.Replica{ID: 1_000_000, Store: 4, Role: shard.Learner}})
	c.Split(parts[1].ID, "t")
	close(stop)
	wg.Wait()
	cmp := compare(c, parts[0].ID)
	if cmp.Verdict != raftstore.Equal || len(cmp.Sums) != 4 {
		t.Errorf("with a learner: %s", cmp)
	}
	for _, p := range cmp.Sums {
		if p.Sum.Pairs == 0 || p.Sum.Bytes == 0 {
			t.Errorf("an empty sum: %s", cmp)
		}
	}
	c.wantEqual(5)
}

// TestCompareTxns is the same of transactions: their locks, versions and rollbacks.
func TestCompareTxns(t *testing.T) {
	c, x := newTxns(t, comparing)
	w := &TxnWorkload{X: x, Keys: []shard.Key{tk("a"), tk("b"), tk("m"), tk("z")}, SplitAt: []string{"c"}, Duration: 3 * time.Second}
	for _, p := range w.Run() {
		t.Error(p)
	}
	c.wantEqual(5)
}

// TestDivergentFollower: a follower whose data were changed behind its back is found; its store stops, and no other. It
// refuses to start again, and says why.
func TestDivergentFollower(t *testing.T) {
	t.Parallel()
	var e ends
	c := New(t, Options{OnBroken: e.broken})
	d := c.opt.Shards[0]
	fill(t, c, d, "k", 50)
	if cmp := compare(c, d.ID); cmp.Verdict != raftstore.Equal {
		t.Fatal(cmp)
	}
	lead := c.Leader(d.ID)
	bad := others(lead)[0]
	c.meddle(bad, "k-00007", "another")
	if cmp := compare(c, d.ID); cmp.Verdict != raftstore.Divergent {
		t.Fatal(cmp)
	}
	wantDiverged(t, c, &e, bad)
	mustPut(t, c, d, "after", "1") // the others go on
	mustGet(t, c, d, "k-00007", "v7")
}

// wantDiverged demands that one store stopped because of its data, alone, and does not start again.
func wantDiverged(t *testing.T, c *Cluster, e *ends, bad shard.StoreID) {
	t.Helper()
	c.WaitFor(fmt.Sprintf("the end of %s", bad), func() bool { return e.of(bad) != nil })
	err := e.of(bad)
	if fault.Of(err) != fault.Diverged || !strings.Contains(err.Error(), "ctl store remove") || e.count() != 1 {
		t.Errorf("it stopped with %v (%s), and %d stores did", err, fault.Of(err), e.count())
	}
	var broken *shard.BrokenError
	if !errors.As(c.Stores[bad].Store.Err(), &broken) {
		t.Errorf("it says to those who ask: %v", c.Stores[bad].Store.Err())
	}
	m := c.Stores[bad]
	c.Crash(bad, 0) // what was said was on disk before it stopped
	_, err = engine.Open("store", engine.Options{FS: m.FS})
	if fault.Of(err) != fault.Diverged || !strings.Contains(err.Error(), "majority") {
		t.Errorf("it starts again: %v (%s)", err, fault.Of(err))
	}
	_, damage := engine.CheckStore("store", m.FS)
	if len(damage) != 1 || fault.Of(damage[0]) != fault.Diverged {
		t.Errorf("a check of its directory says: %v", damage)
	}
}

// TestDivergentLeader: a leader that is the minority stops itself.
func TestDivergentLeader(t *testing.T) {
	t.Parallel()
	var e ends
	c := New(t, Options{OnBroken: e.broken})
	d := c.opt.Shards[0]
	fill(t, c, d, "k", 20)
	bad := c.Leader(d.ID)
	c.meddle(bad, "of nobody", "x")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmp, err := c.Stores[bad].Store.Compare(ctx, d.ID)
	if err != nil || cmp.Verdict != raftstore.Divergent {
		t.Fatal(cmp, err)
	}
	wantDiverged(t, c, &e, bad)
	c.WaitFor("another leader", func() bool { return c.Leader(d.ID) != bad })
	mustGet(t, c, d, "k-00007", "v7")
}

// TestNoMajority: replicas of which no two are alike stop nobody.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	c := New(t, Options{}) // a store that stops fails the test
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "1")
	for id, v := range []string{1: "a", 2: "b", 3: "c"} {
		if v != "" {
			c.meddle(shard.StoreID(id), "x", v)
		}
	}
	if cmp := compare(c, d.ID); cmp.Verdict != raftstore.Undecided {
		t.Fatal(cmp)
	}
	mustPut(t, c, d, "k", "2")
	if v := c.verdicts(); v[raftstore.Undecided] != 1 || v[raftstore.Divergent] != 0 {
		t.Error(v)
	}
}

// TestMadeUpVerdict: nobody stops because of a word that is not about its own sum, or not of the one who asked for it.
func TestMadeUpVerdict(t *testing.T) {
	t.Parallel()
	var e ends
	c := New(t, Options{OnBroken: e.broken})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "1")
	cmp := compare(c, d.ID)
	lead := c.Leader(d.ID)
	to := others(lead)[0]
	rep, _ := d.ReplicaOn(to)
	verdict := func(index uint64, sum engine.Sum) []byte {
		b := []byte{1, 4} // version, verdict
		for _, n := range []uint64{uint64(d.ID), 0, uint64(rep.ID), index, sum.Hash, sum.Pairs, sum.Bytes, 1, 1, 1} {
			b = codec.AppendUvarint(b, n)
		}
		return append(b, 5) // a frame about comparisons
	}
	other := engine.Sum{Hash: cmp.Majority.Hash + 1, Pairs: cmp.Majority.Pairs, Bytes: cmp.Majority.Bytes}
	for from, frames := range map[shard.StoreID][][]byte{
		lead:            {verdict(cmp.Index, other), verdict(cmp.Index+1, cmp.Majority)},
		others(lead)[1]: {verdict(cmp.Index, cmp.Majority)},
	} {
		for _, f := range frames {
			c.Stores[to].Store.Receive(from, f)
		}
	}
	if cmp = compare(c, d.ID); cmp.Verdict != raftstore.Equal || e.count() != 0 {
		t.Fatal(cmp, e.all)
	}
	c.Stores[to].Store.Receive(c.Leader(d.ID), verdict(cmp.Index, cmp.Majority))
	wantDiverged(t, c, &e, to) // such is one that is believed
}

// TestNoComparisonBeforeItsVersion: while a program may be there that does not know the entry, none is proposed.
func TestNoComparisonBeforeItsVersion(t *testing.T) {
	t.Parallel()
	c := New(t, Options{Store: func(o *raftstore.Options) {
		comparing(o)
		o.Version = version.Settings
	}})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "1")
	lead := c.Leader(d.ID)
	var invalid *shard.InvalidError
	if _, err := c.Stores[lead].Store.Compare(context.Background(), d.ID); !errors.As(err, &invalid) {
		t.Errorf("compared in version %s: %v", version.Settings, err)
	}
	for _, m := range c.Stores {
		m.Store.HearVersion(version.Comparisons)
	}
	c.WaitFor("comparisons", func() bool { return c.verdicts()[raftstore.Equal] > 0 })
	if apply.EvalVersion != version.Comparisons.Eval() {
		t.Errorf("evaluation version %d, the cluster's version brings %d", apply.EvalVersion, version.Comparisons.Eval())
	}
}
