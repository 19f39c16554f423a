// Package env is the seam between Skerry and the world: time, randomness, goroutines and blocking.
//
// Production code that blocks (SDK, handlers, placement, background loops) blocks only here. In production Real passes
// everything to the runtime. In the simulator exactly one task runs at a time and a seed decides which, so a whole
// cluster replays step by step. Two rules make that possible: a goroutine's body is a loop around a step that can also
// be called once, and no mutex is held across a call of this package that may block.
package env

import (
	"context"
	"errors"
	"time"
)

// ErrTimeout is returned by Event.Wait when its time is over.
var ErrTimeout = errors.New("timeout")

// Time is a reading of the monotonic clock of one machine, in nanoseconds since an origin that differs between
// machines and between lives of a machine. It goes on while the machine is suspended where the system can tell
// (CLOCK_BOOTTIME). It never crosses the network.
type Time int64

// Add moves t by d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub is the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Env is the world as one process sees it. Safe for concurrent use.
type Env interface {
	// Now reads the monotonic clock.
	Now() Time
	// Wall reads the wall clock. Only placement (timestamps, shard time) and people's output use it.
	Wall() time.Time
	// Rand is uniformly random, from the seed in the simulator.
	Rand() uint64
	// Go starts a task. The name is for traces and goroutine labels.
	Go(name string, f func())
	// Sleep returns after d, or with ctx's error as soon as ctx is done.
	Sleep(ctx context.Context, d time.Duration) error
	// Yield lets others run first who can run now; whoever is about to take what they add takes more at once. It is no point of
	// choice in the simulator, which chooses often enough.
	Yield()
	// Call runs f, which blocks on a disk and not in this package. The simulator lets other tasks run before it, for as
	// long as the disk takes. The name says what for.
	Call(name string, f func())
	// WithTimeout is context.WithTimeout by the clock of this Env.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
	// NewEvent makes an Event with no wake pending.
	NewEvent(name string) Event
}

// Event wakes one task: Wake leaves a token (at most one), Wait takes it. It stands for channels and condition
// variables, which the simulator cannot schedule. Any number of tasks may Wake, and Wait: a token is taken by one of
// those who wait.
type Event interface {
	// Wake never blocks.
	Wake()
	// Wait returns nil after taking a token, ErrTimeout after d (d <= 0: never), or ctx's error. A token that is
	// already there wins over ctx and d.
	Wait(ctx context.Context, d time.Duration) error
}
