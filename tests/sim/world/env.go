package world

import (
	"context"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// Env is the world as the tasks of a machine see it.
func (m *Machine) Env() env.Env { return machineEnv{m} }

type machineEnv struct{ m *Machine }

// wallEpoch is what a right wall clock shows at the beginning of the world.
var wallEpoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func (e machineEnv) Now() env.Time {
	e.m.w.mu.Lock()
	defer e.m.w.mu.Unlock()
	return env.Time(e.m.clockLocked())
}

func (e machineEnv) Wall() time.Time {
	e.m.w.mu.Lock()
	defer e.m.w.mu.Unlock()
	return wallEpoch.Add(e.m.w.now + e.m.wall)
}

func (e machineEnv) Rand() uint64 { return e.m.w.Rand() }

func (e machineEnv) Go(name string, f func()) {
	w := e.m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.m.dead || w.over {
		return
	}
	w.newTaskLocked(e.m, name, f)
}

func (e machineEnv) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	e.m.w.mu.Lock()
	if e.m.w.waitLocked(e.m, nil, ctx, d) == becauseContext {
		return ctx.Err()
	}
	return nil
}

func (e machineEnv) Call(name string, f func()) {
	for again := e.m.Delay != nil; again; {
		var d time.Duration
		if d, again = e.m.Delay(name); d > 0 {
			e.m.w.mu.Lock()
			e.m.w.waitLocked(e.m, nil, background, d)
		}
	}
	f()
}

func (e machineEnv) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancel(ctx)
	c := &deadline{Context: inner}
	w := e.m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addTimerLocked(&timer{at: w.now + e.m.real(d), f: func() {
		if inner.Err() == nil {
			c.over = true
			cancel()
		}
	}})
	return c, cancel
}

// deadline is a context that says why it ended. over is written between two steps.
type deadline struct {
	context.Context
	over bool
}

func (c *deadline) Err() error {
	err := c.Context.Err()
	if err != nil && c.over {
		return context.DeadlineExceeded
	}
	return err
}

func (e machineEnv) Yield() {}

func (e machineEnv) NewEvent(name string) env.Event { return &event{m: e.m, name: name} }

// event is env.Event. Its fields are under World.mu.
type event struct {
	m       *Machine
	name    string
	token   bool
	waiters []*Task
}

func (e *event) Wake() {
	w := e.m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(e.waiters); n > 0 {
		i := 0
		if n > 1 {
			i = w.intLocked(n)
		}
		w.readyLocked(e.waiters[i], becauseWake)
		return
	}
	e.token = true
}

func (e *event) forget(t *Task) {
	e.waiters = slices.DeleteFunc(e.waiters, func(o *Task) bool { return o == t })
}

func (e *event) Wait(ctx context.Context, d time.Duration) error {
	w := e.m.w
	w.mu.Lock()
	if e.token {
		e.token = false
		w.mu.Unlock()
		return nil
	}
	if err := ctx.Err(); err != nil {
		w.mu.Unlock()
		return err
	}
	if d <= 0 {
		d = -1
	}
	switch w.waitLocked(e.m, e, ctx, d) {
	case becauseTime:
		return env.ErrTimeout
	case becauseContext:
		return ctx.Err()
	}
	return nil
}
