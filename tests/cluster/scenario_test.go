package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// Scenarios that the test suites of other systems have names for (docs/scenarios.md) and that no rule of ours asks for.

// Commands are sent to each follower once: the network carries little more than the commands themselves.
func TestEachCommandIsSentOnce(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	var mu sync.Mutex
	sent := make(map[shard.StoreID]int)
	frames := 0
	c.Net.SetFilter(func(_, to shard.StoreID, frame []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		sent[to] += len(frame)
		frames++
		return true
	})
	const commands, size = 40, 20_000
	for i := range commands {
		mustPut(t, c, d, "k", strings.Repeat("x", size)+fmt.Sprint(i))
	}
	c.Net.SetFilter(nil)
	mu.Lock()
	defer mu.Unlock()
	if c.Leader(d.ID) != lead {
		t.Skip("the leader changed: a new one may send again what it does not know to have arrived")
	}
	for _, id := range others(lead) {
		if n := sent[id]; n < commands*size || n > commands*size*5/4 {
			t.Errorf("%d bytes were sent to %s for %d bytes of commands", n, id, commands*size)
		}
	}
	// A round and its commit, and heartbeats: not more than a few frames for a command that nobody else shares.
	if frames > 20*commands {
		t.Errorf("%d frames for %d commands", frames, commands)
	}
}

// The log of a shard that is written to stays short on all stores, and so does what a store reads when it starts.
func TestLogStaysShort(t *testing.T) {
	const entries = 64
	c := New(t, Options{Store: func(o *raftstore.Options) { o.LogEntries = entries }})
	d := c.opt.Shards[0]
	length := func(id shard.StoreID) uint64 {
		st := c.Status(id, d.ID)
		return st.Last - st.Applied.TruncIndex
	}
	for round := range 8 {
		for i := range 4 * entries {
			mustPut(t, c, d, "k", fmt.Sprint(round, i))
		}
		for id := range c.Stores {
			c.WaitFor("a short log", func() bool { return length(id) < 2*entries })
		}
	}
	if st := c.Status(c.Leader(d.ID), d.ID); st.Applied.TruncIndex < 6*4*entries {
		t.Fatalf("cut at %d only: %+v", st.Applied.TruncIndex, st.Applied)
	}
	same(c, d)
	last := c.Status(c.Leader(d.ID), d.ID).Last
	restart(c, 1, 2, 3)
	mustGet(t, c, d, "k", fmt.Sprint(7, 4*entries-1))
	for id := range c.Stores {
		// What came with the start, as a leader's first entry, it did not read.
		if st := c.Status(id, d.ID); min(st.Last, last)-st.Applied.TruncIndex >= 2*entries {
			t.Errorf("%s starts with a log of %d entries", id, min(st.Last, last)-st.Applied.TruncIndex)
		}
	}
}

// A leader without a majority commits nothing, in whatever number it is asked; the majority goes on without it. When it
// is back, what it had in its log is gone and never shows, and the clients learn that nothing happened.
func TestUncommittedEntriesVanish(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "old")
	old, ref := c.refresh(d)
	if ref.Err != nil {
		t.Fatal(ref.Err)
	}
	c.Net.SetFilter(func(from, to shard.StoreID, _ []byte) bool { return from != old && to != old })
	var wg sync.WaitGroup
	var attempts [8]*call.Request
	var succeeded atomic.Int32
	for i := range attempts {
		cmd := &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte("k")), Value: fmt.Append(nil, "lost", i)}}}
		attempts[i] = &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Timeout: 300 * time.Millisecond,
			Op: call.OpID{Client: 77, Seq: uint64(i + 1)}, Term: ref.Term, Since: ref.Applied, Body: cmd.Append(nil)}
		wg.Go(func() {
			if c.Do(old, attempts[i]).Err == nil {
				succeeded.Add(1)
			}
		})
	}
	wg.Wait()
	if n := succeeded.Load(); n > 0 {
		t.Fatalf("%d writes were acknowledged without a majority", n)
	}
	c.WaitFor("another leader", func() bool {
		for _, id := range others(old) {
			if st := c.Status(id, d.ID); st.Leading && st.Applied.Term == st.Term {
				return true
			}
		}
		return false
	})
	mustPut(t, c, d, "new", "1")
	mustGet(t, c, d, "k", "old")
	c.Net.SetFilter(nil)
	for i, a := range attempts {
		rep := c.outcome(d, a)
		var never *call.NeverError
		if !errors.As(rep.Err, &never) {
			t.Errorf("attempt %d, which only its leader had: %v, want never", i, rep.Err)
		}
	}
	mustPut(t, c, d, "k2", "1")
	mustGet(t, c, d, "k", "old")
	same(c, d)
}

// To whom leadership may go, and to whom not: to the leader itself, to a store without a replica, to a learner; to one
// that lacks what only a snapshot brings, once it has it; there and back.
func TestTransferTargets(t *testing.T) {
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Stores: 4, Shards: []*shard.Descriptor{d}, Store: func(o *raftstore.Options) { o.LogEntries = 64 }})
	mustPut(t, c, d, "k", "0")
	transfer := func(from, to shard.StoreID) error {
		return c.Stores[from].Store.TransferLeader(context.Background(), d.ID, to)
	}
	lead := c.Leader(d.ID)
	other := others(lead)
	var invalid *shard.InvalidError
	var notLeader *shard.NotLeaderError
	if err := transfer(lead, lead); err != nil {
		t.Errorf("to itself: %v", err)
	}
	if err := transfer(lead, 99); !errors.As(err, &invalid) {
		t.Errorf("to a store that is not there: %v", err)
	}
	if err := transfer(lead, 4); !errors.As(err, &invalid) {
		t.Errorf("to a store without a replica: %v", err)
	}
	if err := transfer(other[0], other[1]); !errors.As(err, &notLeader) {
		t.Errorf("asked of a follower: %v", err)
	}
	learner := shard.Replica{ID: 1000, Store: 4, Role: shard.Learner}
	c.WaitFor("a learner", func() bool {
		return c.Stores[lead].Store.Change(context.Background(), d.ID, c.Status(lead, d.ID).Desc.Epoch, shard.Change{Kind: shard.AddLearner, Replica: learner}) == nil
	})
	d = c.Status(lead, d.ID).Desc
	if err := transfer(lead, 4); !errors.As(err, &invalid) {
		t.Errorf("to a learner: %v", err)
	}
	if c.Leader(d.ID) != lead {
		t.Fatal("a refused transfer moved the leadership")
	}
	mustPut(t, c, d, "k", "1")

	// One that was away for longer than the log reaches.
	away := other[0]
	last := c.Status(away, d.ID).Last
	c.Stop(away)
	fill(t, c, d, "k", 1500)
	c.WaitFor("a cut log", func() bool { return c.Status(c.Leader(d.ID), d.ID).Applied.TruncIndex > last })
	c.Start(away)
	c.WaitFor("leadership at "+away.String(), func() bool {
		from := c.Leader(d.ID)
		if from != away {
			_ = transfer(from, away) // raft gives it up if the snapshot takes longer than an election timeout
		}
		return from == away
	})
	mustGet(t, c, d, "k-01499", "v1499")
	c.WaitFor("leadership back at "+lead.String(), func() bool {
		from := c.Leader(d.ID)
		if from != lead {
			_ = transfer(from, lead)
		}
		return from == lead
	})
	mustPut(t, c, d, "k", "2")
	same(c, d)
}

// A leader whose own replica is replaced does not leave the joint configuration as a leader without a vote: it is
// refused until the leadership has moved. Then the old leader is removed, with its data.
func TestLeaderIsReplaced(t *testing.T) {
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Stores: 4, Shards: []*shard.Descriptor{d}})
	fill(t, c, d, "k", 100)
	old, _ := d.ReplicaOn(c.Leader(d.ID))
	fresh := shard.Replica{ID: 1000, Store: 4, Role: shard.Learner}
	change := func(ch shard.Change) error {
		lead := c.Leader(d.ID)
		err := c.Stores[lead].Store.Change(context.Background(), d.ID, c.Status(lead, d.ID).Desc.Epoch, ch)
		if err == nil {
			d = c.Status(lead, d.ID).Desc
		}
		return err
	}
	step := func(ch shard.Change) {
		t.Helper()
		c.WaitFor(ch.String(), func() bool { return change(ch) == nil })
	}
	step(shard.Change{Kind: shard.AddLearner, Replica: fresh})
	step(shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{fresh.ID}, Demote: []shard.ReplicaID{old.ID}})
	if c.Leader(d.ID) == old.Store {
		var invalid *shard.InvalidError
		if err := change(shard.Change{Kind: shard.LeaveJoint}); !errors.As(err, &invalid) {
			t.Fatalf("a leader that is demoted leaves the joint configuration: %v", err)
		}
	}
	mustPut(t, c, d, "joint", "1")
	c.WaitFor("leadership at the new replica", func() bool {
		from := c.Leader(d.ID)
		if from != 4 {
			_ = c.Stores[from].Store.TransferLeader(context.Background(), d.ID, 4)
		}
		return from == 4
	})
	step(shard.Change{Kind: shard.LeaveJoint})
	step(shard.Change{Kind: shard.RemoveLearner, Replica: shard.Replica{ID: old.ID, Store: old.Store}})
	c.WaitFor("the old leader's replica to be gone", func() bool { return c.Status(old.Store, d.ID).Replica == 0 })
	mustPut(t, c, d, "after", "1")
	mustGet(t, c, d, "k-00099", "v99")
	mustGet(t, c, d, "joint", "1")
	// Its bytes are given back.
	c.WaitFor("its data to be gone", func() bool {
		sum, n := c.Checksum(old.Store, d)
		return n == 0 && sum == raw.Sum{}
	})
	same(c, d)
}

// A replica that was away while the membership changed is led, when it is back, by one that its descriptor does not know.
// It answers it all the same: else it would never hear of the change.
func TestReplicaAnswersLeaderThatItDoesNotKnow(t *testing.T) {
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Stores: 4, Shards: []*shard.Descriptor{d}})
	fill(t, c, d, "k", 20)
	old, _ := d.ReplicaOn(c.Leader(d.ID))
	away := others(old.Store)[0]
	c.Stop(away)
	fresh := shard.Replica{ID: 1000, Store: 4, Role: shard.Learner}
	step := func(ch shard.Change) {
		t.Helper()
		c.WaitFor(ch.String(), func() bool {
			lead := c.Leader(d.ID)
			return c.Stores[lead].Store.Change(context.Background(), d.ID, c.Status(lead, d.ID).Desc.Epoch, ch) == nil
		})
	}
	step(shard.Change{Kind: shard.AddLearner, Replica: fresh})
	step(shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{fresh.ID}, Demote: []shard.ReplicaID{old.ID}})
	c.WaitFor("leadership at the new replica", func() bool {
		from := c.Leader(d.ID)
		if from != 4 {
			_ = c.Stores[from].Store.TransferLeader(context.Background(), d.ID, 4)
		}
		return from == 4
	})
	step(shard.Change{Kind: shard.LeaveJoint})
	c.Stop(old.Store) // nobody that it knows can tell it
	c.Start(away)
	c.WaitFor("the replica that was away to hear of the change", func() bool {
		mine, leads := c.Status(away, d.ID), c.Status(4, d.ID)
		return mine.Desc != nil && mine.Desc.Epoch == leads.Desc.Epoch && mine.Applied == leads.Applied
	})
}
