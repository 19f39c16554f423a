package cluster

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// raftFrame is a frame of one raft message, as another store would send it.
func raftFrame(id shard.ID, m *raftpb.Message) []byte {
	return append(group.AppendMessage(nil, id, m), 1)
}

// No frame breaks a store: not of ids that cannot be, not a snapshot that was not staged, not garbage.
func TestBadFrames(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	s := c.Stores[2].Store
	msg := func(typ raftpb.MessageType, from, to, term uint64) *raftpb.Message {
		return &raftpb.Message{Type: typ.Enum(), From: &from, To: &to, Term: &term, Index: new(uint64(5)), LogTerm: new(uint64(5))}
	}
	for _, typ := range []raftpb.MessageType{raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgVote, raftpb.MsgPreVote, raftpb.MsgAppResp,
		raftpb.MsgHeartbeatResp, raftpb.MsgTimeoutNow, raftpb.MsgProp, raftpb.MsgReadIndex, raftpb.MsgTransferLeader, raftpb.MsgHup,
		raftpb.MsgStorageAppendResp, raftpb.MsgForgetLeader} {
		for _, id := range []shard.ID{0, 2, 7, 1 << 63} {
			for _, to := range []uint64{0, 22, 1 << 63} {
				for _, from := range []uint64{0, 21, 22, 1 << 63} {
					s.Receive(1, raftFrame(id, msg(typ, from, to, 0)))
				}
			}
		}
	}
	snap := msg(raftpb.MsgSnap, 21, 22, 99)
	snap.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(1000)), Term: new(uint64(99)),
		ConfState: &raftpb.ConfState{Voters: []uint64{21, 22, 23}}}}
	s.Receive(1, raftFrame(2, snap))
	for _, b := range [][]byte{nil, {}, {1}, {2}, {3}, {4}, {0xff, 1}, {1, 1, 1}, {1, 4, 0, 0, 0, 0, 0, 0, 3}} {
		s.Receive(1, b)
	}
	if err := s.ReceiveSnapshot(context.Background(), []byte{1, 2, 3}, func() ([]byte, error) { return nil, io.EOF }); err == nil {
		t.Error("a header of nonsense was accepted")
	}
	mustPut(t, c, d, "k", "1")
	if err := s.Err(); err != nil {
		t.Fatalf("a frame broke the store: %v", err)
	}
	same(c, d)
}

// FuzzReceive gives a store frames that were true once and are not any more.
func FuzzReceive(f *testing.F) {
	c := New(f, Options{OnBroken: func(_ shard.StoreID, err error) { panic(err) }})
	d := c.opt.Shards[0]
	var mu sync.Mutex
	kept := 0
	c.Net.SetFilter(func(_, _ shard.StoreID, frame []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		if frame != nil && kept < 200 && rand.IntN(3) == 0 {
			kept++
			f.Add(append([]byte(nil), frame...))
		}
		return true
	})
	for range 2 {
		mustPut(f, c, d, "k", "0")
		c.WaitFor("sleep", func() bool { return c.Status(c.Leader(d.ID), d.ID).Asleep })
	}
	c.Net.SetFilter(nil)
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) > 0 && frame[len(frame)-1] == 3 {
			return // a well-formed Destroy is obeyed: stores trust each other
		}
		c.Stores[2].Store.Receive(1, append([]byte(nil), frame...))
		if c.Status(2, d.ID).Replica == 0 {
			t.Fatal("the replica is gone")
		}
		if err := c.Stores[2].Store.Err(); err != nil && !errors.Is(err, shard.ErrClosed) {
			t.Fatal(err)
		}
	})
}
