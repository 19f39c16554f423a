package raftstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// worker drives the groups of the shards that fall to it by id. It is the only one to touch them, which takes the
// place of a lock per replica.
type worker struct {
	store *Store
	index int
	wake  env.Event
	inbox inbox

	replicas   map[shard.ID]*replica
	front      front       // of those
	awake      []*replica  // those that get ticks
	ticking    atomic.Bool // awake is not empty; for the ticker
	leaders    int         // how many of the replicas lead
	maxID      uint64      // the largest id of a shard or replica ever seen here
	dirty      []*replica  // those with something to do in this pass
	drained    []*replica  // room for them
	now        env.Time    // read once per pass
	seen       env.Time    // the latest reading in the pass: now, or when a state batch had become visible
	views      uint64      // for newViewGen
	unreported []*replica  // for the next report to placement
	rated      []*replica  // whose rates are for the next report

	// of the pass
	out    outbox
	untold []untold // by since
	lots   lots
	logs   *engine.LogBatch
	synced []afterSync
	// syncedLast is how many promises the pass before made.
	syncedLast int
	states     *engine.StateBatch
	applied    []*appliedBy
	scratch    apply.Scratch
	// dying are the shards whose replica here is being destroyed: none is born until its tombstone is synced and its
	// data is gone.
	dying map[shard.ID]*burial
	// frozen are the shards of which a replica is about to be born by a split; early counts the kept messages of others.
	frozen map[shard.ID]*frozen
	early  int
	// children are shards born beside their left's leader here that have no leader yet, for the reports to placement.
	children []child
	// ticked is when onTick last ran: the ticker comes more often than a tick, see runTicker.
	ticked env.Time
	// lookedAt is when the rates of shards were last looked at.
	lookedAt env.Time
	// writing is when the batch was begun that the worker is now handing to the engine, as an env.Time; 0 if it is not.
	// Read by watchDisk: a disk that hangs can hold a worker there, before the sync loop ever hears of the batch.
	writing atomic.Int64

	// outstanding is the number of log batches that the sync loop holds for this worker; guarded by store.sync.mu.
	outstanding int
}

// run is the worker's goroutine: it ends when the store closes or breaks, and then answers everyone who waits.
func (w *worker) run(ctx context.Context) {
	for !w.store.stopped() {
		again := time.Duration(0)
		if !w.store.sync.full(w) {
			if w.runOnce() {
				continue
			}
			again = w.untilDue()
		}
		if w.store.stopped() {
			break
		}
		if err := w.wake.Wait(ctx, again); err != nil && !errors.Is(err, env.ErrTimeout) {
			break
		}
		w.store.env.Yield() // streams that have more for this pass
	}
	w.stop(w.store.stoppedErr())
}

// runOnce makes one pass over what has come in, and reports whether there was anything.
//
//	step every message, accept every call          memory only
//	for each dirty shard: one entry of all its waiting commands; Ready until there is none
//	send the frames                                 before our own fsync (thesis section 10.2.1)
//	one log append of all shards  -> sync loop      responses wait for it
//	one state batch of all shards, not synced       then the clients' replies
//	again while applying made more to do
func (w *worker) runOnce() bool {
	in := w.take()
	now := w.store.env.Now()
	if in.empty() && w.untoldFor(now) < maxUntold && !w.lotsDue(now) {
		return false
	}
	w.now = now
	w.seen = w.now
	for i := range in.locals {
		w.deliver(&in.locals[i])
	}
	for i := range in.messages {
		w.step(in.messages[i])
	}
	for i := range in.calls {
		w.accept(&in.calls[i])
	}
	for _, f := range in.tasks {
		f()
	}
	if in.tick {
		w.tick()
	}
	w.pass()
	w.store.memory.Give(budget.Inbound, in.frameBytes)
	in.frameBytes = 0
	return true
}

// untilDue is when the worker must run again, whatever comes: 0 for never.
func (w *worker) untilDue() time.Duration {
	told, lots := w.untilTold(), w.untilLots()
	if told == 0 || lots == 0 {
		return max(told, lots)
	}
	return min(told, lots)
}

// pass drains the dirty replicas until none is left, and then applies what followers have kept for long enough.
func (w *worker) pass() {
	w.tellDue()
	w.drainAll()
	if w.lotsDue(w.now) {
		w.endLots()
		w.drainAll()
	}
	w.out.flush(w.store) // what was told beside them
}

func (w *worker) drainAll() {
	for len(w.dirty) > 0 && !w.store.stopped() {
		// A replica may be marked again while it is drained: it joins the next round.
		dirty := w.dirty
		w.dirty, w.drained = w.drained[:0], nil
		for i, r := range dirty {
			dirty[i] = nil
			r.dirty = false
			w.drain(r)
			if w.staged() > maxPassBytes {
				w.commit()
			}
		}
		w.commit()
		w.drained = dirty
	}
}

// commit ends a round: what there is to send leaves before our own disk is asked for anything.
func (w *worker) commit() {
	w.out.flush(w.store)
	w.commitLogs()
	w.commitStates()
}

// staged is how many bytes the round's batches hold.
func (w *worker) staged() int {
	n := 0
	if w.logs != nil {
		n += w.logs.Bytes()
	}
	if w.states != nil {
		n += w.states.Bytes()
	}
	return n
}

// drain takes everything out of a group that it has to say.
func (w *worker) drain(r *replica) {
	if r.held {
		return // marked again when the install or destruction is done
	}
	r.proposeWaiting()
	r.startRound()
	for {
		muted := r.group.Muted()
		eff, ok := r.group.Ready()
		if !ok {
			break
		}
		w.handle(r, &eff)
		if muted && r.canServe() {
			r.tellPlacement() // it was confirmed after all, and what was reported meanwhile left it out
		}
		if r.held {
			break
		}
	}
}

// deliver steps the responses of a synced append.
func (w *worker) deliver(l *local) {
	if l.gen != l.r.gen {
		return
	}
	for _, b := range l.bound {
		p := b.Token.(*proposal)
		p.synced, p.heard = l.synced, w.now
	}
	for _, m := range l.msgs {
		if err := l.r.group.Deliver(m); err != nil {
			w.store.logger.Debug("local response refused", "shard", l.r.id, "err", err)
		}
	}
	l.r.mark()
}

// step gives a message of another store to its replica.
func (w *worker) step(m message) {
	if f := w.frozen[m.id]; f != nil {
		f.keep(m)
		return
	}
	r := w.replica(m.id)
	if r == nil {
		if r = w.birth(m); r == nil {
			return
		}
	}
	if shard.ReplicaID(m.msg.GetTo()) != r.self {
		w.misdirected(r, m)
		return
	}
	if m.msg.GetType() == raftpb.MsgSnap {
		// INVARIANT (rule 17): raft sees a MsgSnap only after its data is staged, see stepSnapshot. In a frame it comes
		// without data, from a store that does not know better.
		w.store.metrics.droppedMessages.Add(1)
		return
	}
	if w.dropsGrowth(m.msg) {
		w.store.metrics.droppedMessages.Add(1)
		return
	}
	r.wakeUp(wakeMessage)
	r.learnPeer(shard.ReplicaID(m.msg.GetFrom()), m.from)
	if !r.born() && w.keepEarly(r, m) {
		return
	}
	if err := r.group.Step(m.msg, group.Instant(w.now)); err != nil {
		w.store.metrics.droppedMessages.Add(1)
		return
	}
	if !r.born() {
		r.keepVote(m)
	}
	r.observeHeard(m.msg)
	r.mark()
}

// tick lets an interval pass for every replica that is awake.
func (w *worker) tick() {
	due := w.now.Sub(w.ticked) >= w.store.opt.Tick
	if due {
		w.ticked = w.now
	}
	seconds := 0.0
	if since := w.now.Sub(w.lookedAt); since >= loadTicks*w.store.opt.Tick {
		seconds, w.lookedAt = since.Seconds(), w.now
	}
	// Replicas may fall asleep below, which moves the last one into their place.
	for i := 0; i < len(w.awake); {
		r := w.awake[i]
		if !r.held && r.group.Tick(group.Instant(w.now)) {
			r.mark()
		}
		if due {
			r.onTick()
		}
		if seconds > 0 && r.canServe() {
			r.lookAtLoad(seconds)
		}
		if i < len(w.awake) && w.awake[i] == r {
			i++
		}
	}
}

// newViewGen is unique among the views of the store.
func (w *worker) newViewGen() uint64 {
	w.views++
	return w.views<<8 | uint64(w.index)
}

// replica finds the replica of a shard that this worker drives; nil if there is none.
func (w *worker) replica(id shard.ID) *replica {
	if r := w.front.find(id); r != nil {
		return r
	}
	return w.replicas[id]
}

// rouse puts a replica on the list of those that get ticks.
func (w *worker) rouse(r *replica) {
	if r.awakeAt < 0 && r.turn(lifeWake) {
		r.awakeAt = len(w.awake)
		if w.replicas[r.id] == r {
			w.front.put(r)
			w.store.front.put(r)
		}
		w.awake = append(w.awake, r)
		if !w.ticking.Swap(true) {
			w.store.roused.Wake()
		}
	}
}

// rest takes it off the list.
func (w *worker) rest(r *replica) {
	if r.awakeAt < 0 {
		return
	}
	last := w.awake[len(w.awake)-1]
	w.awake[r.awakeAt], last.awakeAt = last, r.awakeAt
	w.awake[len(w.awake)-1] = nil
	w.awake = w.awake[:len(w.awake)-1]
	w.ticking.Store(len(w.awake) > 0)
	r.awakeAt = -1
}

// stop answers everyone who still waits, and from now on everyone who comes. It is the last thing that the worker's
// goroutine does; Close calls it once more, for what came back from goroutines that ended later.
//
// INVARIANT: every Call is completed exactly once, on every path. A call is in exactly one place at any time (inbox,
// waiting, proposal, replies of this pass, seekers, reads, a round, confirmed, clockWaiters, one of the guard's two, a lockQueue,
// one of follower's three, watched.parked, a readJob),
// who takes it out moves it or answers it, and here the places are emptied.
func (w *worker) stop(err error) {
	w.inbox.close(err)
	in := w.take()
	for i := range in.calls {
		in.calls[i].fail(err)
	}
	w.store.memory.Give(budget.Inbound, in.frameBytes)
	in.reset()
	for _, by := range w.applied {
		by.abandon(errAbandoned)
	}
	w.applied = nil
	for _, id := range slices.Sorted(maps.Keys(w.replicas)) {
		r := w.replicas[id]
		r.withdraw()
		r.failAll(err)
	}
}

// failAll answers everyone who waits for a replica that ends here. Entries in the log may yet be committed by others:
// err says nothing about those.
func (r *replica) failAll(err error) {
	waiting := r.waiting
	r.waiting = nil
	for i := range waiting {
		r.fail(&waiting[i], err)
	}
	r.abandon()
	r.endSeek(err)
	r.endGuard(err)
	r.endLockWaits(err)
	r.failReads(err)
	r.failFollower(err)
	r.endWatch()
	r.forgetWritten()
	if st := r.staged; st != nil {
		r.staged = nil
		st.refuse(err)
	}
}
