package schedule

import (
	"slices"
	"time"

	"github.com/skerrydb/skerry/shard"
)

// recent remembers which replicas were moved to balance, from where and to where. For a while none is moved on from
// where it was brought, and none back to where it was: not because sizes reach placement late, not because a bigger shard
// that was moved since changed what is best, and not over and over because an operator fails. Other replicas of the same
// shard may be moved. It forgets the oldest when it is full.
type recent struct {
	stores map[shard.ID][]shard.StoreID
	order  []movedAt // by time
}

type movedAt struct {
	id       shard.ID
	from, to shard.StoreID
	at       time.Duration
}

func (r *recent) note(m movedAt) {
	r.stores[m.id] = append(r.stores[m.id], m.from, m.to)
	r.order = append(r.order, m)
}

// forget drops what happened before a time, and the oldest of too many.
func (r *recent) forget(before time.Duration) {
	n := 0
	for ; n < len(r.order) && (r.order[n].at < before || len(r.order)-n > maxBacklog); n++ {
		id := r.order[n].id
		if left := r.stores[id][2:]; len(left) > 0 { // the oldest of this shard
			r.stores[id] = left
		} else {
			delete(r.stores, id)
		}
	}
	r.order = slices.Delete(r.order, 0, n)
}
