package client

import (
	"slices"
	"sync"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// routes is what the client believes: which shard holds which keys, who leads it, where the stores are. All of it may
// be wrong; stores refuse what was cut by a wrong belief, and say what is right. Safe for concurrent use; no method
// blocks.
type routes struct {
	mu     sync.Mutex
	shards *shard.Map
	// hints has an entry per shard of shards at most.
	hints  map[shard.ID]*lead
	stores map[shard.StoreID]beat.Store
}

// lead is who leads a shard, and what a write to it must name.
type lead struct {
	leader shard.Replica // zero: unknown. Its store stands here because it may be newer than the descriptor
	// term is the newest in which somebody led, as far as heard from a store; applied is the largest applied index. Both
	// only grow, but for resetTerm.
	term, applied uint64
}

// route is a shard and its lead at one moment.
type route struct {
	desc *shard.Descriptor
	lead
}

// target is the keys that a part of a call touches. The part fits a shard that contains all of them.
type target struct {
	first, last shard.Key // the smallest and the largest
	// end, if not empty, is the end of a range to be deleted; as an end it may be the shard's.
	end shard.Key
	// before looks for the shard of the keys just below first: a reverse scan begins there.
	before bool
}

func keyTarget(k shard.Key) target { return target{first: k, last: k} }

// fits reports whether d contains all keys of t.
func (t *target) fits(d *shard.Descriptor) bool {
	return (t.last == nil || d.Range.Contains(t.last)) && (t.end == nil || d.Range.CompareEnd(t.end) >= 0)
}

func newRoutes() *routes {
	return &routes{shards: shard.NewMap(), hints: make(map[shard.ID]*lead), stores: make(map[shard.StoreID]beat.Store)}
}

// find returns the route of a target's first key.
func (r *routes) find(t *target) (route, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.lookupLocked(t)
	if !ok {
		return route{}, false
	}
	return r.routeLocked(d), true
}

func (r *routes) lookupLocked(t *target) (*shard.Descriptor, bool) {
	if !t.before {
		return r.shards.Lookup(t.first)
	}
	if d, ok := r.shards.Lookup(t.first); ok && d.Range.Start.Compare(t.first) < 0 {
		return d, true
	}
	return r.shards.Lookup(justBefore(t.first))
}

// justBefore returns a key such that no bound of a shard lies between it and end: the largest key below end, or, where
// there is none, one that is longer than every bound may be.
func justBefore(end shard.Key) shard.Key {
	last := len(end) - 1
	if end[last] == 0 {
		return end[:last]
	}
	k := make(shard.Key, shard.MaxKeyBytes+4)
	n := copy(k, end)
	k[last]--
	for i := n; i < len(k); i++ {
		k[i] = 0xff
	}
	return k
}

func (r *routes) routeLocked(d *shard.Descriptor) route {
	if h := r.hints[d.ID]; h != nil {
		return route{desc: d, lead: *h}
	}
	return route{desc: d}
}

// get returns the route of a shard by id, if the client still believes in that shard.
func (r *routes) get(id shard.ID) (route, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.shards.Get(id)
	if !ok {
		return route{}, false
	}
	return r.routeLocked(d), true
}

// address says where a store listens.
func (r *routes) address(id shard.StoreID) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok := r.stores[id]
	return s.Addr, ok && s.Addr != ""
}

// addresses are those of all stores, sorted.
func (r *routes) addresses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	// in any order: sorted below
	for _, s := range r.stores {
		if s.Addr != "" {
			out = append(out, s.Addr)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// apply takes what placement says. A full picture replaces everything but what stores said that is newer.
func (r *routes) apply(in *beat.Routes) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.shards
	if in.Full {
		r.shards = shard.NewMap()
		clear(r.stores)
	}
	for _, s := range in.Stores {
		r.stores[s.ID] = s
	}
	for i := range in.Routes {
		r.insertLocked(in.Routes[i].Desc)
	}
	if in.Full {
		r.keepNewerLocked(old)
	}
	for i := range in.Routes {
		rt := &in.Routes[i]
		if rt.Desc == nil {
			continue
		}
		if rep, ok := rt.Desc.Replica(rt.Leader); ok {
			r.toldLocked(rt.Desc.ID, rep, rt.Term)
			r.appliedLocked(rt.Desc.ID, rt.Applied)
		}
	}
}

// keepNewerLocked puts what was known before a full picture, and is newer, back over it. Where the picture has a gap, the
// shards that were there are gone.
func (r *routes) keepNewerLocked(old *shard.Map) {
	picture := r.shards.Copy()
	old.Ascend(nil, func(d *shard.Descriptor) bool {
		if len(picture.Overlapping(d.Range)) > 0 {
			r.insertLocked(d)
		}
		return true
	})
	// in any order: what was found would be deleted either way
	for id := range r.hints {
		if _, ok := r.shards.Get(id); !ok {
			delete(r.hints, id)
		}
	}
}

// insert takes descriptors that a store sent. Whoever led a shard that was split is the first to lead each part: that is led, or zero if it
// is not known.
func (r *routes) insert(descs []*shard.Descriptor, led shard.StoreID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range descs {
		r.insertLocked(d)
		if d == nil || r.hints[d.ID] != nil {
			continue
		}
		if rep, ok := d.ReplicaOn(led); ok {
			r.leadsLocked(d.ID, rep, 0)
		}
	}
}

func (r *routes) insertLocked(d *shard.Descriptor) {
	if d == nil || d.Validate() != nil {
		return
	}
	_, evicted := r.shards.Insert(d)
	for _, e := range evicted {
		delete(r.hints, e.ID)
	}
}

// heard takes the term and index of a reply of the shard's leader.
func (r *routes) heard(id shard.ID, from shard.Replica, term, applied uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if term != 0 {
		r.leadsLocked(id, from, term)
	}
	r.appliedLocked(id, applied)
}

// hintLocked returns the hint of a shard that the client knows, or nil.
func (r *routes) hintLocked(id shard.ID) *lead {
	h := r.hints[id]
	if h == nil {
		if _, ok := r.shards.Get(id); !ok {
			return nil
		}
		h = &lead{}
		r.hints[id] = h
	}
	return h
}

// leadsLocked notes that a replica leads, or led, in a term. Only terms in which somebody led count: a replica that
// cannot reach the others may count terms on its own.
func (r *routes) leadsLocked(id shard.ID, rep shard.Replica, term uint64) {
	if h := r.hintLocked(id); h != nil && rep.ID != 0 && term >= h.term {
		h.leader, h.term = rep, term
	}
}

// toldLocked takes placement's word for who leads. A term has one leader, so of a term that is known already it is no
// news, and may be about one that was forgotten because it does not answer.
func (r *routes) toldLocked(id shard.ID, rep shard.Replica, term uint64) {
	if h := r.hintLocked(id); h != nil && (term > h.term || *h == lead{}) {
		h.leader, h.term = rep, term
	}
}

func (r *routes) appliedLocked(id shard.ID, applied uint64) {
	if h := r.hintLocked(id); h != nil {
		h.applied = max(h.applied, applied)
	}
}

// answers notes that a replica spoke as the leader, in a term that it did not tell.
func (r *routes) answers(id shard.ID, from shard.Replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hintLocked(id); h != nil {
		h.leader = from
	}
}

// notLeader takes a replica's word that it does not lead, and perhaps who does.
func (r *routes) notLeader(id shard.ID, from shard.Replica, e *shard.NotLeaderError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetLocked(id, from)
	if e.Leader.ID != from.ID {
		r.leadsLocked(id, e.Leader, e.Term)
	}
}

// forgetLeader drops the belief that a replica leads.
func (r *routes) forgetLeader(id shard.ID, rep shard.Replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetLocked(id, rep)
}

func (r *routes) forgetLocked(id shard.ID, rep shard.Replica) {
	if h := r.hints[id]; h != nil && h.leader.ID == rep.ID {
		h.leader = shard.Replica{}
	}
}

// resetTerm believes a leader whose term is below the one that was heard of before. What a write names is checked by
// the leader, so naming too little is never wrong; it only may be refused.
func (r *routes) resetTerm(id shard.ID, from shard.Replica, term, applied uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.hintLocked(id); h != nil {
		*h = lead{leader: from, term: term, applied: applied}
	}
}
