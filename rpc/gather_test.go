package rpc

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// TestLazyRidesAlong: what is in no hurry wakes nobody, goes with what comes next, in order, and alone if nothing does.
func TestLazyRidesAlong(t *testing.T) {
	g := gather{wake: env.Real{}.NewEvent("test")}
	item := func(c byte) func([]byte) []byte { return func(b []byte) []byte { return append(b, c) } }
	woken := func() bool {
		err := g.wake.Wait(context.Background(), time.Millisecond)
		if err != nil && !errors.Is(err, env.ErrTimeout) {
			t.Fatal(err)
		}
		return err == nil
	}
	frames := func(want ...string) {
		t.Helper()
		got := g.take()
		if len(got) != len(want) {
			t.Fatalf("%d frames, want %q", len(got), want)
		}
		for i := range want {
			if string(got[i].bytes) != want[i] {
				t.Fatalf("frame %q, want %q", got[i].bytes, want[i])
			}
		}
	}

	timer, ok := g.addLazy(1, item('a'))
	again, _ := g.addLazy(1, item('b'))
	if !timer || !ok || again || woken() {
		t.Fatalf("timer %v, ok %v; a second timer %v; or somebody was woken", timer, ok, again)
	}
	g.add(1, item('c'))
	if !woken() {
		t.Fatal("nobody was woken for what is in a hurry")
	}
	frames("abc")
	if g.flush(); woken() {
		t.Fatal("woken for nothing")
	}

	if timer, _ = g.addLazy(1, item('d')); !timer {
		t.Fatal("no timer")
	}
	if g.flush(); !woken() {
		t.Fatal("what nobody came after is not sent")
	}
	frames("d")
	g.add(1, item('e'))
	if timer, _ = g.addLazy(1, item('f')); timer {
		t.Fatal("a timer although the sender is awake")
	}
	frames("ef")
	g.close()
	if _, ok := g.addLazy(1, item('g')); ok {
		t.Fatal("taken after the end")
	}
}
