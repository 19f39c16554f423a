package placement

import (
	"maps"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// view is a leader's picture of the cluster: stores and shards, from records first, from heartbeats as they come.
// Safe for concurrent use; mu is a leaf.
type view struct {
	env   env.Env
	begun env.Time

	mu     sync.Mutex
	stores map[shard.StoreID]*storeView
	shards *shard.Map
	routes map[shard.ID]*routeView
	// pending are the replicas of the first shards that were not yet reported as created.
	pending map[shard.StoreID]map[shard.ID]*shard.Descriptor
	// unsaved are shards whose descriptor changed since it was last written as a hint.
	unsaved map[shard.ID]bool
	// changing are shards whose last known descriptor shows a change of membership under way.
	changing map[shard.ID]bool
	watchers []*watcher
	ended    bool
}

type storeView struct {
	record storeRecord
	seen   env.Time // of its last heartbeat to this leader; 0: none yet
	last   beat.Report
}

type routeView struct {
	leader  shard.ReplicaID
	store   shard.StoreID
	term    uint64
	applied uint64
	bytes   uint64
}

func newView(e env.Env) *view {
	return &view{env: e, begun: e.Now(), stores: make(map[shard.StoreID]*storeView), shards: shard.NewMap(),
		routes: make(map[shard.ID]*routeView), pending: make(map[shard.StoreID]map[shard.ID]*shard.Descriptor),
		unsaved: make(map[shard.ID]bool), changing: make(map[shard.ID]bool)}
}

func (v *view) loadStore(r storeRecord) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if sv := v.stores[r.id]; sv != nil {
		sv.record = r
	} else {
		v.stores[r.id] = &storeView{record: r}
	}
	v.wakeLocked(0)
}

func (v *view) loadShard(d *shard.Descriptor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shards.Insert(d)
	v.wakeLocked(d.ID)
}

// expect notes which replicas of the first shards are still to be created.
func (v *view) expect(ds []*shard.Descriptor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range ds {
		for _, r := range d.Replicas {
			if v.pending[r.Store] == nil {
				v.pending[r.Store] = make(map[shard.ID]*shard.Descriptor)
			}
			v.pending[r.Store][d.ID] = d
		}
	}
}

// created reports whether nothing is pending.
func (v *view) created() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.pending) == 0
}

// observe takes a report. It says whether a full one is needed, because this is the first since the term began.
func (v *view) observe(r *beat.Report) (needFull bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	sv := v.stores[r.Store]
	if sv == nil {
		return true
	}
	needFull = sv.seen == 0 && !r.Full
	if !needFull {
		sv.seen = v.env.Now()
	}
	moved := sv.record.addr != r.Addr
	sv.last = *r
	sv.last.Led, sv.last.Replicas, sv.last.Created = nil, nil, nil
	sv.record.addr = r.Addr
	for _, id := range r.Created {
		delete(v.pending[r.Store], id)
	}
	for _, h := range r.Replicas {
		delete(v.pending[r.Store], h.Shard)
	}
	if len(v.pending[r.Store]) == 0 {
		delete(v.pending, r.Store)
	}
	for i := range r.Led {
		v.observeLedLocked(r.Store, &r.Led[i])
	}
	if moved {
		v.wakeLocked(0)
	}
	return needFull
}

// observeLedLocked takes what a leader says of its shard. The newest descriptor wins, and of two leaders the newer term.
func (v *view) observeLedLocked(store shard.StoreID, l *beat.Led) {
	if l.Desc == nil || l.Desc.Validate() != nil {
		return
	}
	old, known := v.shards.Get(l.Desc.ID)
	if kept, _ := v.shards.Insert(l.Desc); !kept {
		return
	}
	if !known || old.Epoch != l.Desc.Epoch {
		v.unsaved[l.Desc.ID] = true
	}
	if settled(l.Desc) {
		delete(v.changing, l.Desc.ID)
	} else {
		v.changing[l.Desc.ID] = true
	}
	rv := v.routes[l.Desc.ID]
	if rv == nil {
		rv = &routeView{}
		v.routes[l.Desc.ID] = rv
	}
	if l.Term < rv.term {
		return
	}
	changed := !known || old.Epoch != l.Desc.Epoch || rv.leader != l.Leader || rv.term != l.Term
	rv.leader, rv.store, rv.term, rv.applied, rv.bytes = l.Leader, store, l.Term, l.Applied, l.Bytes
	if changed {
		v.wakeLocked(l.Desc.ID)
	}
}

// toCreate are the first shards that a store has not yet reported, at most max of them.
func (v *view) toCreate(store shard.StoreID, max int) []*shard.Descriptor {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []*shard.Descriptor
	for _, id := range slices.Sorted(maps.Keys(v.pending[store])) {
		if len(out) == max {
			break
		}
		out = append(out, v.pending[store][id])
	}
	return out
}

// allStores lists the stores by id.
func (v *view) allStores() []beat.Store {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.allStoresLocked()
}

func (v *view) allStoresLocked() []beat.Store {
	now := v.env.Now()
	var out []beat.Store
	for _, id := range slices.Sorted(maps.Keys(v.stores)) {
		sv := v.stores[id]
		seen := max(sv.seen, v.begun)
		out = append(out, beat.Store{ID: id, Addr: sv.record.addr, State: v.stateLocked(sv, now), SeenAgo: now.Sub(seen),
			Used: sv.last.Used, Free: sv.last.Free, Capacity: sv.last.Capacity, Shards: sv.last.Shards, Leaders: sv.last.Leaders,
			Incarnation: sv.last.Incarnation, Version: sv.last.Version})
	}
	return out
}

// stateLocked is what a store is held for. A leader gives every store the time since it began itself.
func (v *view) stateLocked(sv *storeView, now env.Time) beat.State {
	age := now.Sub(max(sv.seen, v.begun))
	switch {
	case sv.record.removed:
		return beat.Removed
	case age > downAfter:
		return beat.Down
	case age > suspectAfter || sv.seen == 0:
		return beat.Suspect
	}
	return beat.Up
}

// upStores are the ids of those that can be given replicas.
func (v *view) upStores() []shard.StoreID {
	var out []shard.StoreID
	for _, s := range v.allStores() {
		if s.State == beat.Up {
			out = append(out, s.ID)
		}
	}
	return out
}

// repairs are the next steps for the shards that a store leads, at most max of them.
func (v *view) repairs(store shard.StoreID, max int) []plan {
	v.mu.Lock()
	defer v.mu.Unlock()
	var stores []operator.Store
	removed := false
	for _, s := range v.allStoresLocked() {
		gone := s.State == beat.Removed || s.State == beat.Down
		removed = removed || gone
		stores = append(stores, operator.Store{ID: s.ID, Usable: s.State == beat.Up, Gone: gone, Shards: s.Shards})
	}
	var out []plan
	look := slices.Sorted(maps.Keys(v.changing))
	if removed {
		look = slices.Sorted(maps.Keys(v.routes))
	}
	for _, id := range look {
		rv := v.routes[id]
		d, ok := v.shards.Get(id)
		if !ok || rv == nil || rv.store != store {
			continue
		}
		if st := operator.Repair(d, store, stores); st.Change != nil || st.TransferTo != 0 {
			if out = append(out, plan{desc: d, step: st}); len(out) == max {
				break
			}
		}
	}
	return out
}

// settled reports whether a descriptor shows no change under way.
func settled(d *shard.Descriptor) bool {
	for _, r := range d.Replicas {
		if r.Role != shard.Voter {
			return false
		}
	}
	return true
}

// plan is a step for a shard at the epoch of desc.
type plan struct {
	desc *shard.Descriptor
	step operator.Step
}

// takeUnsaved returns descriptors to write as hints, at most max of them.
func (v *view) takeUnsaved(max int) []*shard.Descriptor {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []*shard.Descriptor
	for _, id := range slices.Sorted(maps.Keys(v.unsaved)) {
		if len(out) == max {
			break
		}
		delete(v.unsaved, id)
		if d, ok := v.shards.Get(id); ok {
			out = append(out, d)
		}
	}
	return out
}

// route is what clients learn of a shard.
func (v *view) routeLocked(d *shard.Descriptor) beat.Route {
	r := beat.Route{Desc: d}
	if rv := v.routes[d.ID]; rv != nil {
		r.Leader, r.Term, r.Applied, r.Bytes = rv.leader, rv.term, rv.applied, rv.bytes
	}
	return r
}

// locate returns routes in key order, beginning with the shard that holds key.
func (v *view) locate(key shard.Key, limit int) []beat.Route {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []beat.Route
	v.shards.Ascend(key, func(d *shard.Descriptor) bool {
		out = append(out, v.routeLocked(d))
		return len(out) < limit
	})
	return out
}
