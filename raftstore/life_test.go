package raftstore

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// walker does to one shard of one store whatever placement, other stores and splits may do to it, in any order.
type walker struct {
	t     *testing.T
	rng   *rand.Rand
	fs    vfs.FS
	e     *engine.Engine
	s     *Store
	cover *fsm.Coverage
	donor *engine.Engine // holds the shard, to make snapshots of
	did   []string
}

// walkID is the shard; the replicas that it may have on the store are 71 to 71+walkIDs-1.
const (
	walkID  = shard.ID(7)
	walkIDs = 3
)

func (w *walker) desc(rep shard.ReplicaID) *shard.Descriptor {
	return &shard.Descriptor{ID: walkID, Epoch: shard.Epoch{ConfVer: 1, Version: 1}, Replicas: []shard.Replica{
		{ID: rep, Store: 1, Role: shard.Voter}, {ID: 90, Store: 2, Role: shard.Voter}, {ID: 91, Store: 3, Role: shard.Voter}}}
}

func openMem(t *testing.T, fs vfs.FS) *engine.Engine {
	t.Helper()
	e, err := engine.Open("store", engine.Options{FS: fs, CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (w *walker) open() {
	w.e = openMem(w.t, w.fs)
	s, err := Open(Options{Env: env.Real{}, Engine: w.e, Store: 1, Transport: &sent{}, Tick: 5 * time.Millisecond, Workers: 1, Coverage: w.cover})
	if err != nil {
		w.t.Fatalf("open: %v after %v", err, w.did)
	}
	w.s = s
}

func (w *walker) close() {
	_ = w.s.Close()
	if err := w.e.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// on runs f where the shard lives.
func (w *walker) on(f func(*worker, *replica)) {
	wk := w.s.worker(walkID)
	_ = wk.call(w.t.Context(), func(done func(error)) { f(wk, wk.replicas[walkID]); done(nil) })
}

func (w *walker) step() {
	rep := 71 + shard.ReplicaID(w.rng.IntN(walkIDs))
	n := w.rng.IntN(10)
	w.did = append(w.did, fmt.Sprintf("%d:%d", n, rep))
	switch n {
	case 0, 1:
		vote := &raftpb.Message{Type: raftpb.MsgPreVote.Enum(), To: new(uint64(rep)), From: new(uint64(90)), Term: new(uint64(6)),
			LogTerm: new(uint64(5)), Index: new(uint64(5))}
		w.s.Receive(2, append(group.AppendMessage(nil, walkID, vote), frameRaft))
	case 2:
		destroy := control{kind: controlDestroy, shard: walkID, from: 90, to: rep, term: 6}
		w.s.Receive(2, append(destroy.append(nil), frameControl))
	case 3:
		_ = w.s.CreateShards([]*shard.Descriptor{w.desc(rep)})
	case 4:
		w.split(rep)
	case 5: // as after an offer; see onOffer for when
		w.on(func(_ *worker, r *replica) {
			if r != nil && r.born() && !r.held {
				r.fallAsleep()
			}
		})
	case 6:
		w.on(func(_ *worker, r *replica) {
			if r != nil {
				r.wakeUp(wakeQueue)
			}
		})
	case 7:
		w.close()
		w.open()
	default:
		w.snapshot(rep)
	}
}

// split lets left's worker give birth to the shard, as freezeRights and stageSplit do. It is not split off where it has
// data: its range would be left's then.
func (w *walker) split(rep shard.ReplicaID) {
	done := make(chan struct{})
	w.on(func(wk *worker, r *replica) {
		if r != nil && (r.born() || r.held) {
			close(done)
			return
		}
		d := w.desc(rep)
		rt := &right{w: wk, desc: d, self: rep, heard: 1}
		wk.freeze(rt, func() {
			defer close(done)
			if r := wk.replicas[walkID]; rt.dead || r != nil {
				return
			}
			rt.state = InitialState(d, rep)
			if rt.hard.Term >= initialTerm {
				rt.state.Hard.Term, rt.state.Hard.Vote = rt.hard.Term, rt.hard.Vote
			}
			b := w.e.NewStateBatch()
			defer b.Close()
			b.CreateReplica(rt.state)
			if err := b.Commit(true); err != nil {
				w.t.Error(err)
			}
			wk.adoptRight(rt)
		})
	})
	if w.s.Err() == nil {
		<-done
	}
}

// snapshot sends one, whole or cut short, to somebody who waits or not.
func (w *walker) snapshot(rep shard.ReplicaID) {
	src, err := w.donor.NewSnapshotSource(w.desc(rep), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	defer src.Close()
	meta := src.Meta()
	meta.Desc = w.desc(rep)
	meta.Applied.Index += uint64(w.rng.IntN(3))
	term := uint64(6)
	msg := &raftpb.Message{Type: raftpb.MsgSnap.Enum(), To: new(uint64(rep)), From: new(uint64(90)), Term: &term,
		Snapshot: &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{ConfState: engine.ConfState(meta.Desc), Index: &meta.Applied.Index, Term: &meta.Applied.Term}}}
	h := snapshotHeader{from: 2, shard: walkID, desc: meta.Desc, applied: meta.Applied, msg: msg}
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	next := src.Next
	switch w.rng.IntN(5) {
	case 0:
		next = func() ([]byte, error) { return nil, io.ErrUnexpectedEOF }
	case 1:
		cancel()
	case 2: // removed while it comes
		next = func() ([]byte, error) {
			w.on(func(wk *worker, r *replica) {
				if r != nil && !r.held {
					wk.destroy(r, rep+1)
				}
			})
			return src.Next()
		}
	}
	_ = w.s.ReceiveSnapshot(ctx, h.append(nil), next)
}

// TestLives: no order of messages, creations, splits, removals, snapshots, sleep and restarts takes a replica or a snapshot
// where no table of states knows it, or makes its fields differ from its life.
func TestLives(t *testing.T) {
	donor := openMem(t, vfs.NewMem())
	defer func() { _ = donor.Close() }()
	b := donor.NewStateBatch()
	b.CreateReplica(InitialState((&walker{}).desc(71), 90))
	if err := b.Commit(true); err != nil {
		t.Fatal(err)
	}
	b.Close()
	cover := &fsm.Coverage{Guard: &sync.Mutex{}}
	for seed := range uint64(60) {
		w := &walker{t: t, rng: rand.New(rand.NewPCG(seed, 1)), fs: vfs.NewMem(), cover: cover, donor: donor}
		w.open()
		for range 40 {
			w.step()
			if f := cover.Faults(); len(f) > 0 || w.s.Err() != nil {
				t.Fatalf("seed %d: %v %v after %s", seed, f, w.s.Err(), strings.Join(w.did, " "))
			}
		}
		w.close()
	}
	lives := lifeTable.Chart()
	for i, n := range cover.Taken(&lives) {
		if n == 0 {
			t.Errorf("never taken: %s", lives.Rows[i])
		}
	}
}
