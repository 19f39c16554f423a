package raftstore

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Collection of versions (rule T8). The safe point is part of a shard's replicated state: below it nothing begins and
// nothing is read, on any replica, whatever its store has heard. Shards take it up before the first command of a
// transaction that comes after the store heard of it (adoptSafePoint), or by a command of whoever moves it.
//
// What nobody can read any more is removed in the background: one goroutine per store walks the shards that are led here
// and awake, one page at a time, off the workers, and proposes to collect only ranges in which it found garbage, so that a
// clean shard costs no log entry. It goes up to a bound of its own, below which no lock is left in any shard: the record
// that decides about a lock may lie in another shard than the lock.
const (
	// collectTicks lie between two pages that found something; collectRestTicks between two looks for work.
	collectTicks     = 1
	collectRestTicks = 10
	// A page ends after so many records looked at, or so many in the range to collect: those are evaluated where entries
	// are applied, and others wait for them.
	collectLookRecords = 16 << 10
	collectPageRecords = 512
	// collectRetry lies between a page that was refused and the next try.
	collectRetry = 10 * time.Second
)

// HearSafePoint takes the cluster's safe point, and the one up to which versions may be collected because every lock below
// it is resolved in every shard. Neither goes back.
func (s *Store) HearSafePoint(safe, collect mvcc.Timestamp) {
	for old := s.safe.Load(); uint64(safe) > old && !s.safe.CompareAndSwap(old, uint64(safe)); old = s.safe.Load() {
	}
	s.collector.hear(min(collect, safe))
}

// collector removes garbage.
type collector struct {
	store *Store

	mu      sync.Mutex
	upTo    mvcc.Timestamp
	running bool

	// --- the goroutine's
	walks map[shard.ID]*collecting
	last  shard.ID // whose turn it was
	// ended is the work at the last look that found all walks done.
	ended collectable
}

// collectable is what decides whether there may be work: walks through all shards that are led here are needed once for each
// bound, and one through each whose view is newer. A store at rest has thousands of shards and looks at none of them.
type collectable struct {
	upTo  mvcc.Timestamp
	views uint64 // Store.views
}

// collecting is the way through one shard.
type collecting struct {
	r    *replica
	upTo mvcc.Timestamp
	next shard.Key // where the next page begins; nil: at the beginning
	done bool
	// notBefore is when it goes on after a page that was refused or lost.
	notBefore env.Time
}

// hear moves the bound, and starts the goroutine at the first one: a cluster without transactions has none.
func (cl *collector) hear(upTo mvcc.Timestamp) {
	cl.mu.Lock()
	cl.upTo = max(cl.upTo, upTo)
	start := cl.upTo > 0 && !cl.running
	cl.running = cl.running || start
	cl.mu.Unlock()
	if start {
		cl.store.goTask("collect", func() { cl.run(cl.store.ctx) })
	}
}

func (cl *collector) bound() mvcc.Timestamp {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.upTo
}

// run is the collect goroutine. It ends when the store closes or breaks.
func (cl *collector) run(ctx context.Context) {
	s := cl.store
	pause := collectTicks * s.opt.Tick
	for s.env.Sleep(ctx, pause) == nil && !s.stopped() {
		pause = collectRestTicks * s.opt.Tick
		if cl.runOnce(ctx) {
			pause = collectTicks * s.opt.Tick
		}
	}
}

// runOnce does pages until one found something, and reports whether one did.
func (cl *collector) runOnce(ctx context.Context) bool {
	// Views are counted after they are published: one that turns misses is counted later than here.
	work := collectable{upTo: cl.bound(), views: cl.store.views.Load()}
	if work == cl.ended {
		return false
	}
	ended, upTo := true, work.upTo
	for _, r := range cl.turns() {
		wk := cl.walks[r.id]
		if wk == nil || wk.r != r || wk.upTo < upTo {
			wk = &collecting{r: r, upTo: upTo}
			cl.walks[r.id] = wk
		}
		cl.last = r.id
		for !wk.done && cl.store.env.Now() >= wk.notBefore {
			if cl.page(ctx, r, wk) {
				return true
			}
			if cl.store.stopped() || ctx.Err() != nil {
				return false
			}
		}
		ended = ended && wk.done
	}
	if ended {
		cl.ended = work
	}
	return false
}

// turns are the shards with transactional keys that are led here and awake, which only those with a view are; by id,
// beginning behind the one whose turn it was. Walks through shards that are gone are forgotten.
func (cl *collector) turns() []*replica {
	var out []*replica
	cl.store.replicas.Range(func(_, v any) bool {
		r := v.(*replica)
		if view := r.view.Load(); view != nil && !view.desc.Range.Intersect(shard.ModeRange(shard.ModeTxn)).Empty() {
			out = append(out, r)
		}
		return true
	})
	maps.DeleteFunc(cl.walks, func(id shard.ID, _ *collecting) bool {
		_, here := cl.store.replicas.Load(id)
		return !here
	})
	slices.SortFunc(out, func(a, b *replica) int { return cmp.Compare(a.id, b.id) })
	at, _ := slices.BinarySearchFunc(out, cl.last, func(r *replica, id shard.ID) int { return cmp.Compare(r.id, id) })
	return append(slices.Clone(out[at:]), out[:at]...)
}

// page looks through one page, and reports whether there was something to collect.
func (cl *collector) page(ctx context.Context, r *replica, wk *collecting) bool {
	s := cl.store
	desc := r.desc.Load()
	if desc == nil {
		wk.done = true
		return false
	}
	rng := desc.Range.Intersect(shard.ModeRange(shard.ModeTxn))
	if wk.next != nil {
		rng.Start = wk.next
	}
	rd := s.engine.NewReader()
	g, err := mvcc.FindGarbage(rd.Txn(), rng, wk.upTo, collectLookRecords, collectPageRecords)
	_ = rd.Close()
	if err != nil {
		s.broken("look for old versions of "+r.id.String(), err)
		return false
	}
	wk.next, wk.done = g.Next, g.Next == nil
	if g.Records == 0 {
		return false
	}
	err = cl.propose(ctx, r, desc, &mvcc.GC{SafePoint: wk.upTo, Range: g.Range, Limit: min(g.Records, mvcc.MaxCollect)})
	if err != nil {
		// A lock that was forgotten, or what became of it is not known: begin again, later.
		wk.next, wk.done, wk.notBefore = nil, false, s.env.Now().Add(collectRetry)
		s.logger.Debug("old versions not collected", "shard", r.id, "err", err)
	}
	return true
}

// propose puts a collection into the log and waits until it is applied.
func (cl *collector) propose(ctx context.Context, r *replica, desc *shard.Descriptor, cmd *mvcc.GC) error {
	body := cmd.Append(nil)
	return r.w.call(ctx, func(done func(error)) {
		if r.held || r.machine.Desc != desc || !r.canServe() {
			done(r.notLeader())
			return
		}
		r.keepAwake()
		b := apply.NewData(nil, apply.Header{Eval: r.w.store.evaluation(), Epoch: desc.Epoch})
		b.Add(call.OpID{}, body)
		r.proposeAdmin(b.Entry(), func(res *apply.Result, err error) {
			if err == nil {
				err = cl.collected(res)
			}
			done(err)
		})
	})
}

// collected takes the result of a collection: refused if a lock below its bound still stands in its range.
func (cl *collector) collected(res *apply.Result) error {
	out, err := mvcc.DecodeResult(res.Replies[0].Body)
	if err != nil {
		return err
	}
	if len(out.Rejected) > 0 {
		return out.Rejected[0]
	}
	cl.store.metrics.collectedRecords.Add(uint64(out.Count))
	return nil
}
