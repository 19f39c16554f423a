package placement

import (
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
)

// What each store holds is counted as shards come, change and get operators, so that the schedulers need no walk over a
// million shards to know it.
//
// INVARIANT: tally is the sum of counted, and counted[id] is what the shard's descriptor, leader, size and operator make
// of it; whoever changes one of these calls recountLocked.

// load is what a store holds.
type load struct {
	shards, leaders int
	bytes           uint64
	work            float64 // of busy shards, see schedule.Busy
}

// share is what one shard adds to the loads: one replica of so many bytes to each of its stores, and a leader to one.
type share struct {
	stores []shard.StoreID
	leader shard.StoreID
	bytes  uint64
	// work is what the leader has to do in a second, follow what each of the others has.
	work, follow float32
}

// shareLocked is what a shard adds, with its operator taken as done. Requires mu.
func (v *view) shareLocked(id shard.ID) (share, bool) {
	d, ok := v.shards.Get(id)
	if !ok {
		return share{}, false
	}
	var s share
	if rv := v.routes[id]; rv != nil {
		s.bytes, s.leader = rv.bytes, rv.store
		s.work, s.follow = schedule.Busy(rv.rates.Work(), rv.rates.Follow())
	}
	o := v.book.Of(id)
	if o == nil {
		for _, r := range d.Replicas {
			s.stores = append(s.stores, r.Store)
		}
		return s, true
	}
	s.stores = operator.Targets(d, o.Goal)
	switch {
	case o.Goal.Leader != 0:
		s.leader = o.Goal.Leader
	case !slices.Contains(s.stores, s.leader):
		s.leader = 0 // one of those that stay, nobody knows which
	}
	return s, true
}

// recountLocked brings the loads up to date with one shard. Requires mu.
func (v *view) recountLocked(id shard.ID) {
	v.countLocked(v.counted[id], -1)
	s, ok := v.shareLocked(id)
	if !ok {
		delete(v.counted, id)
		return
	}
	v.counted[id] = s
	v.countLocked(s, 1)
}

func (v *view) countLocked(s share, n int) {
	for _, st := range s.stores {
		l := v.heldLocked(st)
		l.shards += n
		l.bytes += uint64(n) * s.bytes
		l.work += float64(n) * float64(s.follow)
	}
	if s.leader != 0 {
		l := v.heldLocked(s.leader)
		l.leaders += n
		l.work += float64(n) * (float64(s.work) - float64(s.follow))
	}
}

// heldLocked is the load of a store. Requires mu.
func (v *view) heldLocked(id shard.StoreID) *load {
	l := v.tally[id]
	if l == nil {
		l = &load{}
		v.tally[id] = l
	}
	return l
}
