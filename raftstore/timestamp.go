package raftstore

import (
	"context"
	"sync"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Timestamps from placement. A store needs few: one for each leadership that sees a command which computes its own commit
// timestamp (rule T4). Those who ask at the same time share one question.

// stamps fetches timestamps.
type stamps struct {
	store *Store

	mu       sync.Mutex
	asking   bool
	newest   uint64 // that was fetched, at newestAt
	newestAt env.Time
	waiting  []func(ts uint64, err error) // for the next question
}

// fetch calls f with a timestamp that was issued after this call, on a goroutine of its own.
//
// INVARIANT: a question that was under way when fetch was called does not count: its answer may be older.
func (p *stamps) fetch(f func(ts uint64, err error)) {
	p.mu.Lock()
	p.waiting = append(p.waiting, f)
	start := !p.asking
	p.asking = true
	p.mu.Unlock()
	if start && !p.store.goTask("timestamps", p.run) {
		p.mu.Lock()
		p.asking = false
		p.mu.Unlock() // closing: the workers answer whoever is parked
	}
}

// run asks until nobody waits.
func (p *stamps) run() {
	for {
		p.mu.Lock()
		waiting := p.waiting
		p.waiting = nil
		if len(waiting) == 0 {
			p.asking = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		ts, err := p.ask()
		if err == nil {
			p.took(ts)
		}
		for _, f := range waiting {
			f(ts, err)
		}
	}
}

func (p *stamps) ask() (uint64, error) {
	s := p.store
	ctx, cancel := s.env.WithTimeout(s.ctx, s.opt.electionTimeout())
	defer cancel()
	s.metrics.timestamps.Add(1)
	return s.opt.Timestamps.Timestamp(ctx)
}

// Timestamps is where a store gets timestamps from.
type Timestamps interface {
	// Timestamp is issued by placement after the call began: even, and larger than every one that was issued before.
	Timestamp(ctx context.Context) (uint64, error)
}

// maxParked bounds the commands of a shard that wait for its leader's first timestamp.
const maxParked = 4096

// park makes a command that computes a timestamp wait until this leader has fetched one, and reports whether it did.
//
// INVARIANT (rule T4): until then nothing is computed here. Before this leadership, or in the shard that this one was
// split from, another leader answered reads whose timestamps this one does not know; each of them was issued before the
// entry by which this one leads was applied, so one that is issued after that is above them all.
func (r *replica) park(c *Call) bool {
	g := r.guardOf()
	if g.ready || r.asyncTooEarly() {
		return false
	}
	if r.w.store.opt.Timestamps == nil {
		r.fail(c, &shard.UseTwoPhaseError{Shard: r.id, Why: "this store has no source of timestamps"})
		return true
	}
	if len(g.parked) >= maxParked {
		r.fail(c, &shard.ServerBusyError{Store: r.w.store.id, Why: "too many commands wait for a timestamp", Wait: busyWait})
		return true
	}
	if len(g.parked) == 0 {
		g.parkedAt = r.w.now
	}
	r.enter(c, call.StageTimestamp)
	g.parked = append(g.parked, *c)
	r.maybeFetch()
	return true
}

// maybeFetch asks for the timestamp that parked commands wait for, once this leader has applied its own first entry.
func (r *replica) maybeFetch() {
	g := r.guard.Load()
	if g == nil || len(g.parked) == 0 || g.fetching || g.ready || !r.canServe() {
		return
	}
	g.fetching = true
	w := r.w
	w.store.stamps.fetch(func(ts uint64, err error) { w.task(func() { r.onTimestamp(g, ts, err) }) })
}

func (r *replica) onTimestamp(g *guard, ts uint64, err error) {
	if r.guard.Load() != g {
		return // of another leadership: who waited there was answered
	}
	g.fetching = false
	if err != nil {
		r.refuseParked(g, "placement was not heard in time")
		return
	}
	g.fetched(timestampOf(ts))
	g.ready = true
	parked := g.parked
	g.parked = nil
	for i := range parked {
		c := &parked[i]
		if err := r.checkEpoch(c.Req.Epoch, false); err != nil {
			r.fail(c, err)
			continue
		}
		r.enter(c, call.StageQueue)
		r.waiting = append(r.waiting, *c)
	}
	r.mark()
}

func (r *replica) refuseParked(g *guard, why string) {
	parked := g.parked
	g.parked = nil
	for i := range parked {
		r.fail(&parked[i], &shard.UseTwoPhaseError{Shard: r.id, Why: why})
	}
}
