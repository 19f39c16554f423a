package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

func tk(user string) shard.Key { return mvcc.Key([]byte(user)) }

// newTxns starts three stores of one shard.
func newTxns(t *testing.T, change func(*raftstore.Options)) (*Cluster, *Txns) {
	o := new(Oracle)
	c := New(t, Options{Store: func(so *raftstore.Options) {
		o.Into(so)
		if change != nil {
			change(so)
		}
	}})
	return c, NewTxns(c, o, c.opt.Shards[0])
}

func put(k shard.Key, v string) mvcc.Mutation {
	return mvcc.Mutation{Kind: mvcc.Put, Key: k, Value: []byte(v)}
}

// do executes a command that must not be rejected.
func (x *Txns) do(t *testing.T, k shard.Key, cmd mvcc.Command) *mvcc.Result {
	t.Helper()
	r, err := x.Do(k, cmd)
	if err != nil {
		t.Fatalf("%T: %v", cmd, err)
	}
	if len(r.Rejected) > 0 {
		t.Fatalf("%T: %v", cmd, r.Rejected[0])
	}
	return r
}

func (x *Txns) refused(t *testing.T, k shard.Key, cmd mvcc.Command, why mvcc.Reason) *mvcc.Rejected {
	t.Helper()
	r, err := x.Do(k, cmd)
	if err != nil || len(r.Rejected) == 0 || r.Rejected[0].Reason != why {
		t.Fatalf("%T: %+v %v, not refused because it %s", cmd, r, err, why)
	}
	return r.Rejected[0]
}

func (x *Txns) must(t *testing.T, k shard.Key, ts mvcc.Timestamp, want string) {
	t.Helper()
	for at := 0; at <= len(x.C.Stores); at++ {
		row, err := x.Get(k, ts, shard.StoreID(at))
		if err != nil || string(row.Value) != want {
			t.Fatalf("%s at %d on %d: %q %v, not %q", k, ts, at, row.Value, err, want)
		}
	}
}

// moveLeader hands a shard to another store and waits for it.
func (c *Cluster) moveLeader(id shard.ID) {
	c.T.Helper()
	c.leadOn(id, others(c.Leader(id))[0])
}

// leadOn hands a shard to a store, again and again until it leads.
func (c *Cluster) leadOn(id shard.ID, to shard.StoreID) {
	c.T.Helper()
	c.WaitFor(fmt.Sprintf("%s to lead %s", to, id), func() bool {
		if c.Stores[to].Store.Leading(id) != 0 {
			return true
		}
		_ = c.Stores[c.Leader(id)].Store.TransferLeader(context.Background(), id, to)
		return false
	})
}

// TestTxnOverLeaderChange: a transaction is prewritten under one leader, repeated and committed under the next, and its
// repetitions change nothing. Another is rolled back, and its late prewrite refused.
func TestTxnOverLeaderChange(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, nil)
	a, b := tk("a"), tk("b")
	older, start := x.Next(), x.Next()
	pre := &mvcc.Prewrite{StartTS: start, TTLMillis: 5000, Primary: a, Mutations: []mvcc.Mutation{put(a, "1"), put(b, "2")}}
	x.do(t, a, pre)
	if rej := x.refused(t, b, mvcc.NewPessimisticLock(x.Next(), x.Next(), b, 5000, b), mvcc.Locked); rej.Lock == nil || rej.Lock.StartTS != start {
		t.Fatalf("the lock is not told: %+v", rej)
	}
	c.moveLeader(2)
	x.do(t, a, pre)
	at := x.Next()
	x.do(t, a, mvcc.NewCommit(start, at, a))
	c.moveLeader(2)
	x.do(t, a, mvcc.NewCommit(start, at, a, b))
	x.do(t, a, mvcc.NewCommit(start, at, a, b))
	if r := x.do(t, a, pre); r.CommitTS != at {
		t.Fatalf("a repeated prewrite after the commit: %+v", r)
	}
	x.must(t, a, x.Next(), "1")
	x.must(t, b, x.Next(), "2")
	x.must(t, b, at-1, "")

	late := x.Next()
	x.do(t, a, mvcc.NewRollback(late, a))
	c.moveLeader(2)
	x.refused(t, a, &mvcc.Prewrite{StartTS: late, TTLMillis: 5000, Primary: a, Mutations: []mvcc.Mutation{put(a, "3")}}, mvcc.RolledBack)
	rej := x.refused(t, a, &mvcc.Prewrite{StartTS: older, TTLMillis: 5000, Primary: b, Mutations: []mvcc.Mutation{put(b, "4"), put(tk("c"), "3")}}, mvcc.Conflict)
	if rej.Other != start || rej.CommitTS != at || rej.Key.Compare(b) != 0 {
		t.Fatalf("a conflict does not tell with whom: %+v", rej)
	}
	SameTxns(c, c.opt.Shards[0])
}

// TestTxnOverSplit: a shard is split between the prewrites and the commit. Each side knows its own locks; the sum of the
// counts and the checksums are those of before.
func TestTxnOverSplit(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, nil)
	a, p := tk("a"), tk("p")
	start := x.Next()
	pre := func(ks ...shard.Key) *mvcc.Prewrite {
		cmd := &mvcc.Prewrite{Mode: mvcc.Async, StartTS: start, TTLMillis: 5000, MaxCommitTS: start + txnMaxAhead, Primary: a, Secondaries: []shard.Key{p}}
		for _, k := range ks {
			cmd.Mutations = append(cmd.Mutations, put(k, string(k[1:2])))
		}
		return cmd
	}
	first := x.do(t, a, pre(a, p))
	if !first.Async || first.MinCommitTS&1 == 0 {
		t.Fatalf("%+v", first)
	}
	safe := x.Next() - 100<<18
	x.do(t, a, &mvcc.GC{SafePoint: safe})
	before := SameTxns(c, c.opt.Shards[0])
	parts, err := c.trySplit(t.Context(), 2, []shard.Key{tk("m")})
	if err != nil {
		t.Fatal(err)
	}
	c.Leader(parts[1].ID)
	left, right := SameTxns(c, parts[0]), SameTxns(c, parts[1])
	if left.Locks != 1 || right.Locks != 1 || left.Add(right) != before {
		t.Fatalf("%+v and %+v of %+v", left, right, before)
	}
	if _, a := c.TxnSum(1, parts[1]); a.SafePoint != uint64(safe) {
		t.Fatalf("the right side has the safe point %d, not %d", a.SafePoint, safe)
	}
	if r := x.do(t, p, pre(p)); !r.Async || r.MinCommitTS != first.MinCommitTS {
		t.Fatalf("the repetition in the right side: %+v", r)
	}
	x.do(t, p, mvcc.NewCommit(start, first.MinCommitTS, p))
	if r := x.do(t, a, mvcc.NewCheckSecondaries(start, a)); r.Status != mvcc.StatusLocked || len(r.Locks) != 1 || !r.Locks[0].Async {
		t.Fatalf("%+v", r)
	}
	x.do(t, a, mvcc.NewCommit(start, first.MinCommitTS, a))
	x.must(t, a, x.Next(), "a")
	x.must(t, p, x.Next(), "p")
	// What still names the old range has no effect, and says where to go.
	lead := c.Leader(2)
	rep := c.Do(lead, &call.Request{Kind: call.Write, Shard: 2, Epoch: c.opt.Shards[0].Epoch, Body: pre(a, p).Append(nil)})
	var stale *shard.StaleEpochError
	if !errors.As(rep.Err, &stale) || len(stale.Current) != 2 {
		t.Fatalf("a command for the range before the split: %v", rep.Err)
	}
}

// TestTxnSnapshot: a store that lost its disk gets versions, locks and safe points by snapshot.
func TestTxnSnapshot(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, func(o *raftstore.Options) { o.LogEntries = 16 })
	d := c.opt.Shards[0]
	c.Leader(d.ID)
	c.Stop(3)
	a := tk("a")
	start := x.Next()
	x.do(t, a, &mvcc.GC{SafePoint: start - 10<<18})
	for i := range 60 {
		k := tk(fmt.Sprintf("k%03d", i))
		x.do(t, k, &mvcc.Prewrite{StartTS: start, TTLMillis: 60_000, Primary: tk("k000"), Mutations: []mvcc.Mutation{put(k, "v")}})
		x.do(t, a, &mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: x.Next(), MaxCommitTS: start + txnMaxAhead, TTLMillis: 1, Primary: a, Mutations: []mvcc.Mutation{put(a, fmt.Sprint(i))}})
	}
	c.WaitFor("the log to be cut", func() bool { return c.Status(c.Leader(d.ID), d.ID).Applied.TruncIndex > 30 })
	c.Start(3)
	if sum := SameTxns(c, d); sum.Locks != 60 {
		t.Fatalf("%+v", sum)
	}
	ans, err := x.Ask(a, &mvcc.Query{Kind: mvcc.ScanLocks, TS: x.Next(), Range: shard.ModeRange(shard.ModeTxn), Limit: 7}, 3)
	if err != nil || len(ans.Locks) != 7 || !ans.More {
		t.Fatalf("locks on the restored store: %+v %v", ans, err)
	}
	if row, err := x.Get(a, x.Next(), 3); err != nil || string(row.Value) != "59" {
		t.Fatalf("%q %v", row.Value, err)
	}
}

// TestTxnFrame: what a request of a transaction must not carry, and where raw ones belong.
func TestTxnFrame(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, nil)
	d := c.opt.Shards[0]
	lead := c.Leader(d.ID)
	start := x.Next()
	body := mvcc.NewRollback(start, tk("a")).Append(nil)
	var invalid *shard.InvalidError
	if rep := c.Do(lead, &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Op: call.OpID{Client: 1, Seq: 1}, Body: body}); !errors.As(rep.Err, &invalid) {
		t.Errorf("a command of a transaction with an op id: %v", rep.Err)
	}
	if rep := c.Do(lead, &call.Request{Kind: call.Outcome, Shard: d.ID}); !errors.As(rep.Err, &invalid) {
		t.Errorf("the outcome of nothing: %v", rep.Err)
	}
	if rep := c.Do(lead, &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Body: putCommand("k", "v").Append(nil)}); !errors.As(rep.Err, &invalid) {
		t.Errorf("a raw command without an op id: %v", rep.Err)
	}
	ahead := start + 10_000<<18
	for _, cmd := range []mvcc.Command{mvcc.NewCommit(start, ahead, tk("a")), mvcc.NewRollback(ahead, tk("a")),
		&mvcc.CheckStatus{Primary: tk("a"), StartTS: start, CallerTS: ahead}, &mvcc.CheckStatus{Primary: tk("a"), StartTS: start, CurrentTS: ahead},
		&mvcc.GC{SafePoint: ahead}} {
		var future *shard.TooNewError
		if _, err := x.Do(tk("a"), cmd); !errors.As(err, &future) {
			t.Errorf("%T far ahead of the clock: %v", cmd, err)
		}
	}
	var future *shard.TooNewError
	for at := range shard.StoreID(4) {
		if _, err := x.Ask(tk("a"), &mvcc.Query{Kind: mvcc.Get, TS: ahead, Keys: []shard.Key{tk("a")}}, at); !errors.As(err, &future) {
			t.Errorf("a read far ahead of the clock: %v", err)
		}
	}
	// Raw writes and transactions share entries; each is answered by its own result.
	mustPut(t, c, d, "k", "v")
	mustGet(t, c, d, "k", "v")
}

// TestNoTimestampNoComputing (rule T4): a leader that cannot fetch a timestamp refuses what computes one, and nothing else.
func TestNoTimestampNoComputing(t *testing.T) {
	t.Parallel()
	_, x := newTxns(t, func(o *raftstore.Options) { o.Timestamps = nil })
	a := tk("a")
	start := x.Next()
	pre := &mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: start, MaxCommitTS: start + txnMaxAhead, TTLMillis: 5000, Primary: a, Mutations: []mvcc.Mutation{put(a, "1")}}
	var two *shard.UseTwoPhaseError
	if _, err := x.Do(a, pre); !errors.As(err, &two) {
		t.Fatalf("one phase without a timestamp: %v", err)
	}
	if _, err := x.Do(a, &mvcc.Add{StartTS: start, MaxCommitTS: start + txnMaxAhead, Key: a, Delta: 1}); !errors.As(err, &two) {
		t.Fatalf("add without a timestamp: %v", err)
	}
	pre.Mode, pre.MaxCommitTS = mvcc.TwoPhase, 0
	x.do(t, a, pre)
	at := x.Next()
	x.do(t, a, mvcc.NewCommit(start, at, a))
	x.must(t, a, x.Next(), "1")

}

// TestResolved (rule T6): what is resolved stays below the locks that may still commit, on every replica, and nothing is
// committed at or below it afterwards.
func TestResolved(t *testing.T) {
	t.Parallel()
	_, x := newTxns(t, nil)
	a := tk("a")
	ask := func(at shard.StoreID) mvcc.Timestamp {
		t.Helper()
		ts := x.Next()
		ans, err := x.Ask(a, &mvcc.Query{Kind: mvcc.Resolved, TS: ts, Range: shard.ModeRange(shard.ModeTxn)}, at)
		if err != nil {
			t.Fatal(err)
		}
		if ans.Resolved == ts {
			return 0
		}
		return ans.Resolved
	}
	if at := ask(0); at != 0 {
		t.Fatalf("resolved %d without any lock", at)
	}
	start := x.Next()
	x.do(t, a, mvcc.NewPessimisticLock(start, start, a, 5000, a))
	if at := ask(2); at != 0 {
		t.Fatalf("a pessimistic lock holds it back to %d", at)
	}
	x.do(t, a, &mvcc.Prewrite{StartTS: start, ForUpdateTS: start, TTLMillis: 5000, Primary: a, Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: a, Held: true}}})
	for at := range shard.StoreID(4) {
		if got := ask(at); got != start-1 {
			t.Fatalf("resolved %d on %d beside a lock of %d", got, at, start)
		}
	}
	x.do(t, a, mvcc.NewRollback(start, a))
	resolved := x.Next()
	if _, err := x.Ask(a, &mvcc.Query{Kind: mvcc.Resolved, TS: resolved, Range: shard.ModeRange(shard.ModeTxn)}, 3); err != nil {
		t.Fatal(err)
	}
	old := resolved - 100<<18
	r := x.do(t, a, &mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: old &^ 1, MaxCommitTS: resolved + txnMaxAhead, TTLMillis: 5000, Primary: tk("b"), Mutations: []mvcc.Mutation{put(tk("b"), "1")}})
	if r.CommitTS <= resolved {
		t.Fatalf("committed at %d, and %d was resolved", r.CommitTS, resolved)
	}
}

// TestSafePoint (rule T8): a safe point that stores hear is taken up before the next command of a transaction, on all
// replicas; versions below the other bound are collected in the background, and locks hold that back.
func TestSafePoint(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, nil)
	d := c.opt.Shards[0]
	a := tk("a")
	one := func(v string) mvcc.Timestamp {
		start := x.Next()
		return x.do(t, a, &mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: start, MaxCommitTS: start + txnMaxAhead, TTLMillis: 5000, Primary: a, Mutations: []mvcc.Mutation{put(a, v)}}).CommitTS
	}
	for i := range 20 {
		one(fmt.Sprint(i))
	}
	lock := x.Next()
	b := tk("b")
	x.do(t, b, &mvcc.Prewrite{StartTS: lock, TTLMillis: 60_000, Primary: b, Mutations: []mvcc.Mutation{put(b, "2")}})
	old := x.Next()
	x.must(t, a, old, "19")
	safe := x.Next()
	hear := func(collect mvcc.Timestamp) {
		for _, m := range c.Stores {
			m.Store.HearSafePoint(safe, collect)
		}
	}
	hear(0)
	x.refused(t, a, &mvcc.Prewrite{StartTS: old, TTLMillis: 5000, Primary: a, Mutations: []mvcc.Mutation{put(a, "x")}}, mvcc.TooOld)
	for at := range shard.StoreID(4) {
		var rej *mvcc.Rejected
		if _, err := x.Get(a, old, at); !errors.As(err, &rej) || rej.Reason != mvcc.TooOld || rej.CommitTS != safe {
			t.Fatalf("a read below the safe point on %d: %v", at, err)
		}
	}
	x.must(t, a, safe, "19")
	if sum := SameTxns(c, d); sum.Versions != 20 {
		t.Fatalf("%+v before anything may be collected", sum)
	}
	hear(lock)
	c.WaitFor("old versions to go", func() bool { sum, _ := c.TxnSum(c.Leader(d.ID), d); return sum.Versions == 1 })
	x.do(t, b, mvcc.NewRollback(lock, b))
	hear(safe)
	c.WaitFor("the rollback record to go", func() bool { sum, _ := c.TxnSum(c.Leader(d.ID), d); return sum.Versions == 1 })
	x.must(t, a, x.Next(), "19")
	SameTxns(c, d)

	// A bound that only a follower's store heard of: nothing is led there, so it has looked at all there is. Once it leads, it collects.
	one("20")
	lead := c.Leader(d.ID)
	next := others(lead)[0]
	safe = x.Next()
	c.Stores[next].Store.HearSafePoint(safe, safe)
	time.Sleep(600 * time.Millisecond) // three looks, of ten ticks: what leads later must not be missed because a look found nothing
	if sum, _ := c.TxnSum(lead, d); sum.Versions != 2 && c.Leader(d.ID) == lead {
		t.Fatalf("%+v before a store that may collect leads", sum)
	}
	c.WaitFor("the store to lead", func() bool {
		lead := c.Leader(d.ID) // which may have moved by itself
		return lead == next || c.Stores[lead].Store.TransferLeader(t.Context(), d.ID, next) == nil && c.Leader(d.ID) == next
	})
	c.WaitFor("the new leader to collect", func() bool { sum, _ := c.TxnSum(next, d); return sum.Versions == 1 })
}

// TestTxnSleep: a shard that falls asleep forgets what it computed with, and its leader fetches a timestamp again.
func TestTxnSleep(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, nil)
	a := tk("a")
	for range 2 {
		start := x.Next()
		x.do(t, a, &mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: start, MaxCommitTS: start + txnMaxAhead, TTLMillis: 5000, Primary: a, Mutations: []mvcc.Mutation{put(a, "1")}})
		ts := x.Next()
		x.must(t, a, ts, "1")
		c.WaitFor("sleep", func() bool { return c.Status(c.Leader(2), 2).Asleep })
		late := x.Next()
		r := x.do(t, a, &mvcc.Add{StartTS: start, MaxCommitTS: late + txnMaxAhead, Key: tk("n"), Delta: 1})
		if r.CommitTS <= ts {
			t.Fatalf("an Add committed at %d below a read at %d", r.CommitTS, ts)
		}
	}
}

// TestTxnDestroyed: a replica that is removed leaves no locks behind, and one that comes back by snapshot has all.
func TestTxnDestroyed(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, nil)
	a := tk("a")
	start := x.Next()
	x.do(t, a, &mvcc.Prewrite{StartTS: start, TTLMillis: 60_000, Primary: a, Mutations: []mvcc.Mutation{put(a, "1"), put(tk("b"), "2")}})
	change := func(ch shard.Change) {
		t.Helper()
		c.WaitFor(ch.String(), func() bool {
			lead := c.Leader(2)
			return c.Stores[lead].Store.Change(t.Context(), 2, c.Status(lead, 2).Desc.Epoch, ch) == nil
		})
	}
	lead := c.Leader(2)
	gone := others(lead)[0]
	d := c.Status(lead, 2).Desc
	rep, _ := d.ReplicaOn(gone)
	change(shard.Change{Kind: shard.EnterJoint, Demote: []shard.ReplicaID{rep.ID}})
	change(shard.Change{Kind: shard.LeaveJoint})
	change(shard.Change{Kind: shard.RemoveLearner, Replica: shard.Replica{ID: rep.ID}})
	c.WaitFor("the removed replica's data to go", func() bool {
		n := 0
		if err := c.Stores[gone].Engine.Txn().Locks(shard.Range{}, false, func(shard.Key, []byte) bool { n++; return true }); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	change(shard.Change{Kind: shard.AddLearner, Replica: shard.Replica{ID: 77, Store: gone}})
	if sum := SameTxns(c, c.Status(c.Leader(2), 2).Desc); sum.Locks != 2 {
		t.Fatalf("%+v", sum)
	}
}

// TestTxnProperty: what is read at a timestamp stays what it is, and what is acknowledged is there, whatever leaders and
// ranges do meanwhile; and all replicas are the same.
func TestTxnProperty(t *testing.T) {
	c, x := newTxns(t, nil)
	w := &TxnWorkload{X: x, Keys: []shard.Key{tk("a"), tk("b"), tk("m"), tk("n"), tk("z")}, SplitAt: []string{"c", "p"}, Duration: 4 * time.Second}
	for _, p := range w.Run() {
		t.Error(p)
	}
	reads, commits := w.Seen()
	t.Logf("%d reads, %d commits", reads, commits)
	if reads < 50 || commits < 50 {
		t.Errorf("%d reads and %d commits: the workload did nothing", reads, commits)
	}
	for _, k := range w.Keys {
		SameTxns(c, x.Of(k))
	}

}
