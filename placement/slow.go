package placement

import (
	"slices"
	"time"

	"github.com/skerrydb/skerry/shard"
)

// A store whose disk or network is slow makes everybody wait for whom it leads, and nobody else: as a follower it is
// outvoted. So its leaderships move away, and its replicas stay. (TiKV's slow scores; here against the other stores,
// because what is slow on one machine is usual on another.)
const (
	// Defaults of patience. slowSync is a sync that users notice, and slowTimes how many times the median of all stores it must take besides.
	slowSync  = 100 * time.Millisecond
	slowTimes = 8
	// slowTrip is the same of the way to another store and back.
	slowTrip = 100 * time.Millisecond
	// A store is slow after slowLooks looks in a row, a second apart, that found it so, and not any more after fastLooks
	// that did not: a store that is relieved of its leaderships looks faster at once. Together with the second until it is
	// reported, and the one until its leaders hear what to do, slowLooks keep within ten.
	slowLooks = 4
	fastLooks = 60
	// silentAfter without a heartbeat to placement a store is not judged by its ways: the others count its silence as time on
	// the way, and it may be stopped for a restart. If it stays away, it is suspected.
	silentAfter = 2 * time.Second
)

// slowness is what the looks at one store found.
type slowness struct {
	is    bool
	looks int // in a row that speak against what it is held for
}

// look takes one more.
func (s *slowness) look(slow bool) {
	if slow == s.is {
		s.looks = 0
		return
	}
	s.looks++
	if s.is && s.looks >= fastLooks || !s.is && s.looks >= slowLooks {
		s.is, s.looks = slow, 0
	}
}

// lookForSlowLocked compares the stores' disks, and their networks. Requires mu.
func (v *view) lookForSlowLocked(ids []shard.StoreID) {
	syncs, trips := make(map[shard.StoreID]time.Duration), v.tripsLocked(ids)
	for _, id := range ids {
		if sv := v.stores[id]; sv.state.live() && sv.last.SyncTime > 0 {
			syncs[id] = sv.last.SyncTime
		}
	}
	slowDisk, slowNet := max(v.patience.slowSync, slowTimes*median(syncs)), max(v.patience.slowTrip, slowTimes*median(trips))
	for _, id := range ids {
		sv := v.stores[id]
		if len(syncs) > 0 {
			sv.slow.look(syncs[id] > slowDisk)
		}
		if len(trips) > 0 {
			sv.far.look(trips[id] > slowNet)
		}
	}
}

// tripsLocked is the way to each store: the median over the other stores of the way between the two, as the one of them says
// that says more. So one bad link between two stores is nobody's fault, and a store all of whose links are bad does not make
// the others look so. Stores of which fewer than two others know are left out: of two, nobody can tell whose fault it is.
// Requires mu.
func (v *view) tripsLocked(ids []shard.StoreID) map[shard.StoreID]time.Duration {
	type pair struct{ a, b shard.StoreID }
	links := make(map[pair]time.Duration)
	now := v.env.Now()
	heard := func(sv *storeView) bool { return sv.state.live() && now.Sub(sv.seen) < silentAfter }
	for _, id := range ids {
		sv := v.stores[id]
		if !heard(sv) {
			continue
		}
		for _, t := range sv.last.Trips {
			if o := v.stores[t.Store]; o == nil || !heard(o) || t.Store == id {
				continue
			}
			p := pair{min(id, t.Store), max(id, t.Store)}
			links[p] = max(links[p], time.Duration(min(t.Micros, maxTripMicros))*time.Microsecond)
		}
	}
	of := make(map[shard.StoreID][]time.Duration)
	// in any order: each store's are sorted below
	for p, d := range links {
		of[p.a], of[p.b] = append(of[p.a], d), append(of[p.b], d)
	}
	out := make(map[shard.StoreID]time.Duration)
	// in any order: into a map
	for id, ds := range of {
		if len(ds) >= 2 {
			slices.Sort(ds)
			out[id] = ds[(len(ds)-1)/2]
		}
	}
	return out
}

// maxTripMicros is an hour: nobody who is live is further away.
const maxTripMicros = 3600e6

// median is the lower one, 0 of nothing.
func median(of map[shard.StoreID]time.Duration) time.Duration {
	if len(of) == 0 {
		return 0
	}
	var all []time.Duration
	// in any order: sorted below
	for _, d := range of {
		all = append(all, d)
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}
