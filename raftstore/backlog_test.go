package raftstore

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// TestBacklog: what may be under way is half a second's worth of what ends, never less than the floor, and it follows a store
// that becomes faster or slower.
func TestBacklog(t *testing.T) {
	b := newBacklog(500 * time.Millisecond)
	now := env.Time(time.Hour)
	b.look(now)
	// second lets a store that ends so many bytes a second work for one, with as much under way as is taken.
	second := func(rate int64) {
		for range 4 {
			n := rate / 4
			for b.take(1 << 16) {
			}
			n = min(n, b.held.Load())
			b.give(n, true)
			now = now.Add(250*time.Millisecond + 60*time.Millisecond)
			b.look(now)
		}
	}
	within := func(what string, least, most int64) {
		t.Helper()
		if got := b.limit.Load(); got < least || got > most {
			t.Errorf("%s: %d MiB may be under way, want %d to %d", what, got>>20, least>>20, most>>20)
		}
	}
	within("at the beginning", backlogFloor, backlogFloor)
	for range 4 {
		second(100 << 20)
	}
	within("a fast store", 35<<20, 50<<20)
	for range 2 {
		second(20 << 20)
	}
	within("the same, slower", 7<<20, 10<<20)
	held := b.held.Load()
	if b.take(1) && held >= b.limit.Load() {
		t.Errorf("%d of %d bytes are under way, and more is taken", held, b.limit.Load())
	}
	second(0)
	second(0)
	within("a store that is stuck", backlogFloor, backlogFloor)
	b.give(b.held.Load(), false)
	if !b.take(1<<30) || b.take(1) {
		t.Error("one write of any size is taken while there is no other, and none beside it")
	}
	b.give(1<<30, false)
	now = now.Add(time.Minute) // it slept
	b.ended.Add(1 << 40)
	b.look(now)
	within("what ended over a sleep", backlogFloor, backlogFloor)
}
