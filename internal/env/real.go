package env

import (
	"context"
	"math/rand/v2"
	"runtime"
	"time"
)

// Real is the world outside: the runtime's clock, scheduler and randomness.
type Real struct{}

var _ Env = Real{}

// Wall is time.Now.
func (Real) Wall() time.Time { return time.Now() }

// Rand is the runtime's generator, seeded by the system.
func (Real) Rand() uint64 { return rand.Uint64() }

// Go is the go statement.
func (Real) Go(_ string, f func()) { go f() }

// Sleep waits on a timer and on ctx.
func (Real) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Yield lets Go's scheduler run others.
func (Real) Yield() { runtime.Gosched() }

// Call calls f.
func (Real) Call(_ string, f func()) { f() }

// WithTimeout is context.WithTimeout.
func (Real) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// NewEvent makes an Event over a channel of one token.
func (Real) NewEvent(string) Event { return &realEvent{token: make(chan struct{}, 1)} }

type realEvent struct{ token chan struct{} }

func (e *realEvent) Wake() {
	select {
	case e.token <- struct{}{}:
	default: // a token is pending already: the waiter will see everything that was done before it
	}
}

func (e *realEvent) Wait(ctx context.Context, d time.Duration) error {
	select {
	case <-e.token:
		return nil
	default:
	}
	if d <= 0 {
		if s, ok := ctx.(*Scope); ok {
			return e.waitIn(s)
		}
		select {
		case <-e.token:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-e.token:
		return nil
	case <-t.C:
		return ErrTimeout
	case <-ctx.Done():
		return ctx.Err()
	}
}
