package env

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestScopeEnds: a wait in a scope ends with the token, with the scope, and with its parent; so does whoever watches Done.
func TestScopeEnds(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	for name, c := range map[string]struct {
		end  func(s *Scope, e Event)
		want error
	}{
		"token":  {func(_ *Scope, e Event) { e.Wake() }, nil},
		"scope":  {func(s *Scope, _ Event) { s.End(); s.End() }, context.Canceled},
		"parent": {func(*Scope, Event) { cancel() }, context.Canceled},
	} {
		for _, watched := range []bool{false, true} {
			s, e := NewScope(parent), Real{}.NewEvent("test")
			if watched {
				s.Done()
			}
			time.AfterFunc(5*time.Millisecond, func() { c.end(s, e) })
			if err := e.Wait(s, 0); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
			if c.want != nil {
				<-s.Done()
				if s.Err() == nil {
					t.Errorf("%s: it ended without an error", name)
				}
			}
			if name == "parent" {
				parent, cancel = context.WithCancel(context.Background())
			}
		}
	}
	cancel()
}

// TestScopeReuse: a scope that ended, or that somebody may still watch, is not used again.
func TestScopeReuse(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	s := NewScope(gone)
	cancel()
	if !s.Reuse(context.Background()) || s.Err() != nil {
		t.Fatalf("a scope whose parent ended: %v", s.Err())
	}
	s.Done()
	if s.Reuse(context.Background()) {
		t.Error("somebody watches it")
	}
	s = NewScope(context.Background())
	s.End()
	if s.Reuse(context.Background()) {
		t.Error("it ended")
	}
}
