package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// others are the stores of a three-store cluster besides one.
func others(id shard.StoreID) []shard.StoreID {
	var out []shard.StoreID
	for i := shard.StoreID(1); i <= 3; i++ {
		if i != id {
			out = append(out, i)
		}
	}
	return out
}

func mustPut(t testing.TB, c *Cluster, d *shard.Descriptor, k, v string) {
	t.Helper()
	if err := c.Put(d, k, v); err != nil {
		t.Fatalf("put %s: %v", k, err)
	}
}

// change has the leader of a shard take one step of a change of its members, and returns the descriptor after it.
func change(c *Cluster, d *shard.Descriptor, ch shard.Change) *shard.Descriptor {
	c.WaitFor(ch.String(), func() bool {
		lead := c.Leader(d.ID)
		return c.Stores[lead].Store.Change(context.Background(), d.ID, c.Status(lead, d.ID).Desc.Epoch, ch) == nil
	})
	return c.Status(c.Leader(d.ID), d.ID).Desc
}

func mustGet(t testing.TB, c *Cluster, d *shard.Descriptor, k, want string) {
	t.Helper()
	v, ok, err := c.Get(d, k)
	if err != nil || !ok || v != want {
		t.Fatalf("get %s: %q %v %v, want %q", k, v, ok, err, want)
	}
}

// fill writes n keys from many goroutines.
func fill(t testing.TB, c *Cluster, d *shard.Descriptor, prefix string, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := g; i < n; i += 16 {
				if err := c.Put(d, fmt.Sprintf("%s-%05d", prefix, i), fmt.Sprintf("v%d", i)); err != nil {
					t.Errorf("put: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func same(c *Cluster, d *shard.Descriptor) {
	c.T.Helper()
	Same(c, d)
}

// TestLeaderStops: what was acknowledged survives its leader, and the leader catches up when it comes back.
func TestLeaderStops(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "a", "1")
	lead := c.Leader(d.ID)
	c.Crash(lead, 0)
	mustGet(t, c, d, "a", "1")
	mustPut(t, c, d, "b", "2")
	c.Start(lead)
	mustGet(t, c, d, "b", "2")
	same(c, d)
}

// TestCrashAll: after a power failure of all stores everything acknowledged is there, whatever survived unsynced.
func TestCrashAll(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		t.Run(fmt.Sprint(percent), func(t *testing.T) {
			c := New(t, Options{})
			d := c.opt.Shards[0]
			for round := range 3 {
				fill(t, c, d, fmt.Sprintf("r%d", round), 40)
				for id := range c.Stores {
					c.Crash(id, percent)
				}
				for id := range c.Stores {
					c.Start(id)
				}
				for r := 0; r <= round; r++ {
					for i := range 40 {
						mustGet(t, c, d, fmt.Sprintf("r%d-%05d", r, i), fmt.Sprintf("v%d", i))
					}
				}
			}
			same(c, d)
		})
	}
}

// TestLaggingFollowerGetsSnapshot: the log is cut while a store is away; it catches up by a snapshot.
func TestLaggingFollowerGetsSnapshot(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.LogEntries = 64 }})
	d := c.opt.Shards[0]
	lead := c.Leader(d.ID)
	away := others(lead)[0]
	last := c.Status(away, d.ID).Last
	c.Stop(away)
	fill(t, c, d, "k", 1500)
	c.WaitFor("a truncated log", func() bool { return c.Status(c.Leader(d.ID), d.ID).Applied.TruncIndex > last })
	c.Start(away)
	mustPut(t, c, d, "after", "1")
	c.WaitFor("the store to catch up", func() bool {
		return c.Status(away, d.ID).Applied.Index >= c.Status(c.Leader(d.ID), d.ID).Applied.Index
	})
	if n := counter(c, away, "snapshots_installed_total"); n == 0 {
		t.Fatal("caught up without a snapshot")
	}
	same(c, d)
	// It must be a full member: with another store gone, it and the leader are the quorum.
	c.Stop(others(lead)[1])
	mustPut(t, c, d, "quorum", "1")
	c.Crash(away, 0)
	c.Start(away)
	mustGet(t, c, d, "quorum", "1")
}

func counter(c *Cluster, id shard.StoreID, name string) uint64 {
	for _, n := range c.Stores[id].Store.Counters() {
		if n.Name == name {
			return n.Value
		}
	}
	c.T.Fatalf("no counter %s", name)
	return 0
}

// TestTransferLeader moves leadership around while a client writes.
func TestTransferLeader(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	for i := range 9 {
		mustPut(t, c, d, "served", "v") // a leader that does not serve yet refuses to hand over
		lead := c.Leader(d.ID)
		to := others(lead)[i%2]
		if err := c.Stores[lead].Store.TransferLeader(context.Background(), d.ID, to); err != nil {
			t.Fatalf("transfer from %s to %s: %v", lead, to, err)
		}
		mustPut(t, c, d, fmt.Sprint("k", i), "v")
		c.WaitFor("leadership to move", func() bool { return c.Leader(d.ID) == to })
	}
	same(c, d)
}

// TestFollowerRead: a follower answers with everything that was acknowledged before.
func TestFollowerRead(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	for i := range 50 {
		mustPut(t, c, d, "k", fmt.Sprint(i))
		for _, id := range others(c.Leader(d.ID)) {
			v, _, err := c.GetFrom(d, "k", id)
			if err != nil || v != fmt.Sprint(i) {
				t.Fatalf("follower read from %s: %q %v, want %d", id, v, err, i)
			}
		}
	}
}

// TestLease: reads under a lease cost no round each.
func TestLease(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "v")
	lead := c.Leader(d.ID)
	mustGet(t, c, d, "k", "v")
	before := counter(c, lead, "read_rounds_total")
	for range 2000 {
		mustGet(t, c, d, "k", "v")
	}
	if rounds := counter(c, lead, "read_rounds_total") - before; c.Leader(d.ID) == lead && rounds > 200 {
		t.Fatalf("2000 reads took %d rounds", rounds)
	}
}

// TestCutOffLeaderDoesNotServe: a leader that nobody hears stops answering reads before another can be elected.
func TestCutOffLeaderDoesNotServe(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "old")
	old := c.Leader(d.ID)
	mustGet(t, c, d, "k", "old")
	c.Net.SetFilter(func(from, to shard.StoreID, _ []byte) bool { return from != old && to != old })
	c.WaitFor("another leader", func() bool {
		for _, id := range others(old) {
			if st := c.Status(id, d.ID); st.Leading && st.Applied.Term == st.Term {
				return true
			}
		}
		return false
	})
	q := &raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte("k"))}}
	rep := c.Do(old, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: 300 * time.Millisecond, Body: q.Append(nil)})
	if rep.Err == nil {
		t.Fatal("a cut-off leader answered a read after another was elected")
	}
	mustPut(t, c, d, "k", "new")
	c.Net.SetFilter(nil)
	mustGet(t, c, d, "k", "new")
	same(c, d)
}

// TestSleep: an idle shard stops ticking on every store, and a request wakes it.
func TestSleep(t *testing.T) {
	t.Parallel()
	c := New(t, Options{})
	d := c.opt.Shards[0]
	asleep := func() bool {
		for id := range c.Stores {
			if !c.Status(id, d.ID).Asleep {
				return false
			}
		}
		return true
	}
	for i := range 3 {
		mustPut(t, c, d, "k", fmt.Sprint(i))
		c.WaitFor("the shard to sleep", asleep)
		mustGet(t, c, d, "k", fmt.Sprint(i))
	}
	c.WaitFor("the shard to sleep", asleep)
	lead := shard.StoreID(0)
	for id := range c.Stores {
		if c.Status(id, d.ID).Leading {
			lead = id
		}
	}
	c.Crash(lead, 0)
	// Nobody asks: the suspicion of its store alone must wake the others and make them elect.
	c.WaitFor("another leader", func() bool {
		for _, id := range others(lead) {
			if c.Status(id, d.ID).Leading {
				return true
			}
		}
		return false
	})
	mustGet(t, c, d, "k", "2")
}

// TestMoveReplica replaces a replica step by step: learner, snapshot, joint configuration, removal. The removed one
// destroys itself and does not come back.
func TestMoveReplica(t *testing.T) {
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Stores: 4, Shards: []*shard.Descriptor{d}})
	fill(t, c, d, "k", 300)
	lead := c.Leader(d.ID)
	old, _ := d.ReplicaOn(others(lead)[0])
	fresh := shard.Replica{ID: 1000, Store: 4, Role: shard.Learner}
	step := func(ch shard.Change) {
		t.Helper()
		c.WaitFor(ch.String(), func() bool {
			lead = c.Leader(d.ID)
			cur := c.Status(lead, d.ID).Desc
			err := c.Stores[lead].Store.Change(context.Background(), d.ID, cur.Epoch, ch)
			if err != nil {
				t.Logf("%s: %v", ch, err)
			}
			return err == nil
		})
		d = c.Status(lead, d.ID).Desc
	}
	step(shard.Change{Kind: shard.AddLearner, Replica: fresh})
	step(shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{fresh.ID}, Demote: []shard.ReplicaID{old.ID}})
	mustPut(t, c, d, "joint", "1")
	step(shard.Change{Kind: shard.LeaveJoint})
	step(shard.Change{Kind: shard.RemoveLearner, Replica: old})
	c.WaitFor("the removed replica to destroy itself", func() bool { return c.Status(old.Store, d.ID).Replica == 0 })
	c.WaitFor("its tombstone", func() bool {
		next, ok, err := c.Stores[old.Store].Engine.Tombstone(d.ID)
		return err == nil && ok && next == old.ID+1
	})
	if n := counter(c, 4, "snapshots_installed_total"); n == 0 {
		t.Fatal("the new replica needed no snapshot")
	}
	same(c, d)
	for i := range 300 {
		mustGet(t, c, d, fmt.Sprintf("k-%05d", i), fmt.Sprintf("v%d", i))
	}
	c.Crash(4, 0)
	c.Start(4)
	c.Crash(old.Store, 0)
	c.Start(old.Store)
	mustPut(t, c, d, "after", "1")
	same(c, d)
	if c.Status(old.Store, d.ID).Replica != 0 {
		t.Fatal("the removed replica came back")
	}
}

// Once a joint change is over, its asker can count on the new members alone: two become three, power fails everywhere, and the
// leader does not come back.
func TestEndOfJointChangeIsKnown(t *testing.T) {
	t.Parallel()
	d := Descriptor(2, "", "", 2)
	c := New(t, Options{Stores: 3, Shards: []*shard.Descriptor{d}})
	mustPut(t, c, d, "a", "1")
	lead := c.Leader(d.ID)
	change := func(ch shard.Change) {
		t.Helper()
		c.WaitFor(ch.String(), func() bool {
			cur := c.Status(lead, d.ID).Desc
			return c.Stores[lead].Store.Change(context.Background(), d.ID, cur.Epoch, ch) == nil
		})
	}
	fresh := shard.Replica{ID: 9000, Store: 3, Role: shard.Learner}
	change(shard.Change{Kind: shard.AddLearner, Replica: fresh})
	change(shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{fresh.ID}})
	change(shard.Change{Kind: shard.LeaveJoint})
	for id := shard.StoreID(1); id <= 3; id++ {
		c.Net.Attach(id, nil) // nobody hears more
	}
	for id := shard.StoreID(1); id <= 3; id++ {
		c.Crash(id, 0)
	}
	for id := shard.StoreID(1); id <= 3; id++ {
		if id != lead {
			c.Start(id)
		}
	}
	c.WaitFor("a leader of those that are left", func() bool {
		for id := shard.StoreID(1); id <= 3; id++ {
			if id != lead && c.Status(id, d.ID).Leading {
				return true
			}
		}
		return false
	})
}

// TestPutsOverTransfers: a write that meets a transfer waits for its end, and hears who leads then; one whose transfer comes to
// nothing is executed. None is told that the store is busy, or sent to the store that it came from.
func TestPutsOverTransfers(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	put := func(at shard.StoreID, st raftstore.ReplicaStatus, seq uint64) error {
		return c.Do(at, attempt(d, st, call.OpID{Client: 7, Seq: seq}, fmt.Sprint("k", seq), "v")).Err
	}
	seq := uint64(0)
	var heard atomic.Int64
	for range 20 {
		lead := c.Leader(d.ID)
		to, st := others(lead)[0], c.Status(lead, d.ID)
		var wg sync.WaitGroup
		for range 8 {
			seq++
			mine := seq
			wg.Go(func() {
				err := put(lead, st, mine)
				var moved *shard.NotLeaderError
				if errors.As(err, &moved) && moved.Leader.Store == to {
					heard.Add(1)
				} else if err != nil && !errors.Is(err, shard.ErrUnavailable) { // proposed, and its fate is to be asked for
					t.Errorf("a put to %s, which hands over to %s: %v", lead, to, err)
				}
			})
		}
		if err := c.Stores[lead].Store.TransferLeader(context.Background(), d.ID, to); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		c.WaitFor("the transfer", func() bool { return c.Stores[to].Store.Leading(d.ID) != 0 })
	}
	if heard.Load() == 0 {
		t.Error("no put met a transfer")
	}

	lead := c.Leader(d.ID)
	st := c.Status(lead, d.ID)
	c.Net.SetFilter(func(_, _ shard.StoreID, frame []byte) bool { return !carries(frame, raftpb.MsgTimeoutNow) })
	if err := c.Stores[lead].Store.TransferLeader(context.Background(), d.ID, others(lead)[0]); err != nil {
		t.Fatal(err)
	}
	if err := put(lead, st, seq+1); err != nil {
		t.Errorf("a put while a transfer comes to nothing: %v", err)
	}
	c.Net.SetFilter(nil)
	same(c, d)
}
