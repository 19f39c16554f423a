package cluster

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// Rule 16, of replicas that were removed, and of those that do not know. Each was seen to fail with the rule's code taken out.

// Rule 16: a removed replica id does not come back, whatever message of the past arrives, and the removal is
// acknowledged by a store that never had the replica, too.
func TestRemovedReplicaStaysDead(t *testing.T) {
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Stores: 4, Shards: []*shard.Descriptor{d}, Store: func(o *raftstore.Options) {
		o.Env = slowDestroy{o.Env, func() time.Duration { return 100 * time.Millisecond }}
	}})
	mustPut(t, c, d, "k", "0")
	gone := shard.Replica{ID: 1000, Store: 4, Role: shard.Learner}
	// Every frame that store 4 was ever sent is sent again later.
	var frames [][]byte
	var from []shard.StoreID
	c.Net.SetFilter(func(f, to shard.StoreID, frame []byte) bool {
		if to == 4 && frame != nil {
			frames, from = append(frames, append([]byte(nil), frame...)), append(from, f)
		}
		return true
	})
	d = change(c, d, shard.Change{Kind: shard.AddLearner, Replica: gone})
	c.WaitFor("the learner", func() bool { return c.Status(4, d.ID).Applied.Index != 0 })
	d = change(c, d, shard.Change{Kind: shard.RemoveLearner, Replica: gone})
	c.WaitFor("the removal", func() bool { return c.Status(4, d.ID).Replica == 0 })
	c.Net.SetFilter(func(_, to shard.StoreID, _ []byte) bool { return to != 4 })
	// From the moment of its removal, before and after its tombstone is there, and after a restart.
	for range 20 {
		for i, f := range frames {
			c.Stores[4].Store.Receive(from[i], append([]byte(nil), f...))
		}
		if c.Status(4, d.ID).Replica != 0 {
			t.Fatal("a removed replica was born again")
		}
		time.Sleep(10 * time.Millisecond)
	}
	next, ok, err := c.Stores[4].Engine.Tombstone(d.ID)
	if err != nil || !ok || next != gone.ID+1 {
		t.Fatalf("tombstone: %v %v %v", next, ok, err)
	}
	c.Crash(4, 0)
	c.Start(4)
	for i, f := range frames {
		c.Stores[4].Store.Receive(from[i], append([]byte(nil), f...))
	}
	if c.Status(4, d.ID).Replica != 0 {
		t.Fatal("a removed replica was born again after a restart")
	}
}

// Rule 16: a replica that was removed while its store was down finds out, though the leader that removed it is gone.
func TestForgottenReplicaAsks(t *testing.T) {
	t.Parallel()
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Stores: 4, Shards: []*shard.Descriptor{d}})
	mustPut(t, c, d, "k", "0")
	gone := shard.Replica{ID: 1000, Store: 4, Role: shard.Learner}
	d = change(c, d, shard.Change{Kind: shard.AddLearner, Replica: gone})
	c.WaitFor("the learner", func() bool { return c.Status(4, d.ID).Applied.Index >= c.Status(c.Leader(d.ID), d.ID).Applied.Index })
	c.Stop(4)
	d = change(c, d, shard.Change{Kind: shard.RemoveLearner, Replica: gone})
	mustPut(t, c, d, "k", "0")
	same(c, d) // all have applied the removal
	restart(c, 1, 2, 3)
	mustPut(t, c, d, "k", "1")
	c.Start(4)
	if c.Status(4, d.ID).Replica != gone.ID {
		t.Fatal("the replica is gone before anybody could tell it")
	}
	c.WaitFor("it to be told", func() bool { return c.Status(4, d.ID).Replica == 0 })
	mustPut(t, c, d, "k", "2")
}

// The same for one that was removed before it had any data: it has no descriptor, and asks whomever its store knows.
func TestForgottenReplicaWithoutDataAsks(t *testing.T) {
	t.Parallel()
	shards := []*shard.Descriptor{Descriptor(2, "", "m", 3), Descriptor(3, "m", "", 4)} // by the second its store knows the others
	c := New(t, Options{Stores: 4, Shards: shards, Store: func(o *raftstore.Options) {
		o.Transport = noSnapshots{o.Transport}
	}})
	d := c.opt.Shards[0]
	gone := shard.Replica{ID: 1000, Store: 4, Role: shard.Learner}
	d = change(c, d, shard.Change{Kind: shard.AddLearner, Replica: gone})
	c.WaitFor("the learner's birth", func() bool { return c.Status(4, d.ID).Term > 0 })
	if len(c.Status(4, d.ID).Desc.Replicas) != 0 {
		t.Fatal("it has data")
	}
	c.Stop(4)
	d = change(c, d, shard.Change{Kind: shard.RemoveLearner, Replica: gone})
	mustPut(t, c, d, "k", "0")
	same(c, d)
	restart(c, 1, 2, 3)
	mustPut(t, c, d, "k", "1")
	c.Start(4)
	c.WaitFor("it to be told", func() bool { return c.Status(4, d.ID).Replica == 0 })
}
