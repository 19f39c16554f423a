package schedule

import (
	"time"

	"github.com/skerrydb/skerry/shard"
)

// recent remembers which shards were moved to balance and when, so that none is moved again soon: not because sizes
// reach placement late, not because a bigger shard that was moved since changed what is best, and not over and over
// because an operator fails. It forgets the oldest when it is full.
type recent struct {
	at    map[shard.ID]time.Duration
	order []movedAt // by time
}

type movedAt struct {
	id shard.ID
	at time.Duration
}

func (r *recent) note(id shard.ID, now time.Duration) {
	r.at[id] = now
	r.order = append(r.order, movedAt{id: id, at: now})
}

// forget drops what happened before a time, and the oldest of too many.
func (r *recent) forget(before time.Duration) {
	n := 0
	for n < len(r.order) && (r.order[n].at < before || len(r.order)-n > maxBacklog) {
		if o := r.order[n]; r.at[o.id] == o.at {
			delete(r.at, o.id)
		}
		n++
	}
	r.order = append(r.order[:0], r.order[n:]...)
}

func (r *recent) has(id shard.ID) bool {
	_, ok := r.at[id]
	return ok
}
