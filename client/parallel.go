package client

import (
	"context"
	"sync/atomic"

	"github.com/skerrydb/skerry/internal/env"
)

// maxParallel bounds how many parts of one call are under way at once: enough to keep every store of a middling cluster
// busy, few enough that one call does not fill the queues of others.
const maxParallel = 16

// parallel calls f(0) … f(n-1), several at a time, and returns when all have returned. The caller's task takes its
// share, so a call of one part starts no task.
func parallel(e env.Env, n int, f func(i int)) {
	var next, running atomic.Int64
	work := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			f(i)
		}
	}
	helpers := min(n, maxParallel) - 1
	if helpers <= 0 {
		work()
		return
	}
	done := e.NewEvent("client-parts")
	running.Store(int64(helpers))
	for range helpers {
		e.Go("client-part", func() {
			work()
			if running.Add(-1) == 0 {
				done.Wake()
			}
		})
	}
	work()
	// f returns soon after its own context ends, so this wait needs none.
	for running.Load() > 0 {
		_ = done.Wait(context.Background(), 0)
	}
}
