package raftstore

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// Expired keys are gone for every reader as soon as the shard's time says so (rule 10); what is left is their space.
// One goroutine per store takes it back in the background: it walks the shards that hold TTL keys and are led here, one
// small page at a time, off the workers, and proposes what it found expired.
//
// An idle shard sleeps although it has TTL keys: nobody needs their space within minutes. Its leader is woken by the
// backstop (5 minutes), gets its clock entry and its pages then, and stays awake only as long as they find something.
const (
	// reclaimTicks lie between two pages of a store: one second by default.
	reclaimTicks = 10
	// A page ends after so many keys or bytes looked at, or keys found: some milliseconds of reading, and an entry that
	// delays no other by much.
	reclaimPageKeys  = 16 << 10
	reclaimPageBytes = 4 << 20
	reclaimPageFound = 1024
	// reclaimClockMillis: a shard with TTL keys gets a clock entry when its time lags by this much, so that what nobody
	// reads or writes expires as well.
	reclaimClockMillis = 10_000
	// A walk that left living TTL keys begins again when the first of them is due, but within these bounds.
	reclaimMinPause = 10_000
	reclaimMaxPause = 10 * 60_000
)

// reclaimer knows which shards of a store hold TTL keys, and how far the walk through each has come.
type reclaimer struct {
	store *Store

	mu    sync.Mutex
	walks map[shard.ID]*walk

	last shard.ID // whose turn it was; the goroutine's
}

// walk is one way through the keys of a shard. Only the reclaim goroutine looks inside.
type walk struct {
	r    *replica
	gen  uint64
	term uint64
	// next is the key at which the next page begins, nil at the beginning of the shard.
	next shard.Key
	// asOf is the applied index of the first page's view. all: every TTL key of the pages since was expired, and its
	// deletion is applied.
	asOf uint64
	all  bool
	// due is the earliest end of a living key seen on this walk.
	due shard.Millis
	// notBefore is placement's time at which it is worth to begin again.
	notBefore shard.Millis
}

func newReclaimer(s *Store) *reclaimer {
	return &reclaimer{store: s, walks: make(map[shard.ID]*walk)}
}

// noteExpiring tells the reclaimer whether the replica's shard holds TTL keys.
func (r *replica) noteExpiring() {
	if has := r.machine.Applied.Expiring != 0; has != r.expiring {
		r.expiring = has
		if has {
			r.w.store.reclaimer.take(r)
		} else {
			r.w.store.reclaimer.forget(r.id)
		}
	}
}

func (rc *reclaimer) take(r *replica) {
	rc.mu.Lock()
	rc.walks[r.id] = &walk{r: r}
	rc.mu.Unlock()
}

func (rc *reclaimer) forget(id shard.ID) {
	rc.mu.Lock()
	delete(rc.walks, id)
	rc.mu.Unlock()
}

// run is the reclaim goroutine. It ends when the store closes.
func (rc *reclaimer) run(ctx context.Context) {
	s := rc.store
	for s.env.Sleep(ctx, reclaimTicks*s.opt.Tick) == nil && !s.stopped() {
		rc.runOnce(ctx)
	}
}

// runOnce does one page of the next shard that has one to do.
func (rc *reclaimer) runOnce(ctx context.Context) {
	for _, wk := range rc.turns() {
		rc.last = wk.r.id
		if rc.page(ctx, wk) {
			return
		}
	}
}

// turns are the walks of the shards that are led here and awake, which only those with a view are; by id, beginning
// behind the one whose turn it was.
func (rc *reclaimer) turns() []*walk {
	rc.mu.Lock()
	var out []*walk
	// in any order: sorted below
	for _, wk := range rc.walks {
		if wk.r.view.Load() != nil {
			out = append(out, wk)
		}
	}
	rc.mu.Unlock()
	slices.SortFunc(out, func(a, b *walk) int { return cmp.Compare(a.r.id, b.r.id) })
	at, _ := slices.BinarySearchFunc(out, rc.last+1, func(wk *walk, id shard.ID) int { return cmp.Compare(wk.r.id, id) })
	return append(slices.Clone(out[at:]), out[:at]...)
}

// page does one page, and reports false if the shard has nothing to do here now.
func (rc *reclaimer) page(ctx context.Context, wk *walk) bool {
	desc := rc.begin(ctx, wk)
	if desc == nil {
		return false
	}
	p, err := rc.read(wk, desc)
	if err != nil {
		rc.store.broken("look for expired keys of "+wk.r.id.String(), err)
		return true
	}
	if wk.next == nil {
		wk.asOf, wk.all, wk.due = p.index, true, 0
	}
	if p.due != 0 && (wk.due == 0 || p.due < wk.due) {
		wk.due = p.due
	}
	// INVARIANT: Final says that no key of the shard has a TTL any more, if none was written since asOf. The pages of one
	// walk cover the shard; on each, every TTL key was expired, and its deletion was applied before the next page began.
	wk.all = wk.all && p.due == 0
	final := p.next == nil && wk.all
	if len(p.expired) > 0 || final {
		if err := rc.propose(ctx, wk, desc, &raw.Reclaim{Keys: p.expired, AsOf: wk.asOf, Final: final}); err != nil {
			wk.restart() // what became of it is not known
			return true
		}
		rc.store.metrics.reclaimedKeys.Add(uint64(len(p.expired)))
	}
	if wk.next = p.next; p.next == nil {
		wk.rest(p.time)
	}
	return true
}

func (wk *walk) restart() { wk.next = nil }

// rest puts the next walk off until something is due.
func (wk *walk) rest(now shard.Millis) {
	pause := shard.Millis(reclaimMinPause)
	if wk.due > now {
		pause = min(max(wk.due-now, reclaimMinPause), reclaimMaxPause)
	}
	wk.notBefore = now + pause
}

// begin asks the worker whether the shard is led here and awake, and lets its time pass. It returns the descriptor under
// which to look, nil if this is not the time.
func (rc *reclaimer) begin(ctx context.Context, wk *walk) *shard.Descriptor {
	r, s := wk.r, rc.store
	var desc *shard.Descriptor
	err := r.w.call(ctx, func(done func(error)) {
		if r.held || r.asleep() || !r.canServe() {
			done(nil)
			return
		}
		if term := r.group.Term(); wk.gen != r.gen || wk.term != term {
			*wk = walk{r: r, gen: r.gen, term: term}
		}
		stamp := s.stamp(r.w.now)
		if max(stamp, r.machine.Applied.Time) < wk.notBefore {
			done(nil)
			return
		}
		if stamp >= r.machine.Applied.Time+reclaimClockMillis {
			r.proposeClock(0) // it is applied before the next page; this one goes by the time that is
			done(nil)
			return
		}
		desc = r.machine.Desc
		done(nil)
	})
	if err != nil {
		return nil // and desc is not ours to read: the worker may still come to it
	}
	return desc
}

// found is what a page holds.
type found struct {
	index   uint64 // of the view
	time    shard.Millis
	expired []shard.Key
	due     shard.Millis // the earliest end of a living TTL key; zero: there is none
	next    shard.Key    // where the next page begins; nil: this was the last
}

// read looks through one page, in one view.
func (rc *reclaimer) read(wk *walk, desc *shard.Descriptor) (*found, error) {
	rd := rc.store.engine.NewReader()
	defer rd.Close()
	a, ok, err := rd.Applied(wk.r.id)
	if err != nil {
		return nil, err
	}
	p := &found{index: a.Index, time: a.Time}
	if !ok {
		return p, nil
	}
	rng := desc.Range
	if wk.next != nil {
		rng.Start = wk.next
	}
	keys, bytes := 0, 0
	var bad error
	// Raw values stand in two modes; transactional ones are versions, which have no TTL.
	for _, mode := range []shard.Mode{shard.ModeMeta, shard.ModeRaw} {
		part := rng.Intersect(shard.ModeRange(mode))
		if part.Empty() || p.next != nil {
			continue
		}
		err := rd.Scan(part, false, func(k shard.Key, v []byte) bool {
			if keys >= reclaimPageKeys || bytes >= reclaimPageBytes || len(p.expired) >= reclaimPageFound {
				p.next = k.Clone()
				return false
			}
			keys, bytes = keys+1, bytes+len(k)+len(v)
			var val raw.Value
			if val, bad = raw.DecodeValue(v); bad != nil {
				return false
			}
			switch {
			case val.Expired(a.Time):
				p.expired = append(p.expired, k.Clone())
			case val.ExpireAt != 0 && (p.due == 0 || val.ExpireAt < p.due):
				p.due = val.ExpireAt
			}
			return true
		})
		if err != nil || bad != nil {
			return nil, firstError(err, bad)
		}
	}
	return p, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// propose puts a reclaim into the log and waits until it is applied.
func (rc *reclaimer) propose(ctx context.Context, wk *walk, desc *shard.Descriptor, cmd *raw.Reclaim) error {
	r := wk.r
	body := cmd.Append(nil)
	return r.w.call(ctx, func(done func(error)) {
		if r.held || r.machine.Desc != desc || r.group.Term() != wk.term || !r.canServe() {
			done(r.notLeader())
			return
		}
		r.wakeUp(wakeMessage)
		if len(cmd.Keys) > 0 {
			r.keepAwake()
		}
		b := apply.NewData(nil, apply.Header{Eval: r.w.store.evaluation(), Epoch: desc.Epoch})
		b.Add(call.OpID{}, body) // nobody asks about it
		r.proposeAdmin(b.Entry(), func(_ *apply.Result, err error) { done(err) })
	})
}
