package raftstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/bug"
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
	queue     []*outgoing
	sending   int
	receiving int
	// free is when the rate limit lets the next chunk through.
	free env.Time
	// open are the receptions whose files are not yet installed or discarded.
	open []*reception
}

// outgoing is a snapshot on its way from here; one goroutine has it at a time.
type outgoing struct {
	r     *replica
	gen   uint64
	msg   *raftpb.Message
	state sendingState // see sendingTable
}

func newSnapshots(s *Store) *snapshots {
	return &snapshots{store: s}
}

// sendSnapshot queues what a MsgSnap asks for. Every MsgSnap ends in ReportSnapshot, or its follower would wait in
// StateSnapshot for ever.
func (s *Store) sendSnapshot(r *replica, m *raftpb.Message) {
	r.snapshots++
	if pin := m.GetSnapshot().GetMetadata().GetIndex(); r.snapshots == 1 || pin < r.minPinned {
		r.minPinned = pin
	}
	p := s.snapshots
	p.mu.Lock()
	p.queue = append(p.queue, &outgoing{r: r, gen: r.gen, msg: m})
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
	o.turn(sendingSlot)
	o.r.w.task(func() { p.begin(o) })
}

func (p *snapshots) begin(o *outgoing) {
	to, ok := p.store.storeOf(shard.ReplicaID(o.msg.GetTo()), o.r.id)
	if o.gen != o.r.gen || !o.r.group.Leading() || o.r.held || !ok {
		p.end(o, errors.New("not leading any more"))
		return
	}
	src, err := p.store.engine.NewSnapshotSource(o.r.machine.Desc, 0)
	if err != nil {
		p.store.broken("open a snapshot of "+o.r.id.String(), err)
		return
	}
	o.turn(sendingOpen)
	// The view may be newer than the metadata that raft was given when it asked.
	meta := src.Meta()
	o.msg.Snapshot.Metadata = &raftpb.SnapshotMetadata{
		ConfState: engine.ConfState(meta.Desc), Index: &meta.Applied.Index, Term: &meta.Applied.Term}
	header := snapshotHeader{from: p.store.id, shard: o.r.id, desc: meta.Desc, applied: meta.Applied, msg: o.msg}
	ok = p.store.goTask("snapshot", func() {
		start := p.store.env.Now()
		err := p.store.transport.SendSnapshot(p.store.ctx, to, header.append(nil), p.counted(src.Next, engine.DefaultChunkBytes))
		src.Close()
		p.store.logger.Info("snapshot sent", "shard", o.r.id, "to", to, "index", meta.Applied.Index,
			"took", p.store.env.Now().Sub(start), "err", err)
		o.r.w.task(func() { p.end(o, err) })
	})
	if !ok {
		src.Close() // closing: nobody waits for a report any more
	}
}

// counted is next while a chunk of it is in hand.
func (p *snapshots) counted(next func() ([]byte, error), bytes int64) func() ([]byte, error) {
	return func() ([]byte, error) {
		p.store.memory.Add(budget.Snapshots, bytes)
		defer p.store.memory.Give(budget.Snapshots, bytes)
		return next()
	}
}

// end runs on the shard's worker.
func (p *snapshots) end(o *outgoing, err error) {
	on := sendingDeliver
	if err != nil {
		on = sendingFail
	}
	o.turn(on)
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

// reception is a snapshot on its way to this disk. It ends exactly once: installed, or discarded.
type reception struct {
	store *Store
	head  *snapshotHeader

	// mu is held while the sink is written to, so that Close does not take the files away under a write.
	mu   sync.Mutex
	sink *engine.SnapshotSink // nil before the first chunk and after the end

	state receptionState // see receptionTable; guarded by snapshots.mu

	// over: it will not hold a placeholder (again). Guarded by Store.mu.
	over bool
}

// staged is a reception whose data is complete on this disk, on the shard's worker until raft takes it.
type staged struct {
	rec  *reception
	done func(error)
}

// refuse ends a staged snapshot that is not installed.
func (st *staged) refuse(err error) {
	st.rec.turn(receptionRefuse)
	st.rec.end()
	st.done(err)
}

// ReceiveSnapshot stages the chunks of a snapshot and installs it. It returns nil once that is done, or once raft has
// found that it does not need it. Slot, placeholder and files are given back on every way out.
func (s *Store) ReceiveSnapshot(ctx context.Context, header []byte, next func() ([]byte, error)) error {
	h, err := decodeSnapshotHeader(header)
	if err != nil {
		return fmt.Errorf("snapshot header: %w", err)
	}
	rec := &reception{store: s, head: h}
	if !s.snapshots.grant() {
		rec.turn(receptionRefuse)
		return &shard.ServerBusyError{Store: s.id, Why: "snapshot slots are taken", Wait: time.Second}
	}
	defer s.snapshots.release()
	rec.turn(receptionGrant)
	w := s.worker(h.shard)
	// The call may end before its turn comes: expectSnapshot then finds the reception over, and holds nothing.
	defer rec.unhold()
	if err := w.call(ctx, func(done func(error)) { done(w.expectSnapshot(rec)) }); err != nil {
		rec.end()
		return err
	}
	if err := rec.stage(ctx, next); err != nil {
		rec.end()
		return err
	}
	err = w.call(s.ctx, func(done func(error)) { w.stepSnapshot(&staged{rec: rec, done: done}) })
	if s.stopped() {
		return s.stoppedErr() // Close ends what the worker did not
	}
	return err
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

// close discards what is still being received. Called when the store's goroutines have ended.
func (p *snapshots) close() {
	p.mu.Lock()
	open := slices.Clone(p.open)
	p.mu.Unlock()
	for _, rec := range open {
		rec.discard()
	}
}

// expectSnapshot checks that a snapshot may come, and holds its range against other shards until it is installed.
func (w *worker) expectSnapshot(rec *reception) error {
	if err := w.holdRange(rec); err != nil {
		rec.turn(receptionRefuse)
		return err
	}
	rec.turn(receptionHold)
	return nil
}

func (w *worker) holdRange(rec *reception) error {
	s, h := w.store, rec.head
	if err := w.checkHeader(h); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.over {
		return shard.ErrUnavailable // nobody waits any more
	}
	if _, taken := s.placeholders[h.shard]; taken {
		return &shard.ServerBusyError{Store: s.id, Why: "another snapshot of this shard is being received", Wait: time.Second}
	}
	if other, overlap := s.overlapLocked(h.shard, h.desc.Range); overlap && !bug.SnapshotOverNeighbour.On() {
		return &shard.ServerBusyError{Store: s.id, Why: fmt.Sprintf("%s overlaps %s here", h.shard, other), Wait: time.Second}
	}
	s.placeholders[h.shard] = placeholder{Range: h.desc.Range, by: rec}
	return nil
}

// checkHeader holds a snapshot against the replica that is to take it: sent by a replica of the shard from where that
// replica is, to the one that is here.
func (w *worker) checkHeader(h *snapshotHeader) error {
	s := w.store
	if from, ok := h.desc.Replica(shard.ReplicaID(h.msg.GetFrom())); !ok || from.Store != h.from {
		return &shard.InvalidError{Why: fmt.Sprintf("snapshot of %s from %s, which has no such replica of it", h.shard, h.from)}
	}
	if self, ok := h.desc.ReplicaOn(s.id); !ok || uint64(self.ID) != h.msg.GetTo() {
		return &shard.InvalidError{Why: fmt.Sprintf("snapshot of %s names no replica here", h.shard)}
	}
	r := w.replicas[h.shard]
	if r == nil {
		return &shard.NotReadyError{Shard: h.shard, Why: "the replica is not born yet"}
	}
	if shard.ReplicaID(h.msg.GetTo()) != r.self {
		w.misdirected(r, message{id: h.shard, from: h.from, msg: h.msg})
		return &shard.NotFoundError{Shard: h.shard, Store: s.id}
	}
	if r.held {
		return &shard.ServerBusyError{Store: s.id, Why: "another snapshot of this shard is being installed", Wait: time.Second}
	}
	return w.refuseSnapshot(r)
}

// unhold gives up the placeholder if this reception has it, and keeps it from getting one.
func (rec *reception) unhold() {
	s := rec.store
	s.mu.Lock()
	rec.over = true
	if s.placeholders[rec.head.shard].by == rec {
		delete(s.placeholders, rec.head.shard)
	}
	s.mu.Unlock()
}

// end discards what is not installed. It may be called more than once. While the store is closing that is left to Close.
func (rec *reception) end() {
	if rec.store.enter() {
		defer rec.store.leave()
		rec.discard()
	}
}

func (rec *reception) discard() {
	rec.turn(receptionBreak)
	_ = rec.take(func(sink *engine.SnapshotSink) error { sink.Discard(); return nil })
}

// take ends the reception with f, unless it has ended.
func (rec *reception) take(f func(*engine.SnapshotSink) error) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	sink := rec.sink
	rec.sink = nil
	p := rec.store.snapshots
	p.mu.Lock()
	p.open = slices.DeleteFunc(p.open, func(o *reception) bool { return o == rec })
	p.mu.Unlock()
	if sink == nil {
		return errReceptionOver
	}
	return f(sink)
}

var errReceptionOver = errors.New("the snapshot was discarded meanwhile")

// begin makes the sink.
func (rec *reception) begin() error {
	s, h := rec.store, rec.head
	if !s.enter() {
		return s.stoppedErr()
	}
	defer s.leave()
	sink, err := s.engine.NewSnapshotSink(h.shard, fmt.Sprintf("%s-%d-%d", h.shard, h.applied.Term, h.applied.Index))
	if err != nil {
		return err
	}
	rec.mu.Lock()
	rec.sink = sink
	rec.mu.Unlock()
	s.snapshots.mu.Lock()
	s.snapshots.open = append(s.snapshots.open, rec)
	s.snapshots.mu.Unlock()
	return nil
}

// stage writes the chunks, not faster than the store's limit. It uses the engine chunk by chunk, so that a sender that
// says nothing does not keep the store from closing.
func (rec *reception) stage(ctx context.Context, next func() ([]byte, error)) error {
	if err := rec.begin(); err != nil {
		return err
	}
	s := rec.store
	for {
		chunk, err := next()
		if err != nil && err != io.EOF {
			return err
		}
		last := err == io.EOF
		if !last {
			if err := s.env.Sleep(ctx, s.snapshots.pace(len(chunk))); err != nil {
				return err
			}
		}
		s.memory.Add(budget.Snapshots, int64(len(chunk)))
		err = rec.write(chunk, last)
		s.memory.Give(budget.Snapshots, int64(len(chunk)))
		if err != nil || last {
			return err
		}
	}
}

// write takes one chunk in, or finishes the files after the last.
func (rec *reception) write(chunk []byte, last bool) error {
	if !rec.store.enter() {
		return rec.store.stoppedErr()
	}
	defer rec.store.leave()
	rec.mu.Lock()
	defer rec.mu.Unlock()
	switch {
	case rec.sink == nil:
		return errReceptionOver
	case last:
		err := rec.sink.Finish()
		if err == nil {
			rec.turn(receptionComplete)
		}
		return err
	}
	return rec.sink.Write(chunk)
}

// pace says how long a chunk must wait for the rate limit.
func (p *snapshots) pace(bytes int) time.Duration {
	rate := p.store.Bounds().SnapshotBytesPerSecond
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
// files are released here.
func (w *worker) stepSnapshot(st *staged) {
	h := st.rec.head
	r := w.replicas[h.shard]
	if r == nil || r.held || r.staged != nil || shard.ReplicaID(h.msg.GetTo()) != r.self {
		st.refuse(&shard.NotFoundError{Shard: h.shard, Store: w.store.id})
		return
	}
	if !st.rec.turn(receptionOffer) {
		st.rec.end()
		st.done(w.store.stoppedErr())
		return
	}
	r.wakeUp(wakeMessage)
	r.staged = st
	if err := r.group.Step(h.msg, group.Instant(w.now)); err != nil {
		w.store.logger.Debug("snapshot not wanted", "shard", r.id, "err", err)
	} else {
		r.observeHeard(h.msg)
	}
	w.drain(r)
	r.mark() // so that this pass sends and writes what came out
	if r.staged != nil {
		r.staged = nil
		st.refuse(nil) // obsolete: raft has what it holds, and says so to the leader
	}
}

// install takes a snapshot that raft has accepted into the engine, off the worker: the sync and the ingest take
// milliseconds that other shards need not wait.
//
// INVARIANT (rule 3): until it is done the replica is held: no Ready of it is taken, so nothing later of it is written
// or answered. Its earlier applies are done, because they run inline and their batch is committed here; raft hands out
// none beside a snapshot. INVARIANT (rule 11): its view is withdrawn first.
func (w *worker) install(r *replica, a *group.Append) {
	s := w.store
	st := r.staged
	if st == nil || st.rec.head.applied.Index != a.Snapshot.GetMetadata().GetIndex() {
		s.broken("install a snapshot of "+r.id.String(), errors.New("raft took a snapshot that was not staged"))
		return
	}
	if !r.turn(lifeAccept) || !st.rec.turn(receptionTake) {
		return
	}
	r.staged = nil
	r.held = true
	r.withdraw()
	r.endWatch()
	r.forgetWritten()
	r.desc.Store(nil)
	if a.StateChanged {
		r.hard = engine.HardState{Term: a.Term, Vote: a.Vote}
	}
	h := st.rec.head
	r.hard.Commit = h.applied.Index
	rs := engine.ReplicaState{Shard: r.id, Replica: r.self, Desc: h.desc, Hard: r.hard, Applied: h.applied,
		LastIndex: h.applied.Index, LastTerm: h.applied.Term}
	in := engine.Install{State: rs}
	if r.born() {
		in.OldRange = &r.machine.Desc.Range
	}
	w.out.flush(s)
	w.commitLogs()
	w.commitStates()
	gen := r.gen
	ok := s.goTask("install", func() {
		var err error
		s.env.Call("install snapshot", func() {
			err = st.rec.take(func(sink *engine.SnapshotSink) error {
				defer sink.Discard()
				return sink.Install(in)
			})
		})
		on := receptionInstall
		if err != nil {
			on = receptionBreak
		}
		st.rec.turn(on)
		w.task(func() {
			if err != nil {
				s.broken("install a snapshot of "+r.id.String(), err)
			} else if gen == r.gen {
				w.installed(r, rs, a)
			}
			st.done(err)
		})
	})
	if !ok {
		st.rec.end()
		st.done(s.stoppedErr())
	}
}

// installed makes the new state known, then does what the rest of the append asked for.
func (w *worker) installed(r *replica, rs engine.ReplicaState, a *group.Append) {
	s := w.store
	if !r.turn(lifeInstall) {
		return
	}
	r.log.Reset(rs)
	r.machine.Desc, r.machine.Applied = rs.Desc, rs.Applied
	if bug.SnapshotMissesTime.On() {
		r.machine.Applied.Time = shard.Millis(s.env.Wall().UnixMilli())
	}
	r.showTxn(r.machine.Applied)
	r.applied.Store(rs.Applied.Index)
	if o := s.opt.Observer; o != nil {
		o.Installed(r.id, r.self, Durable{Term: rs.Hard.Term, Vote: rs.Hard.Vote, Last: rs.LastIndex, Commit: rs.Hard.Commit}, rs.Applied.Term)
	}
	r.time.Store(uint64(rs.Applied.Time))
	r.outcomes = outcomes{from: rs.Applied.Index}
	r.logBytes = 0
	r.size = shardSize{queued: r.size.queued}
	r.dropEarly()
	r.held = false
	if !r.checkLife("after it is", lifeInstall) {
		return
	}
	s.setDescriptor(r, rs.Desc)
	r.noteLeader()
	r.noteExpiring()
	r.serveFollower()
	s.metrics.snapshotsInstalled.Add(1)
	s.logger.Info("snapshot installed", "shard", r.id, "index", rs.Applied.Index, "range", rs.Desc.Range)
	rest := *a
	rest.Snapshot = nil
	rest.StateChanged = false // term and vote went with the install
	w.appendEntries(r, &rest)
	w.commitLogs()
	r.mark()
}
