package world

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// run runs f in a world and fails the test if the world does.
func run(t *testing.T, seed uint64, f func(w *World, m *Machine)) *World {
	t.Helper()
	w := New(seed, Uniform())
	if err := w.Run(func(m *Machine) { f(w, m) }); err != nil {
		t.Error(err)
	}
	return w
}

// TestEvents: the laws of env.Event and env.Sleep hold here as they do outside, and time is simulated.
func TestEvents(t *testing.T) {
	begun := time.Now()
	run(t, 1, func(w *World, m *Machine) {
		e, ctx := m.Env(), context.Background()
		ev := e.NewEvent("ev")
		ev.Wake()
		ev.Wake()
		if err := ev.Wait(ctx, time.Hour); err != nil {
			t.Errorf("a token that is there: %v", err)
		}
		at := w.Now()
		if err := ev.Wait(ctx, time.Hour); !errors.Is(err, env.ErrTimeout) || w.Now()-at < time.Hour {
			t.Errorf("two wakes leave one token: %v after %s", err, w.Now()-at)
		}
		cctx, cancel := context.WithCancel(ctx)
		e.Go("cancel", func() { _ = e.Sleep(ctx, time.Minute); cancel() })
		if err := ev.Wait(cctx, 0); !errors.Is(err, context.Canceled) {
			t.Errorf("a context that ends: %v", err)
		}
		tctx, stop := e.WithTimeout(ctx, time.Second)
		defer stop()
		if err := e.Sleep(tctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a timeout: %v", err)
		}
		e.Go("wake", func() { _ = e.Sleep(ctx, time.Second); ev.Wake() })
		if err := ev.Wait(ctx, 0); err != nil {
			t.Errorf("a wake: %v", err)
		}
	})
	if d := time.Since(begun); d > 10*time.Second {
		t.Errorf("an hour took %s", d)
	}
}

// TestMachines: a paused machine stands still while time goes on; a killed one ends where it stands, and its deferred
// calls run; a clock that goes too fast sleeps too short.
func TestMachines(t *testing.T) {
	run(t, 1, func(w *World, main *Machine) {
		ctx, e := context.Background(), main.Env()
		m := w.NewMachine("m")
		beats, ended := 0, 0
		m.Env().Go("beat", func() {
			defer func() { ended++ }()
			for {
				_ = m.Env().Sleep(ctx, 100*time.Millisecond)
				beats++
			}
		})
		_ = e.Sleep(ctx, time.Second)
		if beats < 9 || beats > 10 {
			t.Errorf("%d beats in a second", beats)
		}
		m.Pause()
		was := beats
		_ = e.Sleep(ctx, time.Second)
		if beats != was {
			t.Errorf("%d beats while paused", beats-was)
		}
		m.Resume()
		m.SetRate(2)
		was = beats
		_ = e.Sleep(ctx, time.Second)
		if n := beats - was; n < 18 || n > 21 {
			t.Errorf("%d beats in a second of a clock that goes twice as fast", n)
		}
		m.Kill()
		was = beats
		_ = e.Sleep(ctx, time.Second)
		if beats != was || ended != 1 || !m.Dead() {
			t.Errorf("killed: %d beats, %d ended", beats-was, ended)
		}
	})
}

// TestOrders: a seed always gives one order, seeds give different ones, and every strategy runs every task.
func TestOrders(t *testing.T) {
	order := func(seed uint64, s Strategy) string {
		var b strings.Builder
		w := New(seed, s)
		err := w.Run(func(m *Machine) {
			left := 8
			for i := range 8 {
				m.Env().Go("t", func() {
					for range 3 {
						fmt.Fprint(&b, i)
						_ = m.Env().Sleep(context.Background(), time.Microsecond)
					}
					left--
				})
			}
			for left > 0 {
				_ = m.Env().Sleep(context.Background(), time.Millisecond)
			}
		})
		if err != nil || b.Len() != 24 {
			t.Errorf("%q, %v", b.String(), err)
		}
		return b.String()
	}
	for name, s := range map[string]func() Strategy{"uniform": Uniform, "pct": func() Strategy { return PCT(2, 10) },
		"delay": func() Strategy { return DelayBounded(3, 10) }, "mix": func() Strategy { return Mix(3, Uniform(), PCT(2, 10)) }} {
		seen := make(map[string]bool)
		for seed := range uint64(10) {
			a := order(seed, s())
			if b := order(seed, s()); a != b {
				t.Errorf("%s: seed %d gives %s and %s", name, seed, a, b)
			}
			seen[a] = true
		}
		if len(seen) < 2 {
			t.Errorf("%s: ten seeds give one order", name)
		}
	}
}

// TestFailures: a panic of a task, a deadlock and a violation end the world, and say so.
func TestFailures(t *testing.T) {
	for want, f := range map[string]func(w *World, m *Machine){
		"panicked in task bad": func(_ *World, m *Machine) {
			m.Env().Go("bad", func() { panic("no") })
			_ = m.Env().Sleep(context.Background(), time.Hour)
		},
		"deadlock": func(_ *World, m *Machine) { _ = m.Env().NewEvent("never").Wait(context.Background(), 0) },
		"violated": func(w *World, m *Machine) { w.Fail(errors.New("violated")) },
	} {
		w := New(1, Uniform())
		if err := w.Run(func(m *Machine) { f(w, m) }); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
