package raftstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
)

// afterSync is what one replica's append promised: it may be said only once the append is on disk.
type afterSync struct {
	r     *replica
	gen   uint64
	local []*raftpb.Message // to the replica itself, in raft's order
	send  []*raftpb.Message // to other stores, and vote requests of the candidate itself
	// durable is what is on disk then, for the observer; nil without one.
	durable *Durable
	bound   []group.Bound // our proposals among its entries
}

// syncItem is the log append of one pass of one worker. batch is nil if nothing was written: then the promises only
// keep their place behind earlier ones.
type syncItem struct {
	w        *worker
	batch    *engine.LogBatch
	promises []afterSync
	since    env.Time // when it was handed over, for rule 5
	bytes    int64    // of batch, taken from the budget
}

// syncLoop waits for log batches in the order in which they were committed and delivers what they promised.
//
// INVARIANT (rule 1): a response, and a vote request, leaves only after the batch that holds what it promises is
// synced. This loop is the only place that sends them.
type syncLoop struct {
	store *Store
	wake  env.Event

	mu     sync.Mutex
	queue  []syncItem
	oldest env.Time // since of the oldest item not yet synced; 0 if there is none
	last   env.Time // when a sync was last finished
	// took is how long a batch waits for its sync, about: an average of the last few, for the report to placement.
	took time.Duration
}

// submit queues an item. The batch is committed (visible) already.
func (l *syncLoop) submit(it syncItem) {
	l.mu.Lock()
	l.queue = append(l.queue, it)
	it.w.outstanding++
	if l.oldest == 0 || it.since < l.oldest {
		l.oldest = it.since // of several workers, the one that hands over later may have begun earlier
	}
	l.mu.Unlock()
	l.wake.Wake()
}

// full reports whether a worker has as many log batches waiting as it may.
func (l *syncLoop) full(w *worker) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return w.outstanding >= maxSyncsOutstanding
}

// stalledSince is the time since when the disk owes us a sync, 0 if it does not.
func (l *syncLoop) stalledSince() env.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.oldest
}

// finished is when a sync last ended.
func (l *syncLoop) finished() env.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// syncTime is how long a sync takes, about; one that is under way for longer counts.
func (l *syncLoop) syncTime(now env.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.oldest == 0 {
		return l.took
	}
	return max(l.took, now.Sub(l.oldest))
}

// tookParts is the weight of one sync in the average.
const tookParts = 8

// run is the sync loop's goroutine.
func (l *syncLoop) run(ctx context.Context) {
	for {
		for !l.drain() {
			if l.wake.Wait(ctx, 0) != nil {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// drain syncs everything that is queued and reports whether there was anything.
func (l *syncLoop) drain() bool {
	l.mu.Lock()
	items := l.queue
	l.queue = nil
	l.mu.Unlock()
	if len(items) == 0 {
		return false
	}
	var err error
	l.store.env.Call("sync log", func() { err = waitAll(items) })
	l.noteTook(items)
	if err != nil {
		l.store.broken("sync the log", err)
		return false
	}
	l.observe(items)
	l.deliver(items)
	return true
}

// noteTook averages how long the oldest batch of items waited for the disk. A sync may cover batches that were not yet queued
// when it began: how long the loop waited for those says nothing.
func (l *syncLoop) noteTook(items []syncItem) {
	i := slices.IndexFunc(items, func(it syncItem) bool { return it.batch != nil })
	if i < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took += (l.store.env.Now().Sub(items[i].since) - l.took) / tookParts
}

// waitAll waits for the batches in the order of their commits.
func waitAll(items []syncItem) error {
	for i := range items {
		if b := items[i].batch; b != nil {
			if err := b.Wait(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *syncLoop) observe(items []syncItem) {
	o := l.store.opt.Observer
	if o == nil {
		return
	}
	o.LogSynced(len(items))
	for i := range items {
		for _, p := range items[i].promises {
			if p.durable != nil {
				o.Durable(p.r.id, p.r.self, *p.durable)
			}
		}
	}
}

// deliver keeps the promises of synced items: one frame per store, one wake per worker.
func (l *syncLoop) deliver(items []syncItem) {
	var out outbox
	for i := range items {
		for j := range items[i].promises {
			for _, m := range items[i].promises[j].send {
				out.add(l.store, items[i].promises[j].r.id, m)
			}
		}
	}
	out.flush(l.store)

	now := l.store.env.Now()
	l.mu.Lock()
	l.last, l.oldest = now, 0
	for i := range l.queue {
		if l.oldest == 0 || l.queue[i].since < l.oldest {
			l.oldest = l.queue[i].since
		}
	}
	for i := range items {
		items[i].w.outstanding--
	}
	l.mu.Unlock()

	for i := range items {
		it := &items[i]
		l.store.memory.Give(budget.Batches, it.bytes)
		it.w.post(func(in *input) {
			for _, p := range it.promises {
				if len(p.local) > 0 {
					in.locals = append(in.locals, local{r: p.r, gen: p.gen, msgs: p.local, bound: p.bound, synced: now})
				}
			}
		})
	}
}

// abandon closes what is left after the goroutines have ended.
func (l *syncLoop) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, it := range l.queue {
		if it.batch != nil {
			_ = it.batch.Wait() // the engine is still open; nobody is told
		}
		l.store.memory.Give(budget.Batches, it.bytes)
	}
	l.queue = nil
}
