package raftstore

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// sent is a transport that keeps what a store says.
type sent struct {
	mu   sync.Mutex
	msgs []*raftpb.Message
}

func (s *sent) Send(_ shard.StoreID, _ bool, frame []byte) {
	if frame[len(frame)-1] != frameRaft {
		return
	}
	_ = group.DecodeFrame(frame[:len(frame)-1], func(_ shard.ID, m *raftpb.Message) error {
		s.mu.Lock()
		s.msgs = append(s.msgs, m)
		s.mu.Unlock()
		return nil
	})
}

func (s *sent) Reached(shard.StoreID) {}

func (s *sent) Call(context.Context, shard.StoreID, *call.Request) call.Reply {
	return call.Reply{Err: shard.ErrUnavailable}
}

func (s *sent) SendSnapshot(context.Context, shard.StoreID, []byte, func() ([]byte, error)) error {
	return shard.ErrUnavailable
}

func (s *sent) answers(typ raftpb.MessageType) (out []*raftpb.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.msgs {
		if m.GetType() == typ {
			out = append(out, m)
		}
	}
	return out
}

// Between freeze and adoptRight a shard id belongs to the split, however long left's worker takes: a message neither
// gives birth to a replica nor is lost, the word that it was removed waits, and nobody creates it.
func TestFrozenShard(t *testing.T) {
	e, err := engine.Open("store", engine.Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	net := &sent{}
	s, err := Open(Options{Env: env.Real{}, Engine: e, Store: 1, Transport: net, Tick: 20 * time.Millisecond, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	d := &shard.Descriptor{ID: 7, Range: shard.Range{Start: shard.Key("rm")}, Epoch: shard.Epoch{ConfVer: 1, Version: 2},
		Replicas: []shard.Replica{{ID: 71, Store: 1, Role: shard.Voter}, {ID: 72, Store: 2, Role: shard.Voter}, {ID: 73, Store: 3, Role: shard.Voter}}}
	w := s.worker(d.ID)
	rt := &right{w: w, desc: d, self: 71, heard: 1, state: InitialState(d, 71)}
	on := func(f func()) {
		t.Helper()
		if err := w.call(t.Context(), func(done func(error)) { f(); done(nil) }); err != nil {
			t.Fatal(err)
		}
	}
	frozen := false
	on(func() { w.freeze(rt, func() { frozen = true }) })
	if !frozen || rt.dead {
		t.Fatalf("frozen %t, dead %t", frozen, rt.dead)
	}
	vote := &raftpb.Message{Type: raftpb.MsgVote.Enum(), To: new(uint64(71)), From: new(uint64(72)), Term: new(uint64(6)),
		LogTerm: new(uint64(5)), Index: new(uint64(5)), Context: []byte("CampaignTransfer")}
	s.Receive(2, append(group.AppendMessage(nil, d.ID, vote), frameRaft))
	destroy := control{kind: controlDestroy, shard: d.ID, from: 72, to: 71, term: 6}
	s.Receive(2, append(destroy.append(nil), frameControl))
	if err := s.CreateShards([]*shard.Descriptor{d}); err == nil {
		t.Error("it was created beside the split")
	}
	on(func() {
		if w.replicas[d.ID] != nil || w.dying[d.ID] != nil {
			t.Error("a message gave birth to it, or buried it")
		}
		b := e.NewStateBatch()
		defer b.Close()
		b.CreateReplica(rt.state)
		if err := b.Commit(true); err != nil {
			t.Error(err)
		}
		w.adoptRight(rt)
	})
	for end := time.Now().Add(10 * time.Second); len(net.answers(raftpb.MsgVoteResp)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the kept vote request was lost")
		}
	}
	if st, err := s.Status(t.Context(), d.ID); err != nil || len(st) != 1 || st[0].Term != 6 || st[0].Last != initialIndex {
		t.Fatalf("%+v %v", st, err)
	}
}

// A right side that was asked for its vote before its birth, and had no time to answer, answers after it: whoever asked asks
// once, and what came of it instead was a right side without a leader for an election timeout.
func TestVoteOutlivesBirth(t *testing.T) {
	e, err := engine.Open("store", engine.Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	net := &sent{}
	s, err := Open(Options{Env: env.Real{}, Engine: e, Store: 1, Transport: net, Tick: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	d := &shard.Descriptor{ID: 7, Range: shard.Range{Start: shard.Key("rm")}, Epoch: shard.Epoch{ConfVer: 1, Version: 2},
		Replicas: []shard.Replica{{ID: 71, Store: 1, Role: shard.Voter}, {ID: 72, Store: 2, Role: shard.Voter}, {ID: 73, Store: 3, Role: shard.Voter}}}
	w := s.worker(d.ID)
	rt := &right{w: w, desc: d, self: 71, state: InitialState(d, 71)}
	err = w.call(t.Context(), func(done func(error)) {
		w.step(message{id: d.ID, from: 2, msg: &raftpb.Message{Type: raftpb.MsgVote.Enum(), To: new(uint64(71)), From: new(uint64(72)),
			Term: new(uint64(6)), LogTerm: new(uint64(5)), Index: new(uint64(5)), Context: []byte("CampaignTransfer")}})
		w.freeze(rt, func() {
			b := e.NewStateBatch()
			defer b.Close()
			rt.state.Hard.Term, rt.state.Hard.Vote = max(rt.hard.Term, initialTerm), rt.hard.Vote
			b.CreateReplica(rt.state)
			if err := b.Commit(true); err != nil {
				done(err)
				return
			}
			w.adoptRight(rt)
			done(nil)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); len(net.answers(raftpb.MsgVoteResp)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the vote was lost with the group that gave it")
		}
	}
	if m := net.answers(raftpb.MsgVoteResp)[0]; m.GetReject() || m.GetTerm() != 6 || m.GetTo() != 72 {
		t.Fatalf("it answers %v", m)
	}
}

// A right side whose predecessor here is being buried waits for the tombstone, which then decides.
func TestFreezeWaitsForBurial(t *testing.T) {
	e, err := engine.Open("store", engine.Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	gate := make(chan struct{})
	s, err := Open(Options{Env: gated{env.Real{}, gate}, Engine: e, Store: 1, Transport: &sent{}, Tick: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	d := &shard.Descriptor{ID: 7, Replicas: []shard.Replica{{ID: 71, Store: 1, Role: shard.Voter}}}
	w := s.worker(d.ID)
	rt := &right{w: w, desc: d, self: 71}
	done := make(chan struct{})
	err = w.call(t.Context(), func(ok func(error)) {
		w.bury(d.ID, 72, nil, lifeAbsent)
		w.freeze(rt, func() { close(done) })
		ok(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
		t.Fatal("it was frozen before its tombstone was there")
	case <-time.After(50 * time.Millisecond):
	}
	close(gate)
	<-done
	if !rt.dead {
		t.Fatal("it is born although it was removed")
	}
}

// A right side that was frozen in a later term than its first is not forced to elect: somebody may lead that term, and his
// voters' promises are not ours to break.
func TestForceOnlyInTheFirstTerm(t *testing.T) {
	e, err := engine.Open("store", engine.Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	net := &sent{}
	s, err := Open(Options{Env: env.Real{}, Engine: e, Store: 1, Transport: net, Tick: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for i, term := range []uint64{initialTerm, initialTerm + 3} {
		id := shard.ID(7 + i)
		d := &shard.Descriptor{ID: id, Range: shard.Range{Start: shard.Key{'a' + byte(i)}, End: shard.Key{'b' + byte(i)}}, Epoch: shard.Epoch{ConfVer: 1, Version: 2},
			Replicas: []shard.Replica{{ID: 71, Store: 1, Role: shard.Voter}, {ID: 72, Store: 2, Role: shard.Voter}, {ID: 73, Store: 3, Role: shard.Voter}}}
		w := s.worker(id)
		rt := &right{w: w, desc: d, self: 71, heard: 1, state: InitialState(d, 71), force: true}
		rt.state.Hard.Term = term
		err := w.call(t.Context(), func(done func(error)) {
			b := e.NewStateBatch()
			defer b.Close()
			b.CreateReplica(rt.state)
			if err := b.Commit(true); err != nil {
				done(err)
				return
			}
			w.adoptRight(rt)
			done(nil)
		})
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.Status(t.Context(), id)
		if err != nil || len(st) != 1 || (st[0].Term > term) != (term == initialTerm) {
			t.Fatalf("born in term %d: %+v %v", term, st, err)
		}
	}
}

// gated holds burials until its gate opens.
type gated struct {
	env.Env
	gate chan struct{}
}

func (g gated) Go(name string, f func()) {
	g.Env.Go(name, func() {
		if name == "destroy" {
			<-g.gate
		}
		f()
	})
}
