package e2e

import (
	"context"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// skew is what is wrong with a node's clocks. The zero value is right.
type skew struct {
	Wall time.Duration // added to the wall clock
	Rate float64       // how much faster the monotonic clock runs: 0.02 is two percent
}

// skewedEnv is the real world seen by a machine whose clocks are wrong. The monotonic clock never goes back and never
// jumps, also when the skew changes: only its rate does. Everything that waits waits by that clock.
type skewedEnv struct {
	env.Real

	mu          sync.RWMutex
	skew        skew
	real, local env.Time // the same moment on the real clock and on this one, when the skew was set
}

func newSkewedEnv(s skew) *skewedEnv {
	now := env.Real{}.Now()
	return &skewedEnv{skew: s, real: now, local: now}
}

// set changes the skew from now on.
func (e *skewedEnv) set(s skew) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.Real.Now()
	e.local, e.real, e.skew = e.at(now), now, s
}

// at is this clock's reading when the real one says now. The caller holds mu.
func (e *skewedEnv) at(now env.Time) env.Time {
	passed := now.Sub(e.real)
	return e.local.Add(passed + time.Duration(float64(passed)*e.skew.Rate))
}

// stretch is how long d of this clock takes on the real one.
func (e *skewedEnv) stretch(d time.Duration) time.Duration {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return time.Duration(float64(d) / (1 + e.skew.Rate))
}

// Now implements env.Env.
func (e *skewedEnv) Now() env.Time {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.at(e.Real.Now())
}

// Wall implements env.Env.
func (e *skewedEnv) Wall() time.Time {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return time.Now().Add(e.skew.Wall)
}

// Sleep implements env.Env.
func (e *skewedEnv) Sleep(ctx context.Context, d time.Duration) error {
	return e.Real.Sleep(ctx, e.stretch(d))
}

// WithTimeout implements env.Env.
func (e *skewedEnv) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, e.stretch(d))
}

// NewEvent implements env.Env.
func (e *skewedEnv) NewEvent(name string) env.Event {
	return &skewedEvent{Event: e.Real.NewEvent(name), env: e}
}

type skewedEvent struct {
	env.Event
	env *skewedEnv
}

// Wait implements env.Event.
func (v *skewedEvent) Wait(ctx context.Context, d time.Duration) error {
	return v.Event.Wait(ctx, v.env.stretch(d))
}
