package placement

import (
	"slices"
	"time"

	"github.com/skerrydb/skerry/shard"
)

// A store whose disk is slow makes everybody wait for whom it leads, and nobody else: as a follower it is outvoted. So
// its leaderships move away, and its replicas stay. (TiKV's slow score; here against the other stores, because what is
// slow on one machine is usual on another.)
const (
	// slowSync is a sync that users notice, and slowTimes how many times the median of all stores it must take besides.
	slowSync  = 100 * time.Millisecond
	slowTimes = 8
	// A store is slow after slowLooks looks in a row, a second apart, that found it so, and not any more after fastLooks
	// that did not: a store that is relieved of its leaderships looks faster at once.
	slowLooks = 10
	fastLooks = 60
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

// lookForSlowLocked compares the stores' disks. Requires mu.
func (v *view) lookForSlowLocked(ids []shard.StoreID) {
	var all []time.Duration
	for _, id := range ids {
		if sv := v.stores[id]; sv.state.live() && sv.last.SyncTime > 0 {
			all = append(all, sv.last.SyncTime)
		}
	}
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	bound := max(slowSync, slowTimes*all[(len(all)-1)/2])
	for _, id := range ids {
		sv := v.stores[id]
		sv.slow.look(sv.state.live() && sv.last.SyncTime > bound)
	}
}
