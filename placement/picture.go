package placement

import (
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
)

// pictureBatch is how many shards a walk of a picture looks up under one hold of view.mu: some tens of microseconds, in
// which heartbeats wait.
const pictureBatch = 256

// picture is what the schedulers decide from. Stores and the set of shards are of one moment; what is known of each shard
// besides its descriptor is as of when the walk comes to it.
func (v *view) picture(rules schedule.Rules) *schedule.View {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := &schedule.View{Rules: rules, Now: v.clock(), Count: v.shards.Len()}
	for _, id := range v.storeIDsLocked() {
		out.Stores = append(out.Stores, v.storeLocked(id))
	}
	shards := v.shards.Copy()
	out.Shards = func(from shard.Key, f func(*schedule.Shard) bool) { v.walk(shards, from, f) }
	out.Lookup = func(id shard.ID) *schedule.Shard {
		d, ok := shards.Get(id)
		if !ok {
			return nil
		}
		sh := []schedule.Shard{{Desc: d}}
		v.knowledge(sh)
		return &sh[0]
	}
	return out
}

// storeLocked is one store as the schedulers see it. Requires mu.
func (v *view) storeLocked(id shard.StoreID) schedule.Store {
	sv := v.stores[id]
	v.stateLocked(sv, v.env.Now())
	held := v.heldLocked(id)
	out := schedule.Store{ID: id, State: scheduleState(sv.state), Capacity: sv.last.Capacity, Free: sv.last.Free, Bytes: held.bytes,
		Shards: held.shards, Leaders: held.leaders, SlowDisk: sv.slow.is, SlowNet: sv.far.is, Leaving: sv.last.Leaving, Evicting: sv.record.evicting, Work: held.work}
	for _, l := range sv.record.labels {
		out.Labels = append(out.Labels, schedule.Label(l))
	}
	out.Receiving, out.Sending = v.book.Load(id)
	return out
}

func scheduleState(s storeState) schedule.State {
	return [...]schedule.State{storeSuspect: schedule.Suspect, storeUp: schedule.Up, storeDraining: schedule.Draining,
		storeDown: schedule.Down, storeRemoved: schedule.Removed}[s]
}

// walk calls f for the shards of a map that nobody changes any more, with what is known of them now. f is called without
// mu.
func (v *view) walk(shards *shard.Map, from shard.Key, f func(*schedule.Shard) bool) {
	// The first batch is small: many walks want one shard.
	batch := make([]schedule.Shard, 0, pictureBatch)
	for want := 1; ; want = pictureBatch {
		batch = batch[:0]
		shards.Ascend(from, func(d *shard.Descriptor) bool {
			batch = append(batch, schedule.Shard{Desc: d})
			return len(batch) < want
		})
		v.knowledge(batch)
		for i := range batch {
			if !f(&batch[i]) {
				return
			}
		}
		if len(batch) < want {
			return
		}
		if from = batch[len(batch)-1].Desc.Range.End; len(from) == 0 {
			return
		}
	}
}

// knowledge fills in what is known of shards besides their descriptors.
func (v *view) knowledge(batch []schedule.Shard) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range batch {
		v.knownLocked(&batch[i])
	}
}

func (v *view) knownLocked(sh *schedule.Shard) {
	if rv := v.routes[sh.Desc.ID]; rv != nil {
		sh.Leader, sh.Bytes = rv.store, rv.bytes
		sh.Work, sh.Follow = schedule.Busy(rv.rates.Work(), rv.rates.Follow())
	}
	if o := v.book.Of(sh.Desc.ID); o != nil {
		goal := o.Goal
		sh.Pending = &goal
	}
}

// shardNow is one shard as the schedulers see it; false if there is none.
func (v *view) shardNow(id shard.ID) (schedule.Shard, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d, ok := v.shards.Get(id)
	if !ok {
		return schedule.Shard{}, false
	}
	sh := schedule.Shard{Desc: d}
	v.knownLocked(&sh)
	return sh, true
}

// settleTime is how long a new leader of placement waits for stores that it has not heard yet, before it decides anything
// by what it knows: those that are there report within a second or two, and what is decided without the word of one of
// them would take its shards for leaderless and its disk for empty.
const settleTime = 15 * time.Second

// complete reports whether the picture shows what there is: every store that may be there was heard in this term, or had
// time enough.
func (v *view) complete() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.clock() > settleTime {
		return true
	}
	heard := 0
	// in any order: counted
	for _, sv := range v.stores {
		switch {
		case sv.state == storeRemoved:
		case sv.seen == 0:
			return false
		default:
			heard++
		}
	}
	return heard > 0
}

// look does what a look at the clock makes due: silent stores, slow ones, operators whose time is over.
func (v *view) look() {
	v.mu.Lock()
	defer v.mu.Unlock()
	ids := slices.Sorted(maps.Keys(v.stores))
	now := v.env.Now()
	for _, id := range ids {
		v.stateLocked(v.stores[id], now)
	}
	v.lookForSlowLocked(ids)
	v.endDueLocked()
}

// newOperator makes an operator of a proposal, with what the shard as it is now says about it; false if the shard is
// otherwise by now.
func (v *view) newOperator(id operator.ID, p *schedule.Proposal, byHand bool) (*operator.Operator, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	d, ok := v.shards.Get(p.Shard)
	if !ok || d.Epoch != p.Epoch {
		return nil, false
	}
	o := &operator.Operator{ID: id, Kind: p.Kind, Shard: p.Shard, Goal: p.Goal, Why: p.Why, Bytes: p.Bytes, ByHand: byHand}
	for _, st := range operator.Targets(d, p.Goal) {
		if r, ok := d.ReplicaOn(st); !ok || r.Role == shard.Learner {
			o.Receives = append(o.Receives, st)
		}
	}
	if rv := v.routes[p.Shard]; rv != nil {
		o.Sends = rv.store
	}
	return o, true
}

// take puts operators to work; refused[i] says why not, "" if it was taken.
func (v *view) take(ops []*operator.Operator) (refused []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, o := range ops {
		refused = append(refused, v.addLocked(o))
	}
	return refused
}
