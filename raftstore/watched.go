package raftstore

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// A replica that is watched (docs/transactions.md, Watching) remembers its latest changes, and keeps questions that find
// nothing for a moment. One that is not watched has a nil pointer.

// Bounds of what is remembered, and for how long after the last question.
const (
	maxRecent      = 16 << 10 // changes of a shard
	maxRecentBytes = 2 << 20  // of keys, of a shard
	recentKeptFor  = 20 * time.Second
	// maxParkedWatches bounds the questions that a shard keeps.
	maxParkedWatches = 1024
)

// watched is the memory of one replica's latest changes. The worker feeds it, readers ask it.
type watched struct {
	store *Store
	asked atomic.Int64 // env.Time of the last question

	mu      sync.Mutex // leaf
	ring    *mvcc.Ring
	counted int    // of the store's bytes, for this ring
	seq     uint64 // counts changes
	// arrived are the keys of the latest changes in the order in which they came, a ring: the n-th is at n % len.
	arrived [256]shard.Key
	parked  []parkedWatch
	ended   bool // INVARIANT: nothing is parked from here on

	// --- the worker's own

	fetching bool   // a timestamp from which on the ring is complete
	woken    uint64 // seq as of when the parked were looked at
}

// parkedWatch is a question whose answer, which is final, waits for something to change after it.
type parkedWatch struct {
	call  Call
	rep   call.Reply
	part  shard.Range
	until env.Time
}

// watch is the memory of r's changes; it begins one if there is none, for the next question.
func (r *replica) watch() *watched {
	wd := r.watched.Load()
	if wd == nil {
		r.w.task(r.beginWatch)
		return nil
	}
	wd.asked.Store(int64(r.w.store.env.Now()))
	if !wd.completed() {
		r.w.task(func() { r.completeWatch(wd) })
	}
	return wd
}

// beginWatch begins to remember. From here on every change that is applied is in the ring.
func (r *replica) beginWatch() {
	if r.watched.Load() != nil || !r.born() || r.held || r.gen == 0 {
		return
	}
	wd := &watched{store: r.w.store, ring: mvcc.NewRing(maxRecent, maxRecentBytes)}
	wd.asked.Store(int64(r.w.now))
	r.machine.Changed = wd.add
	r.watched.Store(wd)
	r.completeWatch(wd)
}

// completeWatch fetches a timestamp that says from when on the ring is complete.
//
// INVARIANT: it is issued after the ring began, and so lies above everything that was applied before (see mvcc.Ring).
func (r *replica) completeWatch(wd *watched) {
	s := r.w.store
	if wd.fetching || r.watched.Load() != wd || wd.completed() || s.opt.Timestamps == nil {
		return
	}
	wd.fetching = true
	s.stamps.fetch(func(ts uint64, err error) {
		r.w.task(func() {
			wd.fetching = false
			if err == nil {
				wd.mu.Lock()
				wd.ring.Complete(mvcc.Timestamp(ts))
				wd.mu.Unlock()
			}
		})
	})
}

// endWatch forgets the changes of r, and answers who waits for the next one. Whatever leaves out entries of the log, as a
// snapshot does, ends it first.
func (r *replica) endWatch() {
	wd := r.watched.Swap(nil)
	if wd == nil {
		return
	}
	r.machine.Changed = nil
	wd.mu.Lock()
	parked := wd.parked
	wd.parked, wd.ended = nil, true
	wd.ring = mvcc.NewRing(0, 0)
	wd.countLocked()
	wd.mu.Unlock()
	for i := range parked {
		parked[i].call.answer(&parked[i].rep)
	}
}

// expireWatch answers questions that were kept for long enough, and ends what nobody asks for any more.
func (r *replica) expireWatch() {
	wd := r.watched.Load()
	if wd == nil {
		return
	}
	if r.w.now.Sub(env.Time(wd.asked.Load())) > recentKeptFor {
		r.endWatch()
		return
	}
	wd.release(func(p *parkedWatch) bool { return p.until <= r.w.now })
}

// watchIdle reports whether nobody watches now: a shard that is watched stays awake, because one that sleeps remembers nothing,
// and has no ticks that end the questions it keeps.
func (r *replica) watchIdle() bool {
	wd := r.watched.Load()
	return wd == nil || r.w.now.Sub(env.Time(wd.asked.Load())) > 2*mvcc.MaxWaitMillis*time.Millisecond
}

// wakeWatch answers the questions about ranges in which something changed. Its effect is visible.
func (r *replica) wakeWatch() {
	wd := r.watched.Load()
	if wd == nil {
		return
	}
	since := wd.woken
	if wd.woken = wd.changes(); since != wd.woken {
		wd.release(func(p *parkedWatch) bool { return wd.changedLocked(since, p.part) })
	}
}

// release answers the questions that f chooses.
func (wd *watched) release(f func(p *parkedWatch) bool) {
	var out []parkedWatch
	wd.mu.Lock()
	wd.parked = slices.DeleteFunc(wd.parked, func(p parkedWatch) bool {
		over := f(&p)
		if over {
			out = append(out, p)
		}
		return over
	})
	wd.mu.Unlock()
	for i := range out {
		out[i].call.answer(&out[i].rep)
	}
}

// park keeps a question, and reports whether it does: not if something has changed since it was answered.
func (wd *watched) park(p parkedWatch, seen uint64) bool {
	wd.mu.Lock()
	defer wd.mu.Unlock()
	if wd.ended || len(wd.parked) >= maxParkedWatches || wd.changedLocked(seen, p.part) {
		return false
	}
	wd.parked = append(wd.parked, p)
	return true
}

// add takes a change in: on the worker, before it is visible.
func (wd *watched) add(k shard.Key, ts mvcc.Timestamp) {
	wd.mu.Lock()
	defer wd.mu.Unlock()
	wd.ring.Add(k, ts)
	wd.arrived[wd.seq%uint64(len(wd.arrived))] = k.Clone()
	wd.seq++
	for wd.countLocked(); wd.store.memory.Used(budget.Changes) > wd.store.memory.Share(budget.Changes) && wd.ring.Drop(); {
		wd.countLocked()
	}
}

// countLocked tells the store how much memory the ring takes.
func (wd *watched) countLocked() {
	n := wd.ring.Bytes()
	wd.store.memory.Add(budget.Changes, int64(n-wd.counted))
	wd.counted = n
}

func (wd *watched) completed() bool {
	wd.mu.Lock()
	defer wd.mu.Unlock()
	return wd.ring.Completed()
}

func (wd *watched) changes() uint64 {
	wd.mu.Lock()
	defer wd.mu.Unlock()
	return wd.seq
}

// changedLocked reports whether something in part changed after the first seen changes; true if that is not known any more.
func (wd *watched) changedLocked(seen uint64, part shard.Range) bool {
	if wd.seq-seen > uint64(len(wd.arrived)) {
		return true
	}
	for n := seen; n < wd.seq; n++ {
		if part.Contains(wd.arrived[n%uint64(len(wd.arrived))]) {
			return true
		}
	}
	return false
}

// Since implements mvcc.Recent.
func (wd *watched) Since(after mvcc.Change, part shard.Range, upTo mvcc.Timestamp, limit int) ([]mvcc.Change, bool, bool) {
	wd.mu.Lock()
	defer wd.mu.Unlock()
	return wd.ring.Since(after, part, upTo, limit)
}

// evaluateChanges answers a Changes from what is remembered, or else from all versions. Of one that found nothing and may
// wait, c is told so.
//
// INVARIANT: the memory is looked up after the view was opened: what is visible in the view was added before.
func (s *Store) evaluateChanges(r *replica, c *Call, desc *shard.Descriptor) ([]byte, error) {
	q := c.txn.query
	c.watch = nil
	wd := r.watch()
	var seen uint64
	var recent mvcc.Recent
	if wd != nil {
		seen, recent = wd.changes(), wd
	}
	rd := s.engine.NewReader()
	defer rd.Close()
	a, _, err := rd.Applied(r.id)
	if err != nil {
		return nil, err
	}
	ans, remembered, err := q.ChangesFrom(rd.Txn(), desc.Range, apply.TxnState(a), recent)
	if err != nil {
		return nil, err
	}
	if remembered {
		s.metrics.watchRecent.Add(1)
	} else {
		s.metrics.watchScans.Add(1)
	}
	if wd != nil && q.WaitMillis > 0 && ans.Rejected == nil && len(ans.Rows) == 0 && !ans.More {
		c.watch = &watchWait{wd: wd, seen: seen, part: ans.Range, until: s.env.Now().Add(time.Duration(q.WaitMillis) * time.Millisecond)}
	}
	return r.countedTxn(q, &ans), nil
}

// watchWait is what a Call that found no change may wait by.
type watchWait struct {
	wd    *watched
	seen  uint64 // changes before the view was opened
	part  shard.Range
	until env.Time
}

// replyOrPark answers a read, or keeps the answer for a moment.
func replyOrPark(c *Call, rep *call.Reply) {
	if wt := c.watch; wt == nil || !wt.wd.park(parkedWatch{call: *c, rep: *rep, part: wt.part, until: wt.until}, wt.seen) {
		c.answer(rep)
	}
}
