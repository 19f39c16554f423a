package raftstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
)

// Replicas that applied the same entries hold the same. Whether they do is looked at in the background, for whoever reads
// one of them would never find out:
//
//	Compare     the leader proposes an entry that changes nothing
//	onCompared  every replica that applies it opens a view of its data exactly there (sum.go)
//	sumUp       one task of each store reads the views one after the other, at the store's pace, and tells the sum to
//	            the store that proposed (comparison.go)
//	judge       that one compares them; who differs from a majority of the voters is told, and its store stops for good
//	            (verdict.go)
//
// A comparison depends on nobody's leadership once its entry is applied: what a replica held at an index stays true.
// CockroachDB's consistency checker and TiKV's consistency check go the same way.
const (
	// compareAskTimeouts is how many election timeouts the proposer waits before it asks those again that owe it a sum.
	compareAskTimeouts = 1
	// viewTimeouts is how many election timeouts a view may be open on top of the time for which it is read: a minute by
	// default. What it keeps alive of memtables and files is bounded by that.
	viewTimeouts = 60
	// slowestPart: a view that is read at less than this part of the store's pace is given up; others read as well.
	slowestPart = 8
	// maxViews bounds the views of a store that are open at a time. More are not taken, and their comparisons end
	// unfinished.
	maxViews = 8
	// compareRest is how long a store waits that leads nothing, at most, before it looks again.
	compareRest = time.Minute
)

// comparer is a store's part in comparisons: of those that it proposed, and of its own sums.
type comparer struct {
	store   *Store
	every   atomic.Int64 // time.Duration, see SetCompareEvery
	changed env.Event    // every was

	mu      sync.Mutex // leaf
	begun   map[shard.ID]*gathering
	views   []*dataView // open, in the order in which they are read; the first may be under way
	reading bool        // the task runs
}

func newComparer(s *Store) *comparer {
	c := &comparer{store: s, changed: s.env.NewEvent("check-every"), begun: make(map[shard.ID]*gathering)}
	c.every.Store(int64(s.opt.CheckEvery))
	return c
}

// gathering is a comparison that this store proposed. Guarded by comparer.mu.
type gathering struct {
	wake     env.Event
	self     shard.ReplicaID
	proposed bool
	index    uint64            // of the entry; 0 until it is applied here
	desc     *shard.Descriptor // as of the entry
	heard    map[shard.ReplicaID]heardSum
	ownAt    env.Time // when the own sum was there
}

// heardSum is a replica's word: its sum at an index, or that there will be none.
type heardSum struct {
	index uint64
	sum   engine.Sum
	none  bool
}

// SetCompareEvery says in which time each shard that is led here is compared once, from now on; zero or less: never.
func (s *Store) SetCompareEvery(d time.Duration) {
	s.comparer.every.Store(int64(d))
	s.comparer.changed.Wake()
}

// run is the goroutine that goes through the shards which are led here, so that each is compared once in the time that the
// store was told. It ends when the store closes.
func (c *comparer) run(ctx context.Context) {
	s := c.store
	began := false
	for !s.stopped() {
		every, ids := time.Duration(c.every.Load()), c.led()
		switch {
		case every <= 0:
			if c.changed.Wait(ctx, 0) != nil {
				return
			}
			continue
		case len(ids) == 0:
			if c.pause(ctx, min(every, compareRest)) != nil {
				return
			}
			continue
		}
		step := every / time.Duration(len(ids))
		if !began { // who restarts often gets round as well
			began = true
			ids = ids[s.env.Rand()%uint64(len(ids)):]
		}
		if c.round(ctx, ids, step) != nil {
			return
		}
	}
}

// pause waits for a time, or until there is another one to go by. The error is ctx's.
func (c *comparer) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	if err := c.changed.Wait(ctx, d); !errors.Is(err, env.ErrTimeout) {
		return err
	}
	return nil
}

// round compares shards one after the other, one in each step of time or as fast as they are read, and ends early when there
// is another time to go by.
func (c *comparer) round(ctx context.Context, ids []shard.ID, step time.Duration) error {
	s := c.store
	every := c.every.Load()
	due := s.env.Now()
	for _, id := range ids {
		due = due.Add(step)
		early := time.Duration(s.env.Rand() % uint64(step/4+1)) // stores that started together spread
		if err := c.pause(ctx, due.Sub(s.env.Now())-early); err != nil || s.stopped() || c.every.Load() != every {
			return err
		}
		if r := s.replica(id); r == nil || !r.ledHere() {
			continue
		}
		if _, err := s.Compare(ctx, id); err != nil {
			s.logger.Debug("not compared", "shard", id, "err", err)
		}
	}
	return nil
}

// led are the shards that are led here, awake or asleep.
func (c *comparer) led() []shard.ID {
	var ids []shard.ID
	// in any order: sorted below
	c.store.replicas.Range(func(k, v any) bool {
		if v.(*replica).ledHere() {
			ids = append(ids, k.(shard.ID))
		}
		return true
	})
	slices.Sort(ids)
	return ids
}

// ledHere reports, on any goroutine, whether the replica leads, as far as is known.
func (r *replica) ledHere() bool {
	lead := r.led.Load()
	return lead != nil && lead.ID == r.self
}

// Compare has all replicas of a shard that is led here sum up what they hold at one applied index, and waits for the
// verdict. Stores whose data are found to differ from those of a majority of the voters stop, and refuse to start again.
//
// An error says that no entry was proposed, or that what became of it is not known; a comparison that did not hear
// everybody is not an error but Unfinished.
func (s *Store) Compare(ctx context.Context, id shard.ID) (*Comparison, error) {
	c := s.comparer
	g := &gathering{wake: s.env.NewEvent("compare"), heard: make(map[shard.ReplicaID]heardSum)}
	c.mu.Lock()
	busy := c.begun[id] != nil
	if !busy {
		c.begun[id] = g
	}
	c.mu.Unlock()
	if busy {
		return nil, &shard.ServerBusyError{Store: s.id, Why: id.String() + " is being compared already", Wait: busyWait}
	}
	defer func() {
		c.mu.Lock()
		delete(c.begun, id)
		c.mu.Unlock()
	}()
	if err := s.proposeCompare(ctx, id, g); err != nil {
		return nil, err
	}
	c.await(ctx, id, g)
	c.mu.Lock()
	out := judge(g)
	c.mu.Unlock()
	s.conclude(out)
	return out, nil
}

// proposeCompare returns when the entry is applied here.
func (s *Store) proposeCompare(ctx context.Context, id shard.ID, g *gathering) error {
	if v := s.Version(); v < version.Comparisons {
		return &shard.InvalidError{Why: fmt.Sprintf("replicas are compared from version %s of the cluster on, and it has %s; "+
			"finalize the upgrade (skerry ctl version finalize)", version.Comparisons, v)}
	}
	w, c := s.worker(id), s.comparer
	err := w.call(ctx, func(done func(error)) {
		r := w.replicas[id]
		if r == nil {
			done(&shard.NotFoundError{Shard: id, Store: s.id})
			return
		}
		r.wakeUp(wakeRequest)
		if err := r.mayCompare(); err != nil {
			done(err)
			return
		}
		c.mu.Lock()
		g.self, g.proposed = r.self, true
		c.mu.Unlock()
		h := apply.Header{Eval: s.evaluation()}
		r.proposeAdmin(apply.EncodeCompare(h, r.self, s.id), func(res *apply.Result, err error) {
			if err == nil {
				c.mu.Lock()
				g.index, g.desc = res.Event.(*apply.Compared).Index, r.machine.Desc
				c.mu.Unlock()
			}
			done(err)
		})
	})
	c.mu.Lock() // the worker may still be at it, if ctx ended
	defer c.mu.Unlock()
	if err != nil && g.proposed {
		s.metrics.comparisons[Unfinished].Add(1)
	}
	return err
}

// mayCompare refuses what would end unfinished.
func (r *replica) mayCompare() error {
	s := r.w.store
	if !r.canServe() {
		return r.notLeader()
	}
	if r.machine.Desc.Joint() {
		return &shard.ServerBusyError{Store: s.id, Why: "the replicas of " + r.id.String() + " are changing", Wait: busyWait}
	}
	for _, p := range r.machine.Desc.Replicas {
		if live, _ := s.live.isLive(p.Store); !live && p.ID != r.self {
			return &shard.ServerBusyError{Store: s.id, Why: fmt.Sprintf("%s, with a replica of %s, is not heard", p.Store, r.id), Wait: busyWait}
		}
	}
	return nil
}

// await returns when every replica has said its sum, or it is not worth to wait for those who did not.
func (c *comparer) await(ctx context.Context, id shard.ID, g *gathering) {
	s := c.store
	for !s.stopped() {
		c.mu.Lock()
		owing, over := c.owingLocked(g)
		c.mu.Unlock()
		if len(owing) == 0 || over {
			return
		}
		for _, p := range owing {
			if live, _ := s.live.isLive(p.Store); !live && p.ID != g.self {
				return
			}
		}
		err := g.wake.Wait(ctx, compareAskTimeouts*s.opt.electionTimeout())
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return
		}
		for _, p := range owing {
			if p.ID != g.self {
				s.sendComparison(p.Store, &comparison{kind: comparisonAsk, shard: id, from: g.self, to: p.ID, index: g.index})
			}
		}
	}
}

// owingLocked are the replicas that have said nothing yet; over is true if they had their time. Until the own sum is there
// nobody is late, and that has its own bound.
func (c *comparer) owingLocked(g *gathering) (owing []shard.Replica, over bool) {
	for _, p := range g.desc.Replicas {
		if g.heard[p.ID].index != g.index {
			owing = append(owing, p)
		}
	}
	own := g.heard[g.self]
	if own.index != g.index {
		return owing, false
	}
	late := g.ownAt.Add(2*c.viewTime(0) + c.viewTime(own.sum.Bytes))
	return owing, own.none || c.store.env.Now() > late
}

// viewTime is how long a view may be open of which so many bytes are read.
func (c *comparer) viewTime(bytes uint64) time.Duration {
	s := c.store
	return viewTimeouts*s.opt.electionTimeout() + time.Duration(slowestPart*float64(bytes)/float64(s.opt.CheckBytesPerSecond)*float64(time.Second))
}

// hear takes a replica's word to a comparison that was begun here.
func (c *comparer) hear(id shard.ID, from shard.ReplicaID, h heardSum) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := c.begun[id]
	if g == nil || g.index != 0 && h.index != g.index || h.index < g.heard[from].index {
		return
	}
	if h.index == g.heard[from].index && !g.heard[from].none {
		return // said again
	}
	if g.desc != nil && !slices.ContainsFunc(g.desc.Replicas, func(p shard.Replica) bool { return p.ID == from }) || len(g.heard) >= maxHeard {
		return
	}
	g.heard[from] = h
	if from == g.self {
		g.ownAt = c.store.env.Now()
	}
	g.wake.Wake()
}

// maxHeard bounds what is kept of the words of others before it is known who they are.
const maxHeard = 64
