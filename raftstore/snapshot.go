package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// Bounds of snapshots per store: enough to keep the network busy, few enough to leave the disk to the clients.
const (
	maxSnapshotsSending   = 2
	maxSnapshotsReceiving = 2
)

// snapshots bounds what is being sent and received. Raft sees only metadata; the data is streamed beside it.
type snapshots struct {
	store *Store

	mu        sync.Mutex
	queue     []outgoing
	sending   int
	receiving int
	// free is when the rate limit lets the next chunk through.
	free env.Time
}

type outgoing struct {
	r   *replica
	gen uint64
	msg *raftpb.Message
}

func newSnapshots(s *Store) *snapshots { return &snapshots{store: s} }

// sendSnapshot queues what a MsgSnap asks for. Every MsgSnap ends in ReportSnapshot, or its follower would wait in
// StateSnapshot for ever.
func (s *Store) sendSnapshot(r *replica, m *raftpb.Message) {
	r.snapshots++
	if pin := m.GetSnapshot().GetMetadata().GetIndex(); r.snapshots == 1 || pin < r.minPinned {
		r.minPinned = pin
	}
	p := s.snapshots
	p.mu.Lock()
	p.queue = append(p.queue, outgoing{r: r, gen: r.gen, msg: m})
	p.mu.Unlock()
	p.startNext()
}

// startNext takes the next queued snapshot if a slot is free. The source is opened on the shard's worker, between two
// applies, so that data, applied index and descriptor are of one moment.
func (p *snapshots) startNext() {
	p.mu.Lock()
	if p.sending >= maxSnapshotsSending || len(p.queue) == 0 {
		p.mu.Unlock()
		return
	}
	o := p.queue[0]
	p.queue = p.queue[1:]
	p.sending++
	p.mu.Unlock()
	o.r.w.task(func() { p.open(o) })
}

func (p *snapshots) open(o outgoing) {
	to, ok := p.store.storeOf(shard.ReplicaID(o.msg.GetTo()), o.r.id)
	if o.gen != o.r.gen || !o.r.group.Leading() || o.r.held || !ok {
		p.end(o, errors.New("not leading any more"))
		return
	}
	src, err := p.store.engine.NewSnapshotSource(o.r.machine.Desc, 0)
	if err != nil {
		p.store.broken("open a snapshot of "+o.r.id.String(), err)
		p.end(o, err)
		return
	}
	// The view may be newer than the metadata that raft was given when it asked.
	meta := src.Meta()
	o.msg.Snapshot.Metadata = &raftpb.SnapshotMetadata{
		ConfState: engine.ConfState(meta.Desc), Index: &meta.Applied.Index, Term: &meta.Applied.Term}
	header := snapshotHeader{from: p.store.id, shard: o.r.id, desc: meta.Desc, applied: meta.Applied, msg: o.msg}
	p.store.goTask("snapshot", func() {
		start := p.store.env.Now()
		err := p.store.transport.SendSnapshot(p.store.ctx, to, header.append(nil), src.Next)
		src.Close()
		p.store.logger.Info("snapshot sent", "shard", o.r.id, "to", to, "index", meta.Applied.Index,
			"took", p.store.env.Now().Sub(start), "err", err)
		o.r.w.task(func() { p.end(o, err) })
	})
}

// end runs on the shard's worker.
func (p *snapshots) end(o outgoing, err error) {
	if o.gen == o.r.gen {
		o.r.snapshots--
		o.r.group.ReportSnapshot(shard.ReplicaID(o.msg.GetTo()), err == nil)
		o.r.mark()
	}
	p.mu.Lock()
	p.sending--
	p.mu.Unlock()
	p.startNext()
}

// snapshotHeader goes ahead of the chunks.
type snapshotHeader struct {
	from    shard.StoreID
	shard   shard.ID
	desc    *shard.Descriptor
	applied shard.Applied
	msg     *raftpb.Message
}

const snapshotVersion = 1

func (h *snapshotHeader) append(b []byte) []byte {
	b = append(b, snapshotVersion)
	b = codec.AppendUvarint(b, uint64(h.from))
	b = codec.AppendUvarint(b, uint64(h.shard))
	b = codec.AppendBytes(b, h.desc.Append(nil))
	b = codec.AppendBytes(b, h.applied.Append(nil))
	return codec.AppendBytes(b, group.AppendMessage(nil, h.shard, h.msg))
}

func decodeSnapshotHeader(b []byte) (*snapshotHeader, error) {
	d := codec.Decoder{B: b}
	d.Version(snapshotVersion)
	h := &snapshotHeader{from: shard.StoreID(d.Uvarint()), shard: shard.ID(d.Uvarint())}
	desc, applied, frame := d.Bytes(), d.Bytes(), d.Bytes()
	if err := d.Done(); err != nil {
		return nil, err
	}
	var err error
	if h.desc, err = shard.DecodeDescriptor(desc); err != nil {
		return nil, err
	}
	if h.applied, err = shard.DecodeApplied(applied); err != nil {
		return nil, err
	}
	err = group.DecodeFrame(frame, func(_ shard.ID, m *raftpb.Message) error { h.msg = m; return nil })
	if err != nil {
		return nil, err
	}
	meta := h.msg.GetSnapshot().GetMetadata()
	if h.msg.GetType() != raftpb.MsgSnap || h.desc.ID != h.shard || meta.GetIndex() != h.applied.Index ||
		meta.GetTerm() != h.applied.Term || equivalent(engine.ConfState(h.desc), meta.GetConfState()) != nil {
		return nil, errors.New("header and raft metadata differ")
	}
	return h, h.desc.Validate()
}

// staged is a snapshot whose data is on this disk and which raft has not yet taken.
type staged struct {
	head *snapshotHeader
	sink *engine.SnapshotSink
	done func(error)
}

// ReceiveSnapshot stages the chunks of a snapshot and installs it. It returns nil once that is done, or once raft has
// found that it does not need it.
func (s *Store) ReceiveSnapshot(ctx context.Context, header []byte, next func() ([]byte, error)) error {
	h, err := decodeSnapshotHeader(header)
	if err != nil {
		return fmt.Errorf("snapshot header: %w", err)
	}
	if !s.snapshots.grant() {
		return &shard.ServerBusyError{Store: s.id, Why: "snapshot slots are taken", Wait: time.Second}
	}
	defer s.snapshots.release()
	w := s.worker(h.shard)
	if err := w.call(ctx, func(done func(error)) { done(w.expectSnapshot(h)) }); err != nil {
		return err
	}
	defer s.unhold(h.shard)
	sink, err := s.engine.NewSnapshotSink(h.shard, fmt.Sprintf("%s-%d-%d", h.shard, h.applied.Term, h.applied.Index))
	if err != nil {
		return err
	}
	if err := s.stage(ctx, sink, next); err != nil {
		sink.Discard()
		return err
	}
	return w.call(s.ctx, func(done func(error)) { w.stepSnapshot(&staged{head: h, sink: sink, done: done}) })
}

func (p *snapshots) grant() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.receiving >= maxSnapshotsReceiving {
		return false
	}
	p.receiving++
	return true
}

func (p *snapshots) release() {
	p.mu.Lock()
	p.receiving--
	p.mu.Unlock()
}

// expectSnapshot checks that a snapshot may come, and holds its range against other shards until it is installed.
func (w *worker) expectSnapshot(h *snapshotHeader) error {
	s := w.store
	m := message{id: h.shard, from: h.from, msg: h.msg}
	r := w.replicas[h.shard]
	if r == nil {
		if self, ok := h.desc.ReplicaOn(s.id); !ok || uint64(self.ID) != h.msg.GetTo() {
			return &shard.InvalidError{Why: fmt.Sprintf("snapshot of %s names no replica here", h.shard)}
		}
		return &shard.NotReadyError{Shard: h.shard, Why: "the replica is not born yet"}
	}
	if shard.ReplicaID(m.msg.GetTo()) != r.self {
		w.misdirected(r, m)
		return &shard.NotFoundError{Shard: h.shard, Store: s.id}
	}
	if r.held {
		return &shard.ServerBusyError{Store: s.id, Why: "another snapshot of this shard is being installed", Wait: time.Second}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.placeholders[h.shard]; taken {
		return &shard.ServerBusyError{Store: s.id, Why: "another snapshot of this shard is being received", Wait: time.Second}
	}
	if other, overlap := s.overlapLocked(h.shard, h.desc.Range); overlap {
		return &shard.ServerBusyError{Store: s.id, Why: fmt.Sprintf("%s overlaps %s here", h.shard, other), Wait: time.Second}
	}
	s.placeholders[h.shard] = h.desc.Range
	return nil
}

func (s *Store) unhold(id shard.ID) {
	s.mu.Lock()
	delete(s.placeholders, id)
	s.mu.Unlock()
}

// stage writes the chunks, not faster than the store's limit.
func (s *Store) stage(ctx context.Context, sink *engine.SnapshotSink, next func() ([]byte, error)) error {
	for {
		chunk, err := next()
		if err == io.EOF {
			return sink.Finish()
		}
		if err != nil {
			return err
		}
		if err := s.env.Sleep(ctx, s.snapshots.pace(len(chunk))); err != nil {
			return err
		}
		if err := sink.Write(chunk); err != nil {
			return err
		}
	}
}

// pace says how long a chunk must wait for the rate limit.
func (p *snapshots) pace(bytes int) time.Duration {
	rate := p.store.opt.SnapshotBytesPerSecond
	if rate <= 0 {
		return 0
	}
	now := p.store.env.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = max(p.free, now)
	wait := p.free.Sub(now)
	p.free = p.free.Add(time.Duration(int64(bytes) * int64(time.Second) / rate))
	return wait
}

// stepSnapshot gives raft the metadata of a staged snapshot. If raft takes it, its Ready leads to install; if not, the
// files and the slot are released here.
func (w *worker) stepSnapshot(st *staged) {
	r := w.replicas[st.head.shard]
	if r == nil || r.held || shard.ReplicaID(st.head.msg.GetTo()) != r.self {
		st.sink.Discard()
		st.done(&shard.NotFoundError{Shard: st.head.shard, Store: w.store.id})
		return
	}
	r.wakeUp(wakeMessage)
	r.staged = st
	if err := r.group.Step(st.head.msg, group.Instant(w.now)); err != nil {
		w.store.logger.Debug("snapshot not wanted", "shard", r.id, "err", err)
	}
	w.drain(r)
	if r.staged != nil {
		r.staged = nil
		st.sink.Discard()
		st.done(nil) // obsolete: raft has what it holds, and says so to the leader
	}
}

// install takes a snapshot that raft has accepted into the engine, off the worker: the sync and the ingest take
// milliseconds that other shards need not wait.
//
// INVARIANT (rule 3): until it is done the replica is held: no Ready of it is taken, so nothing later of it is written
// or answered. Its earlier applies are done, because they run inline. INVARIANT (rule 11): its view is withdrawn first.
func (w *worker) install(r *replica, a *group.Append) {
	s := w.store
	st := r.staged
	if st == nil || st.head.applied.Index != a.Snapshot.GetMetadata().GetIndex() {
		s.broken("install a snapshot of "+r.id.String(), errors.New("raft took a snapshot that was not staged"))
		return
	}
	r.staged = nil
	r.held = true
	r.withdraw()
	r.desc.Store(nil)
	if a.StateChanged {
		r.hard = engine.HardState{Term: a.Term, Vote: a.Vote}
	}
	r.hard.Commit = st.head.applied.Index
	rs := engine.ReplicaState{Shard: r.id, Replica: r.self, Desc: st.head.desc, Hard: r.hard, Applied: st.head.applied,
		LastIndex: st.head.applied.Index, LastTerm: st.head.applied.Term}
	in := engine.Install{State: rs}
	if r.born() {
		in.OldRange = &r.machine.Desc.Range
	}
	w.out.flush(s)
	w.commitLogs()
	gen := r.gen
	s.goTask("install", func() {
		err := st.sink.Install(in)
		st.sink.Discard()
		w.task(func() {
			if err != nil {
				s.broken("install a snapshot of "+r.id.String(), err)
			} else if gen == r.gen {
				w.installed(r, rs, a)
			}
			st.done(err)
		})
	})
}

// installed makes the new state known, then does what the rest of the append asked for.
func (w *worker) installed(r *replica, rs engine.ReplicaState, a *group.Append) {
	s := w.store
	r.log.Reset(rs)
	r.machine.Desc, r.machine.Applied = rs.Desc, rs.Applied
	r.applied.Store(rs.Applied.Index)
	r.time.Store(uint64(rs.Applied.Time))
	r.outcomes = outcomes{}
	r.logBytes = 0
	r.held = false
	s.setDescriptor(r, rs.Desc)
	s.metrics.snapshotsInstalled.Add(1)
	s.logger.Info("snapshot installed", "shard", r.id, "index", rs.Applied.Index, "range", rs.Desc.Range)
	rest := *a
	rest.Snapshot = nil
	rest.StateChanged = false // term and vote went with the install
	w.appendEntries(r, &rest)
	w.commitLogs()
	r.mark()
}
