package placement

import (
	"fmt"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// asksOfStores reports whether an order is judged by which stores are up and what they hold.
func asksOfStores(o *beat.Order) bool {
	return o.Move != nil || o.Transfer != nil || o.Scatter != nil || o.Drain != nil || o.Remove != nil || o.Explain != nil || o.Plan != nil
}

// acquainted is nil when a leader has heard every store, or has given it as long as it takes to be suspected.
//
// INVARIANT: no administrator is refused, and none is let through, for what a leader does not know yet. To one that has just
// begun, a store that serves looks like one that is silent: a drain would be refused for lack of room, and a store that is
// up and holds replicas could be removed.
func (v *view) acquainted() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.env.Now().Sub(v.begun) > suspectAfter {
		return nil
	}
	for _, id := range v.storeIDsLocked() {
		if sv := v.stores[id]; sv.seen == 0 && !sv.record.removed {
			return &shard.ServerBusyError{Why: fmt.Sprintf("this leader of placement is new and has not heard %s yet", id), Wait: acquaintWait}
		}
	}
	return nil
}
