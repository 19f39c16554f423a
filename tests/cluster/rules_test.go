package cluster

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// One test per rule of the design's section 4 that raftstore carries, where protocol_test.go has none. Each was seen to
// fail with the rule's code taken out.

// attempt is a put as a client sends it to a leader, once.
func attempt(d *shard.Descriptor, st raftstore.ReplicaStatus, op call.OpID, k, v string) *call.Request {
	return &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Timeout: 5 * time.Second, Op: op,
		Term: st.Term, Since: st.Applied.Index, Body: putCommand(k, v).Append(nil)}
}

// Rule 1: a follower acknowledges only what its disk holds. With both followers' disks hanging nothing is committed.
func TestNothingIsAcknowledgedBeforeItIsSynced(t *testing.T) {
	t.Parallel()
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	for _, id := range others(lead) {
		c.Stores[id].Disk.Hang()
		defer c.Stores[id].Disk.Release()
	}
	var acked atomic.Bool
	go func() {
		if rep := c.Do(lead, attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 1}, "k", "1")); rep.Err == nil {
			acked.Store(true)
		}
	}()
	time.Sleep(300 * time.Millisecond)
	if acked.Load() {
		t.Fatal("a write was acknowledged by one synced log of three")
	}
}

// Rule 11: an entry is committed by the disks of two followers and shown by one of them, while the leader's own disk has
// not synced it. The leader has a lease, and must not answer from before what was shown. On a loaded machine the hung
// disk may cost the leader its lease before anything is seen: then it is tried again.
func TestLeaseReadsWhatFollowersShow(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	get := &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Body: getBody("k"), Timeout: time.Second}
	value := func(rep call.Reply) string {
		a, err := raw.DecodeAnswer(rep.Body)
		if rep.Err != nil || err != nil {
			return ""
		}
		return string(a.Rows[0].Value)
	}
	seen := false
	for round := 1; round <= 100 && !seen; round++ {
		want := strconv.Itoa(round)
		mustPut(t, c, d, "k", "old")
		mustGet(t, c, d, "k", "old")
		lead := c.Leader(d.ID)
		write := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: uint64(round)}, "k", want)
		c.Stores[lead].Disk.Hang()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.Do(lead, write)
		}()
		shown := *get
		shown.Follower = true
		for begun := time.Now(); time.Since(begun) < 150*time.Millisecond; {
			if value(c.DoFor(others(lead)[0], &shown, 20*time.Millisecond)) != want {
				continue
			}
			seen = c.Stores[lead].Store.Lease(d.ID) != 0
			if v := value(c.DoFor(lead, get, 20*time.Millisecond)); v == "old" {
				t.Errorf("the leader answers from before what a follower has shown")
			}
			break
		}
		c.Stores[lead].Disk.Release()
		<-done
	}
	if !seen {
		t.Error("never did a leader have a lease when a follower showed more than it")
	}
}

// Rule 5: a leader whose disk hangs is replaced within moments, though its heartbeats need no disk, and serves no reads.
// That holds for the shards that sleep as well: their stores' heartbeats end.
func TestHungDiskGivesUpLeadership(t *testing.T) {
	c := New(t, Options{Shards: []*shard.Descriptor{Descriptor(2, "", "m", 3), Descriptor(3, "m", "", 3)}})
	d, idle := c.opt.Shards[0], c.opt.Shards[1]
	mustPut(t, c, idle, "x", "0")
	old := c.Leader(idle.ID)
	c.WaitFor("the idle shard to sleep", func() bool {
		mustPut(t, c, d, "k", "0")
		return c.Status(old, idle.ID).Asleep
	})
	oldStore := c.Stores[old].Store
	for leads := false; !leads; {
		if lead := c.Leader(d.ID); lead != old {
			if err := c.Stores[lead].Store.TransferLeader(context.Background(), d.ID, old); err != nil {
				t.Fatal(err)
			}
			c.WaitFor("the transfer", func() bool { return oldStore.Leading(d.ID) != 0 })
		}
		mustGet(t, c, d, "k", "0")
		c.Stores[old].Disk.Hang()
		// A disk that nobody writes to does not hang: on a busy machine the leader may be another one by now.
		if leads = oldStore.Leading(d.ID) != 0; !leads {
			c.Stores[old].Disk.Release()
		}
	}
	go func() { c.Do(old, attempt(d, c.Status(old, d.ID), call.OpID{Client: 1, Seq: 1}, "hang", "1")) }()
	for _, id := range []shard.ID{d.ID, idle.ID} {
		c.WaitFor("another leader of "+id.String(), func() bool {
			for _, other := range others(old) {
				if c.Stores[other].Store.Leading(id) != 0 {
					return true
				}
			}
			return false
		})
	}
	if oldStore.Lease(d.ID) != 0 {
		t.Error("the old leader holds a lease beside a new leader")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	rep := oldStore.Do(ctx, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Body: getBody("k")})
	if rep.Err == nil {
		t.Error("a leader with a hung disk answered a read after another was elected")
	}
	if _, err := oldStore.Report(ctx, true); err == nil || !strings.Contains(err.Error(), "disk") {
		t.Errorf("a store with a hung disk reports to placement: %v", err)
	}
	c.Stores[old].Disk.Release()
	mustPut(t, c, d, "k", "1")
	same(c, d)
}

// Rule 9: the answer to "what became of it?" is true for ever.
func TestAskBeforeYouSendAgain(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.NoSleep = true }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	st := c.Status(lead, d.ID)
	ask := func(req *call.Request) error {
		return c.Do(lead, &call.Request{Kind: call.Outcome, Shard: d.ID, Op: req.Op, Term: req.Term, Since: req.Since}).Err
	}
	var never *call.NeverError

	// Asked about first, sent afterwards: cancelled, also after other leaders' messages and many other writes.
	late := attempt(d, st, call.OpID{Client: 1, Seq: 1}, "late", "1")
	if err := ask(late); !errors.As(err, &never) {
		t.Fatalf("an attempt that was never sent: %v", err)
	}
	for i := range 20 {
		mustPut(t, c, d, "k", fmt.Sprint(i))
	}
	if rep := c.Do(lead, late); rep.Err == nil {
		t.Fatal("a cancelled attempt was executed in the same term")
	}
	if _, ok, err := c.Get(d, "late"); ok || err != nil {
		t.Fatalf("a cancelled attempt took effect: %v %v", ok, err)
	}

	// Applied: its own reply, from every leader that applied it.
	done := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 2}, "done", "1")
	if rep := c.Do(lead, done); rep.Err != nil {
		t.Fatal(rep.Err)
	}
	if err := ask(done); err != nil {
		t.Fatalf("an applied attempt: %v", err)
	}

	// In another term, the attempt is refused by its term, and asked about it is never.
	unsent := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 3}, "unsent", "1")
	to := others(lead)[0]
	if err := c.Stores[lead].Store.TransferLeader(context.Background(), d.ID, to); err != nil {
		t.Fatal(err)
	}
	c.WaitFor("the transfer", func() bool { return c.Stores[to].Store.Leading(d.ID) != 0 })
	lead = to
	var refresh *shard.RefreshError
	if rep := c.Do(lead, unsent); !errors.As(rep.Err, &refresh) {
		t.Fatalf("an attempt of an earlier term: %v", rep.Err)
	}
	if err := ask(unsent); !errors.As(err, &never) {
		t.Fatalf("an attempt of an earlier term that is in no log: %v", err)
	}
	if err := ask(done); err != nil {
		t.Fatalf("an applied attempt, asked at the next leader: %v", err)
	}
	old := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 4}, "old", "1")
	old.Since = 3
	if rep := c.Do(lead, old); !errors.As(rep.Err, &refresh) {
		t.Fatalf("an attempt whose since is no longer in the log: %v", rep.Err)
	}
	var amb *shard.AmbiguousError
	if err := ask(old); !errors.As(err, &amb) {
		t.Fatalf("asked about an attempt that the log does not reach back to: %v", err)
	}
}

// restart stops stores in order, all of them before one starts again: nothing is left to be applied, and nothing of what
// was only in memory.
func restart(c *Cluster, ids ...shard.StoreID) {
	for _, id := range ids {
		c.Stop(id)
	}
	for _, id := range ids {
		c.Start(id)
	}
}

// Rule 9: after a restart of all stores outcomes are forgotten, but the log is not: an executed attempt is never "never".
func TestOutcomeAfterRestart(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	req := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 1}, "k", "1")
	if rep := c.Do(lead, req); rep.Err != nil {
		t.Fatal(rep.Err)
	}
	same(c, d)
	restart(c, 1, 2, 3)
	rep := c.outcome(d, req)
	var amb *shard.AmbiguousError
	if rep.Err != nil && !errors.As(rep.Err, &amb) {
		t.Fatalf("asked about an acknowledged write: %v", rep.Err)
	}
	mustGet(t, c, d, "k", "1")
}

// Rule 9: who applied everything since an attempt itself knows its outcome, however short the log is by now. Who was given a snapshot
// meanwhile, or started again, knows it only from the log.
func TestOutcomeBehindACutLog(t *testing.T) {
	t.Parallel()
	const logEntries = 64
	c := New(t, Options{Store: func(o *raftstore.Options) { o.LogEntries, o.NoSleep = logEntries, true }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	same(c, d)
	away, beside := others(lead)[0], others(lead)[1]
	done := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 1}, "k", "1")
	lost := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 2}, "lost", "1")
	c.Net.SetFilter(func(from, to shard.StoreID, _ []byte) bool { return from != away && to != away })
	if rep := c.Do(lead, done); rep.Err != nil {
		t.Fatal(rep.Err)
	}
	c.WaitFor("the log to be cut", func() bool {
		mustPut(t, c, d, "k", "2")
		return c.Status(lead, d.ID).Applied.TruncIndex > lost.Since
	})
	c.Net.SetFilter(nil)
	c.WaitFor("a snapshot", func() bool { return counter(c, away, "snapshots_installed_total") > 0 })

	known := func(who string) {
		t.Helper()
		var never *call.NeverError
		if err := c.outcome(d, done).Err; err != nil {
			t.Errorf("%s, asked about an applied attempt: %v", who, err)
		}
		if err := c.outcome(d, lost).Err; !errors.As(err, &never) {
			t.Errorf("%s, asked about a lost attempt: %v", who, err)
		}
	}
	unknown := func(who string) {
		t.Helper()
		var amb *shard.AmbiguousError
		for _, req := range []*call.Request{done, lost} {
			if err := c.outcome(d, req).Err; !errors.As(err, &amb) {
				t.Errorf("%s, asked about attempt %d: %v", who, req.Op.Seq, err)
			}
		}
	}
	c.leadOn(d.ID, beside)
	known("who applied everything")
	c.leadOn(d.ID, away)
	unknown("who was given a snapshot")
	restart(c, 1, 2, 3)
	mustPut(t, c, d, "k", "3")
	unknown("who started again")
}

// Rule 11 iii: a transfer that comes to nothing ends the leases of that term. Writes go on once raft has given it up.
func TestGivenUpTransferEndsLeases(t *testing.T) {
	t.Parallel()
	c := New(t, Options{Store: func(o *raftstore.Options) { o.NoSleep = true }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	mustGet(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	term := c.Status(lead, d.ID).Term
	to := others(lead)[0]
	c.Net.SetFilter(func(_, at shard.StoreID, _ []byte) bool { return at != to })
	if c.Stores[lead].Store.Lease(d.ID) == 0 {
		t.Fatal("no lease right after a read")
	}
	if err := c.Stores[lead].Store.TransferLeader(context.Background(), d.ID, to); err != nil {
		t.Fatal(err)
	}
	if c.Stores[lead].Store.Lease(d.ID) != 0 {
		t.Fatal("a lease survives the beginning of a transfer")
	}
	// Placement asks whether it leads and nothing else: that must not need a read or a write of somebody.
	c.WaitFor("the leader to know that it leads", func() bool {
		return c.Stores[lead].Store.Leading(d.ID) == term || c.Status(lead, d.ID).Term != term
	})
	for i := range 20 {
		mustPut(t, c, d, "k", fmt.Sprint(i))
		mustGet(t, c, d, "k", fmt.Sprint(i))
		if st := c.Status(lead, d.ID); st.Leading && st.Term == term && c.Stores[lead].Store.Lease(d.ID) != 0 {
			t.Fatal("a lease is used in a term in which a transfer was begun")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if st := c.Status(lead, d.ID); st.Term != term || !st.Leading {
		t.Skip("leadership moved after all")
	}
}

// Rule 12: a sole voter that restarts serves no read before it has applied an entry of its own term.
func TestSoleVoterAfterRestart(t *testing.T) {
	t.Parallel()
	c := New(t, Options{Stores: 1})
	d := c.opt.Shards[0]
	for i := range 30 {
		mustPut(t, c, d, "k", fmt.Sprint(i))
		c.Crash(1, 0)
		c.Start(1)
		mustGet(t, c, d, "k", fmt.Sprint(i))
	}
}

// Rule 12: what is read after a round was applied and visible before, also for followers, with no lease in the way.
func TestReadsSeeWhatWasAcknowledged(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.MaxDrift = 0.99 }}) // leases so short that each read needs a round
	d := c.opt.Shards[0]
	for i := range 300 {
		mustPut(t, c, d, "k", fmt.Sprint(i))
		mustGet(t, c, d, "k", fmt.Sprint(i))
	}
}

// Rule 17: a snapshot that breaks off leaves slot, placeholder and files free for the next.
func TestBrokenOffSnapshots(t *testing.T) {
	var cut atomic.Int32
	c := New(t, Options{Store: func(o *raftstore.Options) {
		o.LogEntries = 64
		o.Transport = &flaky{Transport: o.Transport, cut: &cut}
	}})
	d := c.opt.Shards[0]
	lead := c.Leader(d.ID)
	away := others(lead)[0]
	last := c.Status(away, d.ID).Last
	c.Stop(away)
	fill(t, c, d, "k", 1500)
	c.WaitFor("a truncated log", func() bool { return c.Status(c.Leader(d.ID), d.ID).Applied.TruncIndex > last })
	cut.Store(8)
	c.Start(away)
	c.WaitFor("the store to catch up", func() bool {
		return c.Status(away, d.ID).Applied.Index >= c.Status(c.Leader(d.ID), d.ID).Applied.Index
	})
	if cut.Load() > 0 {
		t.Fatal("no snapshot broke off")
	}
	same(c, d)
}

// Rule 19: a leader that sleeps, is cut off and woken does not keep its followers from electing, and a request at the
// others finds a new leader.
func TestWokenLeaderGivesWay(t *testing.T) {
	t.Parallel()
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	asleep := func() bool {
		for id := range c.Stores {
			if !c.Status(id, d.ID).Asleep {
				return false
			}
		}
		return true
	}
	c.WaitFor("sleep", asleep)
	old := c.Leader(d.ID)
	// The old leader can speak, and hears nobody: its heartbeats would keep the others quiet for ever.
	c.Net.SetFilter(func(_, to shard.StoreID, _ []byte) bool { return to != old })
	go c.Do(old, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: time.Second, Body: getBody("k")})
	c.WaitFor("another leader", func() bool {
		for _, id := range others(old) {
			if c.Stores[id].Store.Leading(d.ID) != 0 {
				return true
			}
		}
		return false
	})
	c.Net.SetFilter(nil)
	mustPut(t, c, d, "k", "1")
	same(c, d)
}

// Rule 19: a woken leader whose first round is lost begins another before it falls silent.
func TestWokenLeaderRepeatsItsRound(t *testing.T) {
	t.Parallel()
	const tick = 50 * time.Millisecond // election timeout 500 ms, a round is forgotten after 250
	c := New(t, Options{Store: func(o *raftstore.Options) { o.Tick = tick }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	term := c.Status(lead, d.ID).Term
	c.WaitFor("sleep", func() bool { return c.Status(lead, d.ID).Asleep })
	woken := time.Now()
	c.Net.SetFilter(func(from, _ shard.StoreID, frame []byte) bool {
		return from != lead || frame == nil || frame[len(frame)-1] != 1 || time.Since(woken) > 7*tick
	})
	rep := c.Do(lead, &call.Request{Kind: call.Refresh, Shard: d.ID, Epoch: d.Epoch, Timeout: time.Second}) // wakes, needs no round
	if rep.Err != nil {
		t.Fatal(rep.Err)
	}
	time.Sleep(30 * tick) // three election timeouts
	if st := c.Status(lead, d.ID); !st.Leading || st.Term != term {
		t.Fatalf("the woken leader of term %d lost its term: %+v", term, st)
	}
}

// Rule 19: a leader that fell asleep without a store wakes when the store is heard again, though the replica there sleeps
// on and knows of nothing.
func TestStoreBackFromSuspicionCatchesUp(t *testing.T) {
	t.Parallel()
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	away := others(lead)[0]
	asleep := func(ids ...shard.StoreID) func() bool {
		return func() bool {
			for _, id := range ids {
				if !c.Status(id, d.ID).Asleep {
					return false
				}
			}
			return true
		}
	}
	c.WaitFor("sleep", asleep(1, 2, 3))
	// It hears that the other stores live, and nothing else; nobody hears it.
	c.Net.SetFilter(func(from, to shard.StoreID, frame []byte) bool {
		return from != away && (to != away || frame != nil && frame[len(frame)-1] == 2)
	})
	// Sent to the leader only: any request at the other store would wake its replica.
	if rep := c.Do(lead, attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 1}, "k", "1")); rep.Err != nil {
		t.Fatal(rep.Err)
	}
	c.WaitFor("the others to sleep without it", asleep(lead, others(lead)[1]))
	if !c.Status(away, d.ID).Asleep || c.Status(away, d.ID).Applied.Index >= c.Status(lead, d.ID).Applied.Index {
		t.Fatal("the store that is away took part")
	}
	c.Net.SetFilter(nil)
	c.WaitFor("the store to catch up", func() bool {
		return c.Status(away, d.ID).Applied.Index >= c.Status(c.Leader(d.ID), d.ID).Applied.Index
	})
	same(c, d)
}

// Rule 8: equality of epochs, with a different answer to either side.
func TestEpochs(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	for _, kind := range []call.Kind{call.Write, call.Read, call.Refresh} {
		older, newer := d.Epoch, d.Epoch
		older.Version--
		newer.Version++
		req := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 9, Seq: uint64(kind)}, "epoch", "1")
		if req.Kind = kind; kind == call.Read {
			req.Body = getBody("k")
		}
		var stale *shard.StaleEpochError
		var ready *shard.NotReadyError
		req.Epoch = older
		if rep := c.Do(lead, req); !errors.As(rep.Err, &stale) || len(stale.Current) != 1 || stale.Current[0].ID != d.ID {
			t.Errorf("kind %d with an older epoch: %v", kind, rep.Err)
		}
		req.Epoch = newer
		if rep := c.Do(lead, req); !errors.As(rep.Err, &ready) {
			t.Errorf("kind %d with a newer epoch: %v", kind, rep.Err)
		}
	}
	if _, ok, _ := c.Get(d, "epoch"); ok {
		t.Error("a write of another epoch was executed")
	}
}

// What no client may ask for is refused, and nothing of it reaches the log.
func TestBadRequests(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	huge := &raw.Command{}
	for i := range raw.MaxOps + 1 {
		huge.Ops = append(huge.Ops, raw.Op{Kind: raw.Delete, Key: shard.RawKey([]byte(fmt.Sprint(i)))})
	}
	fat := putCommand("k", string(make([]byte, shard.MaxValueBytes+1)))
	reclaim := &raw.Reclaim{Keys: []shard.Key{shard.RawKey([]byte("k"))}, Final: true}
	st := c.Status(lead, d.ID)
	for name, f := range map[string]func(*call.Request){
		"unknown kind":          func(r *call.Request) { r.Kind = 99 },
		"reclaim by a client":   func(r *call.Request) { r.Body = reclaim.Append(nil) },
		"empty body":            func(r *call.Request) { r.Body = nil },
		"garbage":               func(r *call.Request) { r.Body = []byte{1, 1, 255, 255, 255} },
		"too many operations":   func(r *call.Request) { r.Body = huge.Append(nil) },
		"too large a value":     func(r *call.Request) { r.Body = fat.Append(nil) },
		"no op id":              func(r *call.Request) { r.Op = call.OpID{} },
		"garbage query":         func(r *call.Request) { r.Kind, r.Body = call.Read, []byte{7} },
		"garbage follower read": func(r *call.Request) { r.Kind, r.Follower, r.Body = call.Read, true, []byte{7} },
	} {
		req := attempt(d, st, call.OpID{Client: 5, Seq: 5}, "bad", "1")
		f(req)
		rep := c.Do(lead, req)
		var invalid *shard.InvalidError
		if !errors.As(rep.Err, &invalid) {
			t.Errorf("%s: %v", name, rep.Err)
		}
	}
	var none *shard.NotFoundError
	if rep := c.Do(lead, &call.Request{Kind: call.Refresh, Shard: 999}); !errors.As(rep.Err, &none) {
		t.Errorf("unknown shard: %v", rep.Err)
	}
	mustGet(t, c, d, "k", "0")
	if n := c.written(c.Leader(d.ID), d.ID); n != 1 {
		t.Errorf("the log holds %d entries that somebody wrote, beside the one put", n-1)
	}
}
