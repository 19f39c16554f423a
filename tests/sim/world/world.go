package world

import (
	"container/heap"
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// stepCost is how much simulated time one run of a task takes. It bounds what a task that never blocks for long can do
// in no time at all.
const stepCost = 2 * time.Microsecond

// World owns simulated time, the tasks and the seed. Its methods are called by tasks; those that libraries' goroutines
// may call (Event.Wake, Env.Go) are safe for concurrent use.
type World struct {
	Trace *Trace

	mu       sync.Mutex
	rng      *rand.Rand
	strategy Strategy
	recorder *recorder     // nil: nobody writes the decisions down
	follow   *Decisions    // nil: the seed decides
	now      time.Duration // since the beginning
	steps    uint64
	ids      uint64
	seq      uint64

	runnable []*Task
	timers   timers
	ctxs     []*Task // tasks that wait with a context that can end
	current  *Task
	machines []*Machine

	ended   chan struct{} // closed when the main task has returned
	failure error
	over    bool
}

// New makes a world in which nothing happens yet.
func New(seed uint64, s Strategy) *World {
	w := &World{rng: rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)), strategy: s, ended: make(chan struct{}), Trace: newTrace()}
	w.strategy.begin(w.rng)
	return w
}

// Run runs f as the first task, on a machine of its own, and returns when it has returned or the world has failed. The
// tasks that are left are abandoned where they stand.
func (w *World) Run(f func(m *Machine)) error {
	m := w.NewMachine("world")
	w.mu.Lock()
	t := w.newTaskLocked(m, "main", func() {
		f(m)
		w.mu.Lock()
		w.endLocked(nil)
		w.mu.Unlock()
	})
	w.removeRunnableLocked(t)
	w.current = t
	w.mu.Unlock()
	t.resume <- struct{}{}
	<-w.ended
	return w.failure
}

// Fail ends the world with an error: an invariant was violated. The first one stays.
func (w *World) Fail(err error) {
	w.mu.Lock()
	w.endLocked(err)
	w.mu.Unlock()
}

// Failed is why the world has failed, nil if it has not.
func (w *World) Failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.failure
}

func (w *World) endLocked(err error) {
	if w.over {
		return
	}
	w.over, w.failure = true, err
	close(w.ended)
}

// Now is simulated time since the beginning.
func (w *World) Now() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Steps is how many times a task was given the baton.
func (w *World) Steps() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.steps
}

// Rand draws from the seed.
func (w *World) Rand() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.uint64Locked()
}

// IntN draws from [0, n).
func (w *World) IntN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.intLocked(n)
}

// Chance is true with probability p.
func (w *World) Chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.floatLocked() < p
}

// Between draws a duration from [lo, hi].
func (w *World) Between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return lo + time.Duration(w.nanosLocked(int64(hi-lo)+1))
}

// Scale draws a duration from [lo, hi], as likely between 1 ms and 10 ms as between 100 ms and 1 s.
func (w *World) Scale(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Duration(float64(lo) * math.Pow(float64(hi)/float64(lo), w.floatLocked()))
}

// After calls f after d of simulated time, between two steps. f must not block.
func (w *World) After(d time.Duration, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addTimerLocked(&timer{at: w.now + max(d, 0), f: f})
}

func (w *World) addTimerLocked(t *timer) {
	w.seq++
	t.seq = w.seq
	heap.Push(&w.timers, t)
}

// passOnLocked picks who runs next and moves time forward until somebody can. It returns nil if nobody ever will.
func (w *World) passOnLocked() *Task {
	for !w.over {
		w.pollContextsLocked()
		if fired := w.fireLocked(); fired {
			continue
		}
		if len(w.runnable) > 0 {
			i := w.pickLocked()
			t := w.runnable[i]
			last := len(w.runnable) - 1
			copy(w.runnable[i:], w.runnable[i+1:])
			w.runnable[last] = nil
			w.runnable = w.runnable[:last]
			w.now += stepCost
			w.steps++
			w.current = t
			w.Trace.step(w.now, t)
			return t
		}
		if len(w.timers) == 0 {
			w.endLocked(fmt.Errorf("deadlock: no task can run and no timer is set"))
			return nil
		}
		w.now = max(w.now, w.timers[0].at)
	}
	return nil
}

// fireLocked runs one timer that is due.
func (w *World) fireLocked() bool {
	if len(w.timers) == 0 || w.timers[0].at > w.now {
		return false
	}
	t := heap.Pop(&w.timers).(*timer)
	switch {
	case t.task != nil:
		if t.task.timer == t {
			t.task.timer = nil
			w.readyLocked(t.task, becauseTime)
		}
	case t.f != nil:
		w.current = nil
		w.mu.Unlock()
		t.f()
		w.mu.Lock()
	}
	return true
}

// pollContextsLocked wakes the tasks whose context has ended. A context is ended by a task, and seen here right after.
func (w *World) pollContextsLocked() {
	kept := w.ctxs[:0]
	for _, t := range w.ctxs {
		if t.ctx == nil {
			t.listed = false
			continue
		}
		if t.ctx.Err() == nil {
			kept = append(kept, t)
			continue
		}
		t.listed = false
		w.readyLocked(t, becauseContext)
	}
	clear(w.ctxs[len(kept):])
	w.ctxs = kept
}

// readyLocked lets a waiting task run.
func (w *World) readyLocked(t *Task, why reason) {
	if t.state != waiting {
		return
	}
	t.state, t.why = ready, why
	if t.event != nil {
		t.event.forget(t)
		t.event = nil
	}
	t.timer = nil
	t.ctx = nil
	if t.machine.paused {
		t.machine.held = append(t.machine.held, t)
		return
	}
	w.runnable = append(w.runnable, t)
}

func (w *World) removeRunnableLocked(t *Task) {
	for i, r := range w.runnable {
		if r == t {
			w.runnable = append(w.runnable[:i], w.runnable[i+1:]...)
			return
		}
	}
}

// timer is a task's own, or a function's.
type timer struct {
	at   time.Duration
	seq  uint64
	task *Task
	f    func()
}

type timers []*timer

func (h timers) Len() int { return len(h) }
func (h timers) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].seq < h[j].seq
}
func (h timers) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *timers) Push(x any)   { *h = append(*h, x.(*timer)) }
func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

var background = context.Background()

// Waiting lists what the tasks of a machine wait for, for the report of a failure.
func (m *Machine) Waiting() []string {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	var out []string
	for _, id := range slices.Sorted(maps.Keys(m.tasks)) {
		t := m.tasks[id]
		what := "runs"
		if t.state == waiting {
			what = "sleeps"
			if t.event != nil {
				what = "waits for " + t.event.name
			}
		}
		out = append(out, fmt.Sprintf("%s#%d %s", t.name, t.id, what))
	}
	return out
}
