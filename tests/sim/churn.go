package sim

import (
	"context"
	"time"
)

// churn is what an administrator and placement do all day, faults or not: leaders are handed over, shards are split. Its
// pace is a knob of its own, so that a fault meets one of them half done in most worlds.
var churn = []func(c *cluster){
	(*cluster).transfer,
	(*cluster).split,
}

// stir does one of them after the other until the phase is over.
func (c *cluster) stir(until time.Duration) {
	if c.knobs.Churn == 0 {
		return
	}
	c.env.Go("churn", func() {
		for c.w.Now() < until {
			churn[c.w.IntN(len(churn))](c)
			_ = c.env.Sleep(context.Background(), c.w.Between(c.knobs.Churn/4, c.knobs.Churn))
		}
	})
}
