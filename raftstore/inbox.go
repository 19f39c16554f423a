package raftstore

import (
	"context"
	"slices"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Bounds of an inbox. A worker that waits for its disk takes nothing out, so without them a hung disk would fill the
// memory. What does not fit is refused (calls) or lost (messages), which both sides of the network are ready for. Bytes are
// bounded by the store's budget: those of calls before they come here (hold), those of frames in postMessages.
const (
	maxInboxCalls    = 64 << 10
	maxInboxMessages = 256 << 10
	maxInboxControls = 64 << 10
)

// inbox is everything that waits for a worker. One lock is taken per incoming frame, not per message, and the worker
// takes the whole content at once.
type inbox struct {
	mu    sync.Mutex
	in    input
	spare input // the worker's last input, emptied: two buffers take turns
	// over says that the worker has ended, and why: nothing is taken any more.
	over error
	// waiters are the callers of worker.call, in the order in which they came: whoever ends them does so in an order that
	// replays.
	waiters []*waiter
}

// input is what one pass of a worker works on.
type input struct {
	messages []message
	calls    []Call
	locals   []local
	tasks    []func()
	tick     bool

	frameBytes int64 // taken from the budget, until the pass is over
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

	bound  []group.Bound // our proposals in the batch
	synced env.Time      // when it was
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
	const keep = 4096
	if cap(in.messages) > keep || cap(in.calls) > keep || cap(in.tasks) > keep {
		*in = input{}
	}
}

// post hands input to the worker from any goroutine; f reports what it could not add. Once the worker has ended, nobody
// looks at what is posted.
func (w *worker) post(f func(in *input)) {
	w.inbox.mu.Lock()
	over := w.inbox.over != nil
	if !over {
		f(&w.inbox.in)
	}
	w.inbox.mu.Unlock()
	if !over {
		w.wake.Wake()
	}
}

// postCalls hands calls to the worker. After an error they are still the caller's, and nothing happened.
func (w *worker) postCalls(lot []Call) error {
	w.inbox.mu.Lock()
	in := &w.inbox.in
	err := w.inbox.over
	if err == nil && len(in.calls) > 0 && len(in.calls)+len(lot) > maxInboxCalls {
		err = &shard.ServerBusyError{Store: w.store.id, Why: "too many requests wait for a worker", Wait: busyWait}
	}
	if err == nil {
		in.calls = append(in.calls, lot...)
	}
	w.inbox.mu.Unlock()
	if err == nil {
		w.wake.Wake()
	}
	return err
}

// again gives one call back to its worker, from a goroutine that could not answer it.
func (w *worker) again(c Call) {
	c.spent.enter(call.StageQueue, w.store.env.Now())
	if err := w.postCalls([]Call{c}); err != nil {
		c.fail(err)
	}
}

// postMessages hands the messages of one frame to the worker, and returns how many were lost.
//
// INVARIANT: what brings no entries is not refused for want of memory. Acknowledgements, votes and heartbeats alias next to
// nothing of the frame, and others give memory back when they are heard.
func (w *worker) postMessages(lot []message, frameBytes int) (lost int) {
	all, bytes := len(lot), int64(frameBytes)
	memory := w.store.memory
	if !memory.Take(budget.Inbound, bytes) {
		bytes = 0
		lot = slices.DeleteFunc(lot, func(m message) bool { return len(m.msg.GetEntries()) > 0 })
	}
	w.inbox.mu.Lock()
	in := &w.inbox.in
	if w.inbox.over != nil || len(in.messages) > maxInboxMessages {
		lot = nil
	}
	if len(lot) > 0 {
		in.messages = append(in.messages, lot...)
		in.frameBytes += bytes
	}
	w.inbox.mu.Unlock()
	if len(lot) > 0 {
		w.wake.Wake()
	} else {
		memory.Give(budget.Inbound, bytes)
	}
	return all - len(lot)
}

// task runs f on the worker, in a later pass, or never if the worker ends first: nobody may depend on it to be answered.
func (w *worker) task(f func()) { w.post(func(in *input) { in.tasks = append(in.tasks, f) }) }

func (w *worker) take() *input {
	w.inbox.mu.Lock()
	defer w.inbox.mu.Unlock()
	w.inbox.spare.reset()
	w.inbox.in, w.inbox.spare = w.inbox.spare, w.inbox.in
	return &w.inbox.spare
}

// close ends the inbox and everyone who waits in worker.call. The first reason stands.
func (b *inbox) close(err error) {
	b.mu.Lock()
	if b.over == nil {
		b.over = err
	}
	waiters := b.waiters
	b.waiters = nil
	b.mu.Unlock()
	for _, c := range waiters {
		c.done(err)
	}
}

// waiter is a caller of worker.call.
type waiter struct {
	ev   env.Event
	mu   sync.Mutex
	over bool
	err  error
}

// done ends the wait; the first word counts.
func (c *waiter) done(err error) {
	c.mu.Lock()
	first := !c.over
	if first {
		c.over, c.err = true, err
	}
	c.mu.Unlock()
	if first {
		c.ev.Wake()
	}
}

func (c *waiter) result() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// call runs f on the worker and waits until it calls done, which it may do in a later pass. It also returns when ctx is
// done or the worker ends; then f may or may not have run.
func (w *worker) call(ctx context.Context, f func(done func(error))) error {
	c := &waiter{ev: w.store.env.NewEvent("call")}
	b := &w.inbox
	b.mu.Lock()
	if b.over != nil {
		defer b.mu.Unlock()
		return b.over
	}
	b.waiters = append(b.waiters, c)
	b.in.tasks = append(b.in.tasks, func() { f(c.done) })
	b.mu.Unlock()
	w.wake.Wake()
	err := c.ev.Wait(ctx, 0)
	b.mu.Lock()
	b.waiters = slices.DeleteFunc(b.waiters, func(o *waiter) bool { return o == c })
	b.mu.Unlock()
	if err != nil {
		return shard.ErrUnavailable
	}
	return c.result()
}
