package placement

import (
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// observeRateLocked takes what a leader says its shard is asked for. Only the leader that is known counts; what an earlier
// one said holds until then, because a new one needs some seconds to know. Requires mu.
func (v *view) observeRateLocked(store shard.StoreID, r *beat.Rate) {
	rv := v.routes[r.Shard]
	if rv == nil || rv.store != store || rv.term != r.Term || rv.rates == r.Rates {
		return
	}
	rv.rates = r.Rates
	v.recountLocked(r.Shard)
}
