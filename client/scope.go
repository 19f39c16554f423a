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
	list    scope // ring; its own fields are unused
	resting bool
	closed  bool
}

// scope is one entry of the ring. Guarded by scopes.mu.
type scope struct {
	prev, next *scope
	until      env.Time // zero: no end of its own
	cancel     context.CancelFunc
}

func newScopes(e env.Env) *scopes {
	s := &scopes{env: e, wake: e.NewEvent("client-scopes")}
	s.list.prev, s.list.next = &s.list, &s.list
	return s
}

// enter begins a scope; leave must end it.
func (s *scopes) enter(ctx context.Context, until env.Time) (context.Context, *scope) {
	ctx, cancel := context.WithCancel(ctx)
	sc := &scope{until: until, cancel: cancel}
	s.mu.Lock()
	sc.prev, sc.next = s.list.prev, &s.list
	sc.prev.next, sc.next.prev = sc, sc
	wake := s.resting
	s.resting = false
	closed := s.closed
	s.mu.Unlock()
	if closed {
		cancel()
	} else if wake {
		s.wake.Wake()
	}
	return ctx, sc
}

func (s *scopes) leave(sc *scope) {
	s.mu.Lock()
	sc.prev.next, sc.next.prev = sc.next, sc.prev
	s.mu.Unlock()
	sc.cancel()
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
			sc.cancel()
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
		sc.cancel()
	}
}
