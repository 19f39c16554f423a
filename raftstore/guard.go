package raftstore

import (
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// guard is what a leader remembers so that a commit timestamp that a command computes lies above every read that did not
// see the command (rule T2 of the design). Percolator needs nothing of the kind, because there a timestamp is fetched
// after the locks are in place; one-phase and async commits, and Add, compute theirs at apply, from a floor that the
// leader writes into the command when it proposes it.
//
//	propose   floor = the next odd timestamp above maxRead; the command stands in the slots of its keys
//	read at r raise maxRead to r; look at the slots of the keys; one with a floor at or below r: wait for it to be empty
//
// Both happen under one mutex, so either the command sees the read and gets a floor above it, or the read sees the command
// and waits until its effect is visible. Only readers wait. (TiKV holds a lock in memory per key instead, from before the
// floor is computed until the entry is applied.)
//
// A guard belongs to one leadership, and none exists for a shard that sees no transaction. It is made at the first one,
// and forgotten with the leadership and when the shard falls asleep; its successor computes nothing before it heard a
// timestamp that is younger than all those reads (rule T4, see timestamp.go).
type guard struct {
	mu sync.Mutex // leaf; held for some comparisons

	// maxRead is the largest timestamp read at, or, once ready, fetched.
	maxRead mvcc.Timestamp
	// seq numbers the entries that hold floors, in the order of their proposals. open are those that are not finished:
	// applied and visible, or known to have no effect. All up to done are finished.
	seq, done uint64
	open      []uint64
	whole     slot
	stripes   *[guardStripes]slot // by hash of the key; nil until there was a floor

	// --- the worker's own

	ready    bool   // rule T4: a timestamp was fetched
	fetching bool   // it is being fetched
	parked   []Call // commands that wait for it
	parkedAt env.Time
	waiting  []guardWait
}

// guardStripes is how many slots tell keys apart: two keys of one make a reader wait for nothing, some milliseconds.
const guardStripes = 256

// slot says which unfinished entries concern a stripe, or the whole shard.
//
// INVARIANT: floor is the lowest of those entries'. With the newest's instead, a read between the two would pass an older
// command that commits below it (the two-floor schedule in docs/transactions.md).
type slot struct {
	newest uint64
	floor  mvcc.Timestamp
}

func (s *slot) enter(seq, done uint64, floor mvcc.Timestamp) {
	if s.newest <= done || bug.NewestFloor.On() {
		s.floor = floor // floors grow: the first of an empty slot is its lowest
	}
	s.newest = seq
}

// blocks returns the entry to wait for before a read at r, or 0.
func (s *slot) blocks(done uint64, r mvcc.Timestamp) uint64 {
	if s.newest <= done || s.floor > r {
		return 0
	}
	return s.newest
}

// guardWait is a read, or a follower's question, that waits for an entry.
type guardWait struct {
	seq  uint64
	call Call
}

func stripeOf(k shard.Key) uint64 { return xxhash.Sum64(k) % guardStripes }

// enter gives a command its floor, in the entry seq, or in the next one if seq is 0.
func (g *guard) enter(c mvcc.Command, seq uint64) (floor mvcc.Timestamp, in uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if seq == 0 {
		g.seq++
		seq = g.seq
		g.open = append(g.open, seq)
	}
	if g.stripes == nil {
		g.stripes = new([guardStripes]slot)
	}
	floor = g.maxRead.NextOdd()
	g.whole.enter(seq, g.done, floor)
	c.Keys(func(k shard.Key) { g.stripes[stripeOf(k)].enter(seq, g.done, floor) })
	return floor, seq
}

// finish ends an entry.
//
// INVARIANT: an entry that was applied ends after its effect is visible.
func (g *guard) finish(seq uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, s := range g.open {
		if s == seq {
			g.open = append(g.open[:i], g.open[i+1:]...)
			break
		}
	}
	g.done = g.seq
	if len(g.open) > 0 {
		g.done = g.open[0] - 1
	}
}

// read notes a read at r, and returns the entry that must be finished before it may begin, or 0. keys are what it reads;
// none is the whole shard.
func (g *guard) read(r mvcc.Timestamp, keys []shard.Key) (wait uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.maxRead = max(g.maxRead, r)
	if len(keys) == 0 {
		return g.whole.blocks(g.done, r)
	}
	if g.stripes == nil {
		return 0
	}
	for _, k := range keys {
		wait = max(wait, g.stripes[stripeOf(k)].blocks(g.done, r))
	}
	return wait
}

// fetched takes a timestamp that was issued after everything that this leader's predecessors answered.
func (g *guard) fetched(ts mvcc.Timestamp) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.maxRead = max(g.maxRead, ts)
}

// finished is done.
func (g *guard) finished() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.done
}
