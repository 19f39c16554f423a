package world

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Machine is one process on one computer: its tasks and its clocks.
type Machine struct {
	w    *World
	name string

	// Under World.mu.
	tasks   map[uint64]*Task
	dead    bool
	paused  bool
	resumed time.Duration // when it last went on after a pause
	// stopped is set if a task panicked, and the process is to be ended.
	stopped bool
	held    []*Task  // ready, but paused
	queued  []func() // what arrived meanwhile, see WhenRunning

	// Its monotonic clock shows origin + (world's time - since) * rate, its wall clock an offset more.
	origin time.Duration
	since  time.Duration
	rate   float64
	wall   time.Duration

	// Delay says how long a call to a disk takes; nil is no time. If again is true it is asked once more after that: the
	// disk hangs, and how long is not known yet.
	Delay func(name string) (d time.Duration, again bool)
	// Panicked, if not nil, says of a panic of a task whether that is how the process may end. It stands still then until
	// somebody kills it.
	Panicked func(reason string) bool
}

// NewMachine makes a machine whose clocks go right.
func (w *World) NewMachine(name string) *Machine {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &Machine{w: w, name: name, tasks: make(map[uint64]*Task), rate: 1, origin: time.Hour, since: w.now}
	w.machines = append(w.machines, m)
	return m
}

// Name is the machine's name in traces.
func (m *Machine) Name() string { return m.name }

// World is where the machine stands.
func (m *Machine) World() *World { return m.w }

// SetClock sets where the monotonic clock starts in this life, how fast it goes (1 is right), and how wrong the wall
// clock is.
func (m *Machine) SetClock(origin time.Duration, rate float64, wall time.Duration) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.origin, m.since, m.rate, m.wall = origin, m.w.now, rate, wall
}

// SetRate changes how fast the clocks go from now on.
func (m *Machine) SetRate(rate float64) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.origin = m.clockLocked()
	m.since, m.rate = m.w.now, rate
}

// JumpWall moves the wall clock.
func (m *Machine) JumpWall(d time.Duration) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.wall += d
}

func (m *Machine) clockLocked() time.Duration {
	return m.origin + time.Duration(float64(m.w.now-m.since)*m.rate)
}

// real is how long a duration of this machine's clock takes.
func (m *Machine) real(d time.Duration) time.Duration {
	if m.rate == 1 {
		return d
	}
	return time.Duration(float64(d) / m.rate)
}

// Pause stops all tasks, as SIGSTOP does: time goes on.
func (m *Machine) Pause() {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if !m.dead {
		m.pauseLocked()
	}
}

// stopLocked is a pause that only Kill ends.
func (m *Machine) stopLocked() {
	m.pauseLocked()
	m.stopped = true
}

func (m *Machine) pauseLocked() {
	if m.paused {
		return
	}
	m.paused = true
	kept := m.w.runnable[:0]
	for _, t := range m.w.runnable {
		if t.machine == m {
			m.held = append(m.held, t)
		} else {
			kept = append(kept, t)
		}
	}
	clear(m.w.runnable[len(kept):])
	m.w.runnable = kept
}

// Resume lets the tasks go on.
func (m *Machine) Resume() {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if !m.paused || m.stopped {
		return
	}
	m.paused, m.resumed = false, m.w.now
	m.w.runnable = append(m.w.runnable, m.held...)
	m.held = nil
	for _, f := range m.queued {
		m.w.addTimerLocked(&timer{at: m.w.now, f: f})
	}
	m.queued = nil
}

// Resumed is when, in the world's time, the machine last went on after a pause; 0 if it never did.
func (m *Machine) Resumed() time.Duration {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.resumed
}

// WhenRunning calls f, which must not block, now or, if the machine is paused, as soon as it is not.
func (m *Machine) WhenRunning(f func()) {
	m.w.mu.Lock()
	if m.paused {
		m.queued = append(m.queued, f)
		m.w.mu.Unlock()
		return
	}
	m.w.mu.Unlock()
	f()
}

// Paused reports whether the machine stands still.
func (m *Machine) Paused() bool {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.paused
}

// Dead reports whether the machine was killed.
func (m *Machine) Dead() bool {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return m.dead
}

// Kill ends all tasks where they stand, and none begins any more. A task of another machine calls it. Deferred calls of
// the tasks run, and whatever they want of the world comes to nothing.
func (m *Machine) Kill() {
	w := m.w
	w.mu.Lock()
	if m.dead {
		w.mu.Unlock()
		return
	}
	killer := w.current
	if killer == nil || killer.machine == m {
		w.endLocked(fmt.Errorf("%s is killed from a place that cannot", m.name))
		w.mu.Unlock()
		return
	}
	m.dead = true
	for len(m.tasks) > 0 {
		ids := slices.Sorted(maps.Keys(m.tasks))
		t := m.tasks[ids[0]]
		t.killed = true
		w.forgetLocked(t)
		w.current = t
		w.mu.Unlock()
		t.resume <- struct{}{}
		<-t.gone
		w.mu.Lock()
	}
	m.held = nil
	w.current = killer
	w.mu.Unlock()
}

// forgetLocked takes a task out of everything that could let it run.
func (w *World) forgetLocked(t *Task) {
	w.removeRunnableLocked(t)
	if t.event != nil {
		t.event.forget(t)
		t.event = nil
	}
	t.timer, t.ctx = nil, nil
	t.state = ready
}
