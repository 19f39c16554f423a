package placement

import (
	"maps"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// view is a leader's picture of the cluster: stores and shards, from records first, from heartbeats as they come.
// Safe for concurrent use; mu is a leaf.
type view struct {
	env   env.Env
	begun env.Time

	mu       sync.Mutex
	patience patience
	stores   map[shard.StoreID]*storeView
	shards   *shard.Map
	routes   map[shard.ID]*routeView
	// pending are the replicas of the first shards that were not yet reported as created.
	pending map[shard.StoreID]map[shard.ID]*shard.Descriptor
	// unsaved are shards whose descriptor changed since it was last written as a hint.
	unsaved map[shard.ID]bool
	// book holds the operators; steps are what was planned for their shards and shows no effect yet.
	book  *operator.Book
	steps map[shard.ID]*operator.Track
	// tally counts what every store holds, with operators taken as done; counted is what each shard added to it.
	tally   map[shard.StoreID]*load
	counted map[shard.ID]share
	// splits are the keys at which shards must be split before a placement rule can hold for their parts.
	splits map[shard.ID][]shard.Key
	// touched are shards of which something changed since the schedulers last looked.
	touched map[shard.ID]bool
	// over are operators that ended since somebody asked.
	over     []*operator.Operator
	watchers []*watcher
	ended    bool

	coverage *fsm.Coverage // nil in production
	// illegal is told of an order of events that no table of states knows. It is called with mu held.
	illegal func(error)
}

type storeView struct {
	record storeRecord
	state  storeState // see storeTable; as of the last look
	seen   env.Time   // of its last heartbeat to this leader; 0: none yet
	last   beat.Report
	taken  uint64   // the number of the last report that was taken, all changes before it known; see observe
	slow   slowness // of its disk
	far    slowness // of its network
}

type routeView struct {
	leader  shard.ReplicaID
	store   shard.StoreID
	term    uint64
	applied uint64
	bytes   uint64
	rates   beat.Rates // as its leader last said, or the one before it
}

func newView(e env.Env, c *fsm.Coverage) *view {
	return &view{coverage: c, book: operator.NewBook(operator.Limits{}, c), tally: make(map[shard.StoreID]*load), counted: make(map[shard.ID]share), env: e, begun: e.Now(), patience: patience{downAfter, slowSync, slowTrip}, stores: make(map[shard.StoreID]*storeView), shards: shard.NewMap(),
		routes: make(map[shard.ID]*routeView), pending: make(map[shard.StoreID]map[shard.ID]*shard.Descriptor),
		unsaved: make(map[shard.ID]bool), touched: make(map[shard.ID]bool),
		steps: make(map[shard.ID]*operator.Track), illegal: func(err error) { panic(err) }}
}

func (v *view) loadStore(r storeRecord) {
	v.mu.Lock()
	defer v.mu.Unlock()
	sv := v.stores[r.id]
	if sv == nil {
		sv = &storeView{}
		v.stores[r.id] = sv
	}
	v.recordLocked(sv, r)
	v.wakeLocked(0)
}

func (v *view) loadShard(d *shard.Descriptor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.insertLocked(d)
	v.wakeLocked(d.ID)
}

// insertLocked takes a descriptor, if it is not older than what is known, and forgets the shards that it takes the place
// of. Requires mu.
func (v *view) insertLocked(d *shard.Descriptor) (kept bool) {
	kept, evicted := v.shards.Insert(d)
	for _, e := range evicted {
		if e.ID != d.ID {
			v.forgetLocked(e.ID)
		}
	}
	if kept {
		v.recountLocked(d.ID)
	}
	return kept
}

// forgetLocked drops what was known of a shard that is no more. Requires mu.
func (v *view) forgetLocked(id shard.ID) {
	delete(v.routes, id)
	delete(v.unsaved, id)
	v.endLocked(v.book.Of(id), operator.OpSupersede, "the shard is no more")
	v.recountLocked(id)
}

// expect notes which replicas of the first shards are still to be created.
func (v *view) expect(ds []*shard.Descriptor) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, d := range ds {
		for _, r := range d.Replicas {
			if sv := v.stores[r.Store]; sv != nil && sv.record.removed {
				continue
			}
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

// observe takes a report. It says whether a full one is needed, because changes before it are not known.
//
// INVARIANT: all that a store said of what it leads up to its last report that was taken is known here. A full report that
// arrives late, after the leadership that its followers went to, would be taken for the newest, and what changed between it
// and the next one never be heard.
func (v *view) observe(r *beat.Report) (needFull bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	sv := v.stores[r.Store]
	if sv == nil {
		return true
	}
	again := r.Incarnation == sv.last.Incarnation
	if r.Number != 0 && again && r.Number < sv.taken {
		return false // its sender has gone on since, and nobody waits for the answer
	}
	needFull = !r.Full && (sv.seen == 0 || r.Number != 0 && !(again && (r.Since == sv.taken || r.Number == sv.taken)))
	switch {
	case !needFull:
		v.heardLocked(sv)
		sv.taken = r.Number
	case !again:
		sv.taken = 0
	}
	moved := sv.record.addr != r.Addr
	sv.last = *r
	sv.last.Led, sv.last.Replicas, sv.last.Created, sv.last.Rates = nil, nil, nil, nil
	sv.record.addr = r.Addr
	for _, id := range r.Created {
		delete(v.pending[r.Store], id)
	}
	for _, h := range r.Replicas {
		// INVARIANT: a replica that a message gave birth to is not created yet. Its shard may have no other one with data that
		// lives, and nobody else brings it any.
		if h.Born {
			delete(v.pending[r.Store], h.Shard)
		}
	}
	if len(v.pending[r.Store]) == 0 {
		delete(v.pending, r.Store)
	}
	for i := range r.Led {
		v.observeLedLocked(r.Store, &r.Led[i])
	}
	for i := range r.Rates {
		v.observeRateLocked(r.Store, &r.Rates[i])
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
	if !v.insertLocked(l.Desc) {
		return
	}
	if !known || old.Epoch != l.Desc.Epoch {
		v.unsaved[l.Desc.ID] = true
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
	v.recountLocked(l.Desc.ID)
	v.followLocked(l)
	if changed {
		v.touchLocked(l.Desc.ID)
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
	for _, id := range v.storeIDsLocked() {
		sv := v.stores[id]
		seen := max(sv.seen, v.begun)
		out = append(out, beat.Store{ID: id, Addr: sv.record.addr, State: v.stateLocked(sv, now), SeenAgo: now.Sub(seen),
			Used: sv.last.Used, Free: sv.last.Free, Capacity: sv.last.Capacity, Shards: max(sv.last.Shards, v.heldLocked(id).shards), Leaders: sv.last.Leaders, Unheard: sv.seen == 0,
			Incarnation: sv.last.Incarnation, Version: sv.last.Version, Draining: sv.record.draining && !sv.record.removed, Evicting: sv.record.evicting && !sv.record.removed,
			Labels: sv.record.labels, Bytes: v.heldLocked(id).bytes, SlowDisk: sv.slow.is, SlowNet: sv.far.is})
	}
	return out
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
		r.Reads, r.Writes = rv.rates.Reads, rv.rates.Writes
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
