package env

import (
	"context"
	"sync"
)

// Group waits for tasks as sync.WaitGroup does, but blocks in an Env. Make it with NewGroup. Safe for concurrent use; one
// task at a time may Wait.
type Group struct {
	ended Event

	mu sync.Mutex
	n  int
}

// NewGroup makes a group without tasks.
func NewGroup(e Env, name string) *Group { return &Group{ended: e.NewEvent(name)} }

// Add counts one more task.
func (g *Group) Add() {
	g.mu.Lock()
	g.n++
	g.mu.Unlock()
}

// Done counts one task less.
func (g *Group) Done() {
	g.mu.Lock()
	g.n--
	last := g.n == 0
	if g.n < 0 {
		panic("env: more tasks of a group ended than began")
	}
	g.mu.Unlock()
	if last {
		g.ended.Wake()
	}
}

// Wait returns when the group has no tasks. Those who still Add meanwhile must know that it has begun.
func (g *Group) Wait() {
	for {
		g.mu.Lock()
		n := g.n
		g.mu.Unlock()
		if n == 0 {
			return
		}
		_ = g.ended.Wait(context.Background(), 0)
	}
}
