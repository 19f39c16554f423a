package cluster

import (
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// commitOne commits a value in one phase, and returns when.
func (x *Txns) commitOne(t *testing.T, k shard.Key, v string) mvcc.Timestamp {
	t.Helper()
	start := x.Next()
	return x.do(t, k, &mvcc.Prewrite{Mode: mvcc.OnePhase, StartTS: start, MaxCommitTS: start + txnMaxAhead, TTLMillis: 5000, Primary: k,
		Mutations: []mvcc.Mutation{put(k, v)}}).CommitTS
}

// TestClosedReads: a replica that was told of a barrier answers reads below it without its leader, with what was there, locks
// in their way, and the safe point; not above it, and not after a restart.
func TestClosedReads(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, nil)
	d := c.opt.Shards[0]
	a, b := tk("a"), tk("b")
	old := x.commitOne(t, a, "1")
	x.commitOne(t, a, "2")
	lock := x.Next()
	x.do(t, b, &mvcc.Prewrite{StartTS: lock, TTLMillis: 60_000, Primary: b, Mutations: []mvcc.Mutation{put(b, "2")}})
	away := others(c.Leader(d.ID))[0]
	now := x.Next()
	if row, err := x.Get(a, now, away); err != nil || string(row.Value) != "2" {
		t.Fatalf("%+v %v", row, err)
	}
	cut := func(from, to shard.StoreID, _ []byte) bool { return from != away && to != away }
	c.Net.SetFilter(cut)
	ask := func(k shard.Key, ts mvcc.Timestamp) (*mvcc.Answer, error) {
		q := &mvcc.Query{Kind: mvcc.Get, TS: ts, Keys: []shard.Key{k}}
		rep := c.DoFor(away, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Follower: true, Timeout: time.Second / 2, Body: q.Append(nil)}, time.Second)
		if rep.Err != nil {
			return nil, rep.Err
		}
		return mvcc.DecodeAnswer(rep.Body)
	}
	for ts, want := range map[mvcc.Timestamp]string{old: "1", now: "2"} {
		if ans, err := ask(a, ts); err != nil || string(ans.Rows[0].Value) != want {
			t.Fatalf("at %d: %+v %v", ts, ans, err)
		}
	}
	if ans, err := ask(b, now); err != nil || len(ans.Locks) != 1 {
		t.Fatalf("behind a lock: %+v %v", ans, err)
	}
	if n := counter(c, away, "closed_reads_total"); n < 3 {
		t.Fatalf("%d reads were answered alone", n)
	}
	if ans, err := ask(a, x.Next()); err == nil {
		t.Fatalf("above what is closed: %+v", ans)
	}
	c.Stores[away].Store.HearSafePoint(old+2, 0)
	if ans, err := ask(a, old); err == nil {
		t.Fatalf("below the safe point: %+v", ans)
	}
	if ans, err := ask(a, now); err != nil || string(ans.Rows[0].Value) != "2" {
		t.Fatalf("above the safe point: %+v %v", ans, err)
	}
	c.Crash(away, 0)
	c.Start(away)
	if ans, err := ask(a, now); err == nil {
		t.Fatalf("after a restart: %+v", ans)
	}
	c.Net.SetFilter(nil)
	x.must(t, a, now, "2")
}

// TestWatchWaits: a question for changes that finds nothing is kept until something changes in its range, or its time is
// over; once the replica remembers the latest changes it looks through versions no more, until it was not asked for a while.
func TestWatchWaits(t *testing.T) {
	t.Parallel()
	c, x := newTxns(t, nil)
	d := c.opt.Shards[0]
	a, m := tk("a"), tk("m")
	x.commitOne(t, a, "1")
	for _, at := range []shard.StoreID{c.Leader(d.ID), others(c.Leader(d.ID))[0]} {
		ask := func(wait uint32, after mvcc.Timestamp) *mvcc.Answer {
			t.Helper()
			q := &mvcc.Query{Kind: mvcc.Changes, TS: x.Next(), Range: shard.Range{Start: shard.Key("xa"), End: shard.Key("xc")}, After: after, WaitMillis: wait}
			ans, err := x.Ask(a, q, at)
			if err != nil || ans.Rejected != nil || ans.Resolved < q.TS {
				t.Fatalf("%+v %v", ans, err)
			}
			return ans
		}
		after := ask(0, 0).Resolved
		c.WaitFor("the memory", func() bool {
			n := counter(c, at, "watch_recent_total")
			after = ask(0, after).Resolved
			return counter(c, at, "watch_recent_total") > n
		})
		scans := counter(c, at, "watch_scans_total")
		began := time.Now()
		ans := ask(150, after)
		if took := time.Since(began); len(ans.Rows) != 0 || took < 150*time.Millisecond {
			t.Fatalf("%d rows after %s", len(ans.Rows), took)
		}
		var commits sync.WaitGroup
		commits.Go(func() {
			time.Sleep(50 * time.Millisecond)
			x.commitOne(t, m, "elsewhere")
			time.Sleep(100 * time.Millisecond)
			x.commitOne(t, a, "2")
		})
		began = time.Now()
		after = ask(1000, ans.Resolved).Resolved
		took := time.Since(began)
		commits.Wait()
		if took < 150*time.Millisecond || took > 900*time.Millisecond {
			t.Errorf("woken after %s", took)
		}
		if ans = ask(0, after); len(ans.Rows) != 1 || string(ans.Rows[0].Value) != "2" {
			t.Fatalf("%+v", ans)
		}
		if n := counter(c, at, "watch_scans_total"); n != scans {
			t.Errorf("%d times all versions were looked through", n-scans)
		}
	}
}

// readsBeforeApplied tells a replica up to where it must have applied, while it gets no entries, and returns what it answers
// wrongly.
func readsBeforeApplied(t *testing.T) string {
	c, x := newTxns(t, nil)
	d := c.opt.Shards[0]
	a := tk("a")
	x.commitOne(t, a, "1")
	away := others(c.Leader(d.ID))[0]
	x.must(t, a, x.Next(), "1")
	c.Net.SetFilter(func(_, to shard.StoreID, frame []byte) bool { return to != away || frame == nil })
	x.commitOne(t, a, "2")
	now := x.Next()
	q := &mvcc.Query{Kind: mvcc.Get, TS: now, Keys: []shard.Key{a}}
	for range 3 {
		rep := c.DoFor(away, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Follower: true, Timeout: 100 * time.Millisecond, Body: q.Append(nil)}, 100*time.Millisecond)
		if rep.Err == nil {
			ans, err := mvcc.DecodeAnswer(rep.Body)
			if err != nil {
				t.Fatal(err)
			}
			return string(ans.Rows[0].Value)
		}
	}
	c.Net.SetFilter(nil)
	x.must(t, a, now, "2")
	return ""
}

// TestClosedIsApplied: a replica that was told of a barrier, and has not applied its index, does not answer by it.
func TestClosedIsApplied(t *testing.T) {
	t.Parallel()
	if got := readsBeforeApplied(t); got != "" {
		t.Fatalf("read %q before the barrier's index was applied", got)
	}
}
