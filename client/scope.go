package client

import (
	"context"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// sweepInterval is how often attempts are checked for having taken too long: it is the accuracy of their timeouts.
const sweepInterval = 50 * time.Millisecond

// scopes ends what takes too long. Everything that waits for the world runs in a scope: a context of its own that ends
// with the caller's, at a time by the clock of env, and when the DB closes. One task sweeps over all of them, because a
// timer per attempt would cost more, and could not be simulated.
type scopes struct {
	env  env.Env
	wake env.Event // ends the sweeper's rest

	mu      sync.Mutex
	list    scope    // ring; its own fields are unused
	free    []*scope // that ended well, to be used again
	resting bool
	closed  bool
}

// scope is one entry of the ring. Guarded by scopes.mu.
type scope struct {
	prev, next *scope
	until      env.Time // zero: no end of its own
	ctx        *env.Scope
}

// maxFreeScopes are kept for as many calls at once.
const maxFreeScopes = 1024

func newScopes(e env.Env) *scopes {
	s := &scopes{env: e, wake: e.NewEvent("client-scopes")}
	s.list.prev, s.list.next = &s.list, &s.list
	return s
}

// enter begins a scope; leave must end it. Nothing may use its context after that.
func (s *scopes) enter(ctx context.Context, until env.Time) (context.Context, *scope) {
	s.mu.Lock()
	sc := s.takeLocked(ctx)
	sc.until = until
	sc.prev, sc.next = s.list.prev, &s.list
	sc.prev.next, sc.next.prev = sc, sc
	wake := s.resting
	s.resting = false
	closed := s.closed
	s.mu.Unlock()
	if closed {
		sc.ctx.End()
	} else if wake {
		s.wake.Wake()
	}
	return sc.ctx, sc
}

// takeLocked makes a scope, or takes one that nobody uses.
func (s *scopes) takeLocked(ctx context.Context) *scope {
	if n := len(s.free); n > 0 {
		sc := s.free[n-1]
		s.free[n-1] = nil
		s.free = s.free[:n-1]
		if sc.ctx.Reuse(ctx) {
			return sc
		}
	}
	return &scope{ctx: env.NewScope(ctx)}
}

func (s *scopes) leave(sc *scope) {
	s.mu.Lock()
	sc.prev.next, sc.next.prev = sc.next, sc.prev
	again := len(s.free) < maxFreeScopes && sc.ctx.Reuse(context.Background()) // which holds nothing of the caller's
	if again {
		s.free = append(s.free, sc)
	}
	s.mu.Unlock()
	if !again {
		sc.ctx.End()
	}
}

// run sweeps until ctx ends.
func (s *scopes) run(ctx context.Context) {
	for ctx.Err() == nil {
		if s.sweep(s.env.Now()) {
			_ = s.env.Sleep(ctx, sweepInterval)
		} else {
			_ = s.wake.Wait(ctx, 0)
		}
	}
}

// sweep ends what is overdue and reports whether anything is under way.
func (s *scopes) sweep(now env.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sc := s.list.next; sc != &s.list; sc = sc.next {
		if sc.until != 0 && sc.until <= now {
			sc.ctx.End()
		}
	}
	s.resting = s.list.next == &s.list
	return !s.resting
}

// close ends all scopes, also those that begin later.
func (s *scopes) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for sc := s.list.next; sc != &s.list; sc = sc.next {
		sc.ctx.End()
	}
}
