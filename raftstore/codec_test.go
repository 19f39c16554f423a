package raftstore

import (
	"bytes"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
)

func FuzzControl(f *testing.F) {
	f.Add((&control{kind: controlOffer, shard: 2, from: 21, to: 22, term: 6, last: 10, incarnation: 3}).append(nil))
	f.Add([]byte{controlVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeControl(b)
		if err != nil {
			return
		}
		again, err := decodeControl(c.append(nil))
		if err != nil || again != c {
			t.Fatalf("%+v became %+v (%v)", c, again, err)
		}
	})
}

func testHeader() *snapshotHeader {
	d := &shard.Descriptor{ID: 2, Epoch: shard.Epoch{ConfVer: 1, Version: 1}, Replicas: []shard.Replica{
		{ID: 21, Store: 1, Role: shard.Voter}, {ID: 22, Store: 2, Role: shard.Voter}, {ID: 23, Store: 3, Role: shard.Learner}}}
	a := shard.Applied{Index: 100, Term: 7, TruncIndex: 50, TruncTerm: 6}
	return &snapshotHeader{from: 1, shard: 2, desc: d, applied: a, msg: &raftpb.Message{
		Type: raftpb.MsgSnap.Enum(), From: new(uint64(21)), To: new(uint64(22)), Term: new(uint64(7)),
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: engine.ConfState(d), Index: &a.Index, Term: &a.Term}}}}
}

func FuzzSnapshotHeader(f *testing.F) {
	f.Add(testHeader().append(nil))
	f.Add([]byte{snapshotVersion, 1, 2, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := decodeSnapshotHeader(b)
		if err != nil {
			return
		}
		again, err := decodeSnapshotHeader(h.append(nil))
		if err != nil || !bytes.Equal(again.append(nil), h.append(nil)) {
			t.Fatalf("%x became %x (%v)", h.append(nil), again.append(nil), err)
		}
		if h.desc.ID != h.shard || h.msg.GetType() != raftpb.MsgSnap {
			t.Fatal("an inconsistent header was accepted")
		}
	})
}

// TestSnapshotHeader: a header whose parts contradict each other is refused.
func TestSnapshotHeader(t *testing.T) {
	if _, err := decodeSnapshotHeader(testHeader().append(nil)); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*snapshotHeader){
		"another shard":         func(h *snapshotHeader) { h.shard = 3 },
		"another index":         func(h *snapshotHeader) { h.applied.Index = 101 },
		"another term":          func(h *snapshotHeader) { h.applied.Term = 6 },
		"another configuration": func(h *snapshotHeader) { h.desc.Replicas[2].Role = shard.Voter },
		"another message":       func(h *snapshotHeader) { h.msg.Type = raftpb.MsgApp.Enum() },
		"no snapshot":           func(h *snapshotHeader) { h.msg.Snapshot = nil },
	} {
		h := testHeader()
		change(h)
		if _, err := decodeSnapshotHeader(h.append(nil)); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
