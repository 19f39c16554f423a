package raftstore

import (
	"context"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// inbox is everything that waits for a worker. One lock is taken per incoming frame, not per message, and the worker
// takes the whole content at once.
type inbox struct {
	mu    sync.Mutex
	in    input
	spare input // the worker's last input, emptied: two buffers take turns
}

// input is what one pass of a worker works on.
type input struct {
	messages []message
	calls    []Call
	locals   []local
	tasks    []func()
	tick     bool
}

// message is a raft message from another store.
type message struct {
	id   shard.ID
	from shard.StoreID
	msg  *raftpb.Message
}

// local is a response that a synced log batch promised to a replica of this store.
type local struct {
	r    *replica
	gen  uint64
	msgs []*raftpb.Message
}

func (in *input) empty() bool {
	return len(in.messages) == 0 && len(in.calls) == 0 && len(in.locals) == 0 && len(in.tasks) == 0 && !in.tick
}

func (in *input) reset() {
	clear(in.messages)
	clear(in.calls)
	clear(in.locals)
	clear(in.tasks)
	*in = input{messages: in.messages[:0], calls: in.calls[:0], locals: in.locals[:0], tasks: in.tasks[:0]}
}

// worker drives the groups of the shards that fall to it by id. It is the only one to touch them, which takes the
// place of a lock per replica.
type worker struct {
	store *Store
	index int
	wake  env.Event
	inbox inbox

	replicas   map[shard.ID]*replica
	awake      []*replica // those that get ticks
	dirty      []*replica // those with something to do in this pass
	now        env.Time   // read once per pass
	views      uint64     // for newViewGen
	unreported []*replica // for the next report to placement

	// of the pass
	out     outbox
	logs    *engine.LogBatch
	synced  []afterSync
	states  *engine.StateBatch
	applied []appliedBy

	// outstanding is the number of log batches that the sync loop holds for this worker; guarded by store.sync.mu.
	outstanding int
}

// post hands input to the worker from any goroutine.
func (w *worker) post(f func(in *input)) {
	w.inbox.mu.Lock()
	f(&w.inbox.in)
	w.inbox.mu.Unlock()
	w.wake.Wake()
}

// task runs f on the worker, in a later pass.
func (w *worker) task(f func()) { w.post(func(in *input) { in.tasks = append(in.tasks, f) }) }

func (w *worker) take() *input {
	w.inbox.mu.Lock()
	defer w.inbox.mu.Unlock()
	w.inbox.spare.reset()
	w.inbox.in, w.inbox.spare = w.inbox.spare, w.inbox.in
	return &w.inbox.spare
}

// run is the worker's goroutine: it ends when the store closes.
func (w *worker) run(ctx context.Context) {
	for {
		for w.store.sync.full(w) || !w.runOnce() {
			if w.wake.Wait(ctx, 0) != nil {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
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
	if in.empty() || w.store.stopped() {
		return false
	}
	w.now = w.store.env.Now()
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
	return true
}

// pass drains the dirty replicas until none is left.
func (w *worker) pass() {
	for len(w.dirty) > 0 && !w.store.stopped() {
		// A replica may be marked again while it is drained: it joins the next round.
		dirty := w.dirty
		w.dirty = nil
		for _, r := range dirty {
			r.dirty = false
			w.drain(r)
		}
		w.out.flush(w.store)
		w.commitLogs()
		w.commitStates()
	}
}

// drain takes everything out of a group that it has to say.
func (w *worker) drain(r *replica) {
	if r.held {
		return // marked again when the install or destruction is done
	}
	r.proposeWaiting()
	r.startRound()
	for {
		eff, ok := r.group.Ready()
		if !ok {
			break
		}
		w.handle(r, &eff)
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
	for _, m := range l.msgs {
		if err := l.r.group.Deliver(m); err != nil {
			w.store.logger.Debug("local response refused", "shard", l.r.id, "err", err)
		}
	}
	l.r.mark()
}

// step gives a message of another store to its replica.
func (w *worker) step(m message) {
	r := w.replicas[m.id]
	if r == nil {
		if r = w.birth(m); r == nil {
			return
		}
	}
	if shard.ReplicaID(m.msg.GetTo()) != r.self {
		w.misdirected(r, m)
		return
	}
	r.wakeUp(wakeMessage)
	if !r.born() {
		r.learnPeer(shard.ReplicaID(m.msg.GetFrom()), m.from)
	}
	if err := r.group.Step(m.msg, group.Instant(w.now)); err != nil {
		w.store.metrics.droppedMessages.Add(1)
		return
	}
	r.mark()
}

// tick lets an interval pass for every replica that is awake.
func (w *worker) tick() {
	// Replicas may fall asleep below, which moves the last one into their place.
	for i := 0; i < len(w.awake); {
		r := w.awake[i]
		if !r.held && r.group.Tick(group.Instant(w.now)) {
			r.mark()
		}
		r.onTick()
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

// rouse puts a replica on the list of those that get ticks.
func (w *worker) rouse(r *replica) {
	if r.awakeAt < 0 {
		r.awakeAt = len(w.awake)
		w.awake = append(w.awake, r)
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
	r.awakeAt = -1
}

// call runs f on the worker and waits until it calls done, which it may do in a later pass.
func (w *worker) call(ctx context.Context, f func(done func(error))) error {
	ev := w.store.env.NewEvent("call")
	var mu sync.Mutex
	var result error
	w.task(func() {
		f(func(err error) {
			mu.Lock()
			result = err
			mu.Unlock()
			ev.Wake()
		})
	})
	if err := ev.Wait(ctx, 0); err != nil {
		return shard.ErrUnavailable
	}
	mu.Lock()
	defer mu.Unlock()
	return result
}

// failAll answers everyone who still waits. Called when the worker's goroutine has ended.
func (w *worker) failAll(err error) {
	in := w.take()
	for i := range in.calls {
		in.calls[i].fail(err)
	}
	for _, r := range w.replicas {
		waiting := r.waiting
		r.waiting = nil
		for i := range waiting {
			r.fail(&waiting[i], err)
		}
		r.abandon()
		r.failReads(err)
		for _, t := range r.follower.told {
			for i := range t.calls {
				t.calls[i].fail(err)
			}
		}
		r.withdraw()
	}
}
