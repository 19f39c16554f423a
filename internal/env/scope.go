package env

import (
	"context"
	"sync"
	"time"
)

// Scope is a context that ends with its parent, or when End is called. It is for waits that are made by the ten thousand: an
// Event of Real waits for it without what context.WithCancel allocates, and it can be used again. Whoever else asks for
// its Done has it made then.
type Scope struct {
	parent context.Context
	ended  chan struct{}

	mu     sync.Mutex
	over   bool
	inner  context.Context // of those who asked for Done; nil: nobody did
	cancel context.CancelFunc
}

var _ context.Context = (*Scope)(nil)

// NewScope makes a scope under parent.
func NewScope(parent context.Context) *Scope {
	return &Scope{parent: parent, ended: make(chan struct{})}
}

// End ends the scope, once or more.
func (s *Scope) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.over = true
	close(s.ended)
	if s.inner != nil {
		s.cancel()
	}
}

// Reuse makes a scope that nobody uses any more one under another parent. It reports false if that cannot be, because it was
// ended, or because somebody may still watch it; then it is to be ended, and to be forgotten.
func (s *Scope) Reuse(parent context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.inner != nil {
		return false
	}
	s.parent = parent
	return true
}

// Deadline implements context.Context.
func (s *Scope) Deadline() (time.Time, bool) { return s.parent.Deadline() }

// Value implements context.Context.
func (s *Scope) Value(key any) any { return s.parent.Value(key) }

// Done implements context.Context.
func (s *Scope) Done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner == nil {
		s.inner, s.cancel = context.WithCancel(s.parent)
		if s.over {
			s.cancel()
		}
	}
	return s.inner.Done()
}

// Err implements context.Context.
func (s *Scope) Err() error {
	if err := s.parent.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return context.Canceled
	}
	return nil
}

// waitIn takes a token before the scope ends.
func (e *realEvent) waitIn(s *Scope) error {
	select {
	case <-e.token:
		return nil
	case <-s.ended:
	case <-s.parent.Done():
	}
	return s.Err()
}
