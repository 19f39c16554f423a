package world

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"
)

// Task is one goroutine of production code.
type Task struct {
	id      uint64
	name    string
	machine *Machine
	resume  chan struct{}
	gone    chan struct{} // closed when the goroutine has ended

	// Under World.mu.
	state    state
	killed   bool
	why      reason
	event    *event
	timer    *timer
	ctx      context.Context
	listed   bool   // in World.ctxs
	priority uint64 // of the strategy
}

type state uint8

const (
	ready   state = iota // runnable, held by a pause, or running
	waiting              // for an event, a time or a context
	ended
)

type reason uint8

const (
	becauseWake reason = iota
	becauseTime
	becauseContext
)

// newTaskLocked makes a task that can run.
func (w *World) newTaskLocked(m *Machine, name string, f func()) *Task {
	w.ids++
	t := &Task{id: w.ids, name: name, machine: m, resume: make(chan struct{}, 1), gone: make(chan struct{})}
	w.strategy.born(t)
	m.tasks[t.id] = t
	if m.paused {
		m.held = append(m.held, t)
	} else {
		w.runnable = append(w.runnable, t)
	}
	go t.run(w, f)
	return t
}

func (t *Task) run(w *World, f func()) {
	<-t.resume
	defer t.end(w)
	if !t.killed {
		f()
	}
}

// end gives the baton away for good. A panic of production code ends its process, and is a failure of the world unless
// the machine's Panicked expected it.
func (t *Task) end(w *World) {
	r := recover()
	expected := r != nil && !t.killed && t.machine.Panicked != nil && t.machine.Panicked(fmt.Sprint(r))
	w.mu.Lock()
	if expected {
		t.machine.stopLocked()
	} else if r != nil && !t.killed {
		w.endLocked(fmt.Errorf("%s panicked in task %s: %v\n%s", t.machine.name, t.name, r, debug.Stack()))
	}
	t.state = ended
	delete(t.machine.tasks, t.id)
	if t.killed {
		w.mu.Unlock()
		close(t.gone) // the killer still holds the baton
		return
	}
	next := w.passOnLocked()
	w.mu.Unlock()
	close(t.gone)
	if next != nil {
		next.resume <- struct{}{}
	}
}

// park gives the baton away until the task is ready again, and says why it is. World.mu is held and is released.
func (w *World) park(t *Task) reason {
	next := w.passOnLocked()
	w.mu.Unlock()
	if next != t {
		if next != nil {
			next.resume <- struct{}{}
		}
		<-t.resume
	}
	if t.killed {
		runtime.Goexit()
	}
	return t.why
}

// waitLocked blocks the current task for an event, until d is over (d < 0: never) or ctx ends. World.mu is held and is
// released.
func (w *World) waitLocked(m *Machine, e *event, ctx context.Context, d time.Duration) reason {
	t := w.current
	if t == nil || t.machine != m {
		w.endLocked(fmt.Errorf("a task blocks outside of its machine %s, or where nothing may block", m.name))
		w.mu.Unlock()
		select {} // the world is over; this goroutine belongs to no task
	}
	if t.killed {
		w.mu.Unlock()
		runtime.Goexit()
	}
	t.state = waiting
	if e != nil {
		e.waiters = append(e.waiters, t)
		t.event = e
	}
	if d >= 0 {
		t.timer = &timer{at: w.now + m.real(d), task: t}
		w.addTimerLocked(t.timer)
	}
	if ctx != nil && ctx.Done() != nil {
		t.ctx = ctx
		if !t.listed {
			t.listed = true
			w.ctxs = append(w.ctxs, t)
		}
	}
	return w.park(t)
}
