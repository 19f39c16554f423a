package client

import (
	"context"
	"sync"

	"github.com/skerrydb/skerry/internal/env"
)

// ahead fetches pages of something before they are wanted, one after the other, in a task that rests while as many wait as may.
type ahead[P any] struct {
	ctx   context.Context // ends what is fetched and no longer wanted
	env   env.Env
	fetch func(ctx context.Context) (page P, more bool, err error)
	came  env.Event

	mu      sync.Mutex
	deep    int // pages that may wait
	waiting []fetched[P]
	running bool
	ended   bool // INVARIANT: nothing is fetched after the last page, or an error
}

// fetched is a page, or why there is none.
type fetched[P any] struct {
	page P
	more bool
	err  error
}

// fetchAhead begins to fetch. It goes on until there is no more, or ctx ends.
func fetchAhead[P any](ctx context.Context, e env.Env, deep int, fetch func(ctx context.Context) (page P, more bool, err error)) *ahead[P] {
	a := &ahead[P]{ctx: ctx, env: e, fetch: fetch, came: e.NewEvent("client-ahead"), deep: deep, running: true}
	e.Go("client-ahead", a.run)
	return a
}

func (a *ahead[P]) wantsLocked() bool { return !a.ended && len(a.waiting) < a.deep }

func (a *ahead[P]) run() {
	for again := true; again; {
		var f fetched[P]
		f.page, f.more, f.err = a.fetch(a.ctx)
		a.mu.Lock()
		a.waiting = append(a.waiting, f)
		a.ended = f.err != nil || !f.more
		again = a.wantsLocked()
		a.running = again
		a.mu.Unlock()
		a.came.Wake()
	}
}

// next waits for the next page; from then on up to deep wait. It is not called again once there is no more, or after an error.
func (a *ahead[P]) next(deep int) (page P, more bool, err error) {
	for {
		f, start, ok := a.take(deep)
		if start {
			a.env.Go("client-ahead", a.run)
		}
		if ok {
			return f.page, f.more, f.err
		}
		// fetch returns soon after its context ends, so this wait needs none.
		_ = a.came.Wait(context.Background(), 0)
	}
}

// take returns the first page that waits, and whether the task is to be started.
func (a *ahead[P]) take(deep int) (f fetched[P], start, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deep = deep
	if ok = len(a.waiting) > 0; ok {
		f = a.waiting[0]
		a.waiting = append(a.waiting[:0], a.waiting[1:]...)
	}
	start = !a.running && a.wantsLocked()
	a.running = a.running || start
	return f, start, ok
}
