package raftstore

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// TestClock: placement's time goes on between two words of it, for a while, never back, and an answer that does not tell it
// is none: a store that restarted and was removed would give keys lives that end at once.
func TestClock(t *testing.T) {
	c := newClock(false)
	begin := env.Time(1)
	at := func(d time.Duration) env.Time { return begin.Add(d) }
	reads := func(what string, now env.Time, want uint64) {
		t.Helper()
		if got := uint64(c.read(now)); got != want {
			t.Errorf("%s it is %d, want %d", what, got, want)
		}
	}
	c.hear(0, at(0))
	reads("after an answer without a time", at(time.Second), 0)
	c.hear(1_000_000, at(time.Second))
	reads("two seconds later", at(3*time.Second), 1_002_000)
	c.hear(0, at(3*time.Second))
	c.hear(1_000_500, at(3*time.Second))
	reads("after a word from the past", at(3*time.Second), 1_002_000)
	reads("as long as a word counts", at(3*time.Second+maxStampAge), 1_002_000+uint64(maxStampAge.Milliseconds()))
	reads("after that", at(4*time.Second+maxStampAge), 0)
}
