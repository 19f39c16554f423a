package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// Rule 14, where a store did not hear of a split when its right side was already spoken of. Each was seen to fail with the guard that it
// is about taken out.

// splitBehind splits a shard while one follower does not hear of it by way of the left side, and waits until the right
// side has a leader: on a busy machine that is not always the store that leads the left side. keepRight says which messages
// of the right side reach that follower.
func splitBehind(t *testing.T, o Options, keepRight func(m *raftpb.Message) bool) (c *Cluster, e *edit, parts []*shard.Descriptor, lead, away shard.StoreID) {
	e = &edit{}
	store := o.Store
	o.Store = func(so *raftstore.Options) {
		e.into(so)
		if store != nil {
			store(so)
		}
	}
	c = New(t, o)
	d := c.opt.Shards[0]
	fill(t, c, d, "k", 100)
	lead = c.Leader(d.ID)
	away = others(lead)[0]
	c.WaitFor("everybody to follow", func() bool { return c.Status(away, d.ID).Applied.Index == c.Status(lead, d.ID).Applied.Index })
	e.set(func(_, to shard.StoreID, id shard.ID, m *raftpb.Message) bool {
		if to != away {
			return true
		}
		if id == d.ID {
			return m.GetType() == raftpb.MsgHeartbeat && m.GetCommit() <= c.Status(away, d.ID).Last
		}
		return keepRight(m)
	})
	parts = c.Split(d.ID, "k-00050")
	return c, e, parts, c.Leader(parts[1].ID), away
}

// Right was born uninitialised by a vote request, and has voted. When its left here applies the split, its term and vote
// are kept: asked again in that term, by somebody else, it refuses.
func TestRightKeepsItsVote(t *testing.T) {
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			c, e, parts, lead, away := splitBehind(t, Options{Store: func(o *raftstore.Options) { o.Workers = workers }},
				func(m *raftpb.Message) bool { return m.GetType() == raftpb.MsgVote })
			right := parts[1]
			term := c.Status(lead, right.ID).Term
			c.WaitFor("its vote", func() bool { return c.Status(away, right.ID).Term == term })
			if _, err := c.Stores[away].Store.Descriptor(right.ID); err == nil {
				t.Fatal("it was born before its left was split")
			}
			third := 6 - lead - away
			voter, _ := right.ReplicaOn(away)
			rival, _ := right.ReplicaOn(third)
			answer := make(chan *raftpb.Message, 16)
			e.set(func(from, to shard.StoreID, id shard.ID, m *raftpb.Message) bool {
				if id == right.ID && from == away && m.GetType() == raftpb.MsgVoteResp && m.GetTo() == uint64(rival.ID) { // the first vote's may be on its way
					answer <- m
				}
				return to != away || id != right.ID
			})
			born(c, away, right)
			ask := func(term uint64, context string) {
				c.Stores[away].Store.Receive(third, raftFrame(right.ID, &raftpb.Message{Type: raftpb.MsgVote.Enum(), To: new(uint64(voter.ID)),
					From: new(uint64(rival.ID)), Term: new(term), LogTerm: new(uint64(5)), Index: new(uint64(5)), Context: []byte(context)}))
			}
			ask(term+3, "") // it owes left's leader stillness, as left does
			ask(term, "CampaignTransfer")
			select {
			case m := <-answer:
				if m.GetTerm() != term {
					t.Fatal("it broke the promise that it inherited")
				}
				if !m.GetReject() {
					t.Fatal("it voted twice in one term")
				}
			case <-time.After(10 * time.Second):
				t.Fatal("no answer")
			}
			e.set(nil)
			mustPut(t, c, right, "k-00099", "x")
			same(c, right)
		})
	}
}

// What right's leader appends before right is born here is kept, and is there when it is, though nothing of it is heard
// again and no snapshot comes.
func TestEarlyAppendIsKept(t *testing.T) {
	var early atomic.Pointer[raftpb.Message]
	c, e, parts, lead, away := splitBehind(t, Options{Store: func(o *raftstore.Options) { o.Tick = 100 * time.Millisecond }},
		func(m *raftpb.Message) bool {
			if len(m.GetEntries()) == 0 {
				return true
			}
			early.Store(proto.Clone(m).(*raftpb.Message))
			return false
		})
	right := parts[1]
	c.WaitFor("right to be heard", func() bool { return c.Status(away, right.ID).Replica != 0 })
	leader, _ := right.ReplicaOn(lead)
	c.WaitFor("the append to leave", func() bool { m := early.Load(); return m != nil && m.GetFrom() == uint64(leader.ID) })
	c.Stores[away].Store.Receive(lead, raftFrame(right.ID, early.Load())) // it arrives before the question for the status
	if st := c.Status(away, right.ID); st.Last != 0 {
		t.Fatalf("an uninitialised replica has entries: %+v", st)
	}
	e.set(func(_, to shard.StoreID, id shard.ID, m *raftpb.Message) bool { return to != away || id != right.ID })
	born(c, away, right)
	c.WaitFor("the kept append", func() bool { return c.Status(away, right.ID).Last >= 6 })
	if n := counter(c, away, "snapshots_installed_total"); n != 0 {
		t.Fatal("a snapshot was needed")
	}
	e.set(nil)
	mustPut(t, c, right, "k-00099", "x")
	same(c, right)
	if n := counter(c, away, "snapshots_installed_total"); n != 0 {
		t.Fatal("a snapshot was needed")
	}
}

// Right was removed from a store, and added there again, before its left there applied the split: it is not born from
// the split, its data go, and the new replica gets a snapshot.
func TestRemovedRightIsNotBorn(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("added again %t", again), func(t *testing.T) {
			c, e, parts, lead, away := splitBehind(t, Options{Store: func(o *raftstore.Options) { o.Workers = 2 }}, func(*raftpb.Message) bool { return true })
			right := parts[1]
			step := func(ch shard.Change) {
				t.Helper()
				c.WaitFor(ch.String(), func() bool {
					return c.Stores[lead].Store.Change(context.Background(), right.ID, c.Status(lead, right.ID).Desc.Epoch, ch) == nil
				})
				right = c.Status(lead, right.ID).Desc
			}
			gone, _ := right.ReplicaOn(away)
			step(shard.Change{Kind: shard.EnterJoint, Demote: []shard.ReplicaID{gone.ID}})
			step(shard.Change{Kind: shard.LeaveJoint})
			step(shard.Change{Kind: shard.RemoveLearner, Replica: gone})
			c.WaitFor("its tombstone", func() bool {
				next, ok, err := c.Stores[away].Engine.Tombstone(right.ID)
				return err == nil && ok && next > gone.ID
			})
			fresh := shard.Replica{ID: 9000, Store: away, Role: shard.Learner}
			if again {
				step(shard.Change{Kind: shard.AddLearner, Replica: fresh})
				c.WaitFor("the new replica", func() bool { return c.Status(away, right.ID).Replica == fresh.ID })
			}
			mustPut(t, c, right, "k-00099", "x")
			e.set(nil)
			c.WaitFor("the split", func() bool {
				d, err := c.Stores[away].Store.Descriptor(parts[0].ID)
				return err == nil && d.Epoch == parts[0].Epoch
			})
			if st := c.Status(away, right.ID); !again && st.Replica != 0 {
				t.Fatalf("the removed %s is there", st.Replica)
			}
			if again {
				born(c, away, right)
				same(c, right)
				if counter(c, away, "snapshots_installed_total") == 0 {
					t.Fatal("the new replica took what the split left")
				}
			} else {
				c.WaitFor("the data to go", func() bool { return c.Stores[away].count(right.Range) == 0 })
				if st := c.Status(away, right.ID); st.Replica != 0 {
					t.Fatalf("%s is there", st.Replica)
				}
			}
			same(c, parts[0])
			c.Crash(away, 0)
			c.Start(away)
			mustPut(t, c, parts[0], "k-00001", "x")
			same(c, parts[0])
			same(c, right)
		})
	}
}

// A newer replica of right waits here, brought to life by a message, when its left applies the split; no tombstone says so
// yet. It is neither replaced nor taken for the split's, and the data go.
func TestNewerRightStays(t *testing.T) {
	c, e, parts, lead, away := splitBehind(t, Options{}, func(*raftpb.Message) bool { return false })
	right := parts[1]
	const newer = 9000
	first, _ := right.ReplicaOn(lead)
	c.Stores[away].Store.Receive(lead, raftFrame(right.ID, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(newer)),
		From: new(uint64(first.ID)), Term: new(uint64(6))}))
	c.WaitFor("the newer replica", func() bool { return c.Status(away, right.ID).Replica == newer })
	e.set(func(_, to shard.StoreID, id shard.ID, _ *raftpb.Message) bool { return id != right.ID || to != away })
	c.WaitFor("the split", func() bool {
		d, err := c.Stores[away].Store.Descriptor(parts[0].ID)
		return err == nil && d.Epoch == parts[0].Epoch
	})
	c.WaitFor("the data to go", func() bool { return c.Stores[away].count(right.Range) == 0 })
	if st := c.Status(away, right.ID); st.Replica != newer || st.Last != 0 {
		t.Fatalf("%s is there, with entries up to %d", st.Replica, st.Last)
	}
	same(c, parts[0])
}

// The data of a right side that is not born are gone after a crash that comes before they are removed: the batch of the
// split marks them.
func TestRemovedRightIsMarked(t *testing.T) {
	var late atomic.Bool
	wait := func() time.Duration {
		if late.Load() {
			return 2 * time.Second // the store has crashed by then
		}
		return 0
	}
	c, e, parts, lead, away := splitBehind(t, Options{Store: func(o *raftstore.Options) { o.Env = slowDestroy{o.Env, wait} }},
		func(*raftpb.Message) bool { return false })
	right := parts[1]
	first, _ := right.ReplicaOn(lead)
	c.Stores[away].Store.Receive(lead, raftFrame(right.ID, &raftpb.Message{Type: raftpb.MsgHeartbeat.Enum(), To: new(uint64(9000)),
		From: new(uint64(first.ID)), Term: new(uint64(6))}))
	c.WaitFor("the newer replica", func() bool { return c.Status(away, right.ID).Replica == 9000 })
	late.Store(true)
	e.set(func(_, to shard.StoreID, id shard.ID, _ *raftpb.Message) bool { return id != right.ID || to != away })
	c.WaitFor("the split", func() bool {
		d, err := c.Stores[away].Store.Descriptor(parts[0].ID)
		return err == nil && d.Epoch == parts[0].Epoch
	})
	if c.Stores[away].count(right.Range) == 0 {
		t.Fatal("the data are gone already")
	}
	if err := c.Stores[away].Engine.SyncWAL(); err != nil {
		t.Fatal(err)
	}
	c.Crash(away, 0)
	late.Store(false)
	c.Start(away)
	if n := c.Stores[away].count(right.Range); n != 0 {
		t.Fatalf("%d keys of nobody are left", n)
	}
}

// count counts the keys of a range in a store's engine.
func (m *Member) count(r shard.Range) (n int) {
	rd := m.Engine.NewReader()
	defer func() { _ = rd.Close() }()
	_ = rd.Scan(r, false, func(shard.Key, []byte) bool { n++; return true })
	return n
}
