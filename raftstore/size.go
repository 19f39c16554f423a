package raftstore

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
)

// How large a shard is, about: the bytes of keys and values that were written to it since it was last measured, on top of
// what was measured then. Overwriting counts as growth, so the count only says when to measure again; a split is decided
// by the measure. Both are this store's own: what Pebble makes of the bytes on disk does not enter.
//
// One goroutine per store measures, a shard at a time, by a walk over its keys: those led here and awake that were
// never measured since they came here, or that may have outgrown Options.SplitBytes.
const (
	// sizeTicks lie between two walks of a store: two seconds by default, in which a walk of 100 MB is a small part.
	sizeTicks = 20
	// turnBytes and turnShards bound what is walked in one turn: one shard of usual size, or many small ones.
	turnBytes  = 1 << 20
	turnShards = 64
	// A shard is measured again when it has grown by an eighth of what splits it, and reported when by as much of what
	// was reported, but at least reportBytes.
	growthParts = 8
	reportBytes = 1 << 20
	// splitJitter spreads the sizes at which shards split by up to an eighth: shards that are written evenly would
	// otherwise all split at once.
	splitJitter = 8
)

// SplitWish is a shard that is led here and larger or busier than it should be, and where it should be cut.
type SplitWish struct {
	Shard shard.ID
	Epoch shard.Epoch
	Keys  []shard.Key
	Bytes uint64
	// Work is what it has to do in a second, if that is the reason; see beat.Rates. 0: it is its size.
	Work float64
}

// sizer measures shards.
type sizer struct {
	store *Store

	mu     sync.Mutex
	due    map[shard.ID]*replica
	wishes map[shard.ID]SplitWish

	last shard.ID // whose turn it was; the goroutine's
}

func newSizer(s *Store) *sizer {
	return &sizer{store: s, due: make(map[shard.ID]*replica), wishes: make(map[shard.ID]SplitWish)}
}

// shardSize is what a replica knows of the size of its shard.
type shardSize struct {
	bytes    uint64 // about
	grown    uint64 // of it, since it was measured
	reported uint64 // last told to placement
	measured bool
	queued   bool // in sizer.due
}

// grew counts what an entry wrote.
func (z *shardSize) grew(before, after int) {
	if after > before {
		z.bytes += uint64(after - before)
		z.grown += uint64(after - before)
	}
}

// splitAt is the size at which a shard is split, 0 if never: somewhat different for each, and the same for each split of
// one.
func (s *Store) splitAt(id shard.ID) uint64 {
	limit := s.Bounds().SplitBytes
	return limit + limit/splitJitter*(uint64(id)*0x9e3779b97f4a7c15>>48)>>16
}

// noteSize queues a shard to be measured, and tells placement of one that has grown.
func (r *replica) noteSize() {
	z, s := &r.size, r.w.store
	if !r.canServe() {
		return
	}
	if z.bytes > z.reported+max(z.reported/growthParts, reportBytes) {
		r.tellPlacement()
	}
	at := s.splitAt(r.id)
	large := at > 0 && z.bytes >= at && z.grown >= at/growthParts
	if !z.queued && (!z.measured || large) {
		z.queued = true
		s.sizer.mu.Lock()
		s.sizer.due[r.id] = r
		s.sizer.mu.Unlock()
	}
}

// splitSize shares the size among the parts of a split, until each is measured.
func (r *replica) splitSize(parts int) {
	r.size = shardSize{bytes: r.size.bytes / uint64(parts), queued: r.size.queued}
}

// run is the sizer's goroutine. It ends when the store closes.
func (z *sizer) run(ctx context.Context) {
	s := z.store
	for s.env.Sleep(ctx, sizeTicks*s.opt.Tick) == nil && !s.stopped() {
		z.turn(ctx)
	}
}

// turn measures the shards whose turn it is, by id, beginning after the last one.
func (z *sizer) turn(ctx context.Context) {
	z.mu.Lock()
	ids := slices.Sorted(maps.Keys(z.due))
	z.mu.Unlock()
	i, _ := slices.BinarySearch(ids, z.last+1)
	bytes := uint64(0)
	for n := 0; n < min(len(ids), turnShards) && bytes < turnBytes; n++ {
		z.last = ids[(i+n)%len(ids)]
		z.mu.Lock()
		r := z.due[z.last]
		delete(z.due, z.last)
		z.mu.Unlock()
		bytes += z.measure(ctx, r)
	}
}

// measure walks a shard, off the workers, and returns how many bytes it found.
func (z *sizer) measure(ctx context.Context, r *replica) uint64 {
	s := z.store
	var desc *shard.Descriptor
	var grown uint64
	err := r.w.call(ctx, func(done func(error)) {
		r.size.queued = false
		if !r.held && !r.asleep() && r.canServe() {
			desc, grown = r.machine.Desc, r.size.grown
		}
		done(nil)
	})
	if err != nil || desc == nil {
		return 0
	}
	cuts, total, err := s.cutKeys(desc.Range, MaxSplitKeys+1)
	if err != nil {
		return 0
	}
	r.w.task(func() {
		if r.machine.Desc != desc || r.held {
			return // split or moved meanwhile: it comes again
		}
		r.size.grown -= min(grown, r.size.grown)
		r.size.bytes = total + r.size.grown
		r.size.measured = true
		r.tellPlacement()
		if at := s.splitAt(r.id); at > 0 && total >= at && len(cuts) > 0 {
			r.size.measured = false // until it is split: if that comes to nothing, it is asked for again
			z.wish(SplitWish{Shard: r.id, Epoch: desc.Epoch, Keys: chooseCuts(cuts, total, s.partsOf(total)), Bytes: total})
		}
	})
	return total
}

// partsOf is how many parts a shard of a size is cut into at once: each then has about three quarters of the size that
// splits, and one that has just outgrown it is halved.
func (s *Store) partsOf(total uint64) int {
	return int(min(MaxSplitKeys+1, max(2, total*4/(3*max(1, s.Bounds().SplitBytes)))))
}

// chooseCuts takes of many cuts those nearest to the bounds between so many equal parts.
func chooseCuts(cuts []engine.Cut, total uint64, parts int) []shard.Key {
	var out []shard.Key
	from := 0
	for i := 1; i < parts && from < len(cuts); i++ {
		want := total / uint64(parts) * uint64(i)
		best := from
		for j := from + 1; j < len(cuts) && distance(cuts[j].Below, want) <= distance(cuts[best].Below, want); j++ {
			best = j
		}
		out = append(out, cuts[best].Key)
		from = best + 1
	}
	return out
}

func distance(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// wish notes a shard for TakeSplits.
func (z *sizer) wish(w SplitWish) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.wishes[w.Shard] = w
}

// TakeSplits returns the shards that should be split, by id, and forgets them: those that are not split come again. Ids
// for the new shards are placement's to give, so the splitting is left to who knows it.
func (s *Store) TakeSplits() []SplitWish {
	z := s.sizer
	z.mu.Lock()
	defer z.mu.Unlock()
	var out []SplitWish
	for _, id := range slices.Sorted(maps.Keys(z.wishes)) {
		out = append(out, z.wishes[id])
	}
	clear(z.wishes)
	return out
}
