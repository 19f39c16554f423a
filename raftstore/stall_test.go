package raftstore

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// TestStall: only time in which somebody looked counts against a disk; a machine that was away for a minute comes back to
// a sync that was under way, and goes on.
func TestStall(t *testing.T) {
	var st stall
	at := func(d time.Duration) env.Time { return env.Time(time.Hour + d) }
	look := func(since, now, want time.Duration) {
		t.Helper()
		if got := st.look(at(since), at(now), time.Second); got != want {
			t.Errorf("a sync since %s is seen for %s at %s, want %s", since, got, now, want)
		}
	}
	look(0, 100*time.Millisecond, 100*time.Millisecond)
	look(0, 200*time.Millisecond, 200*time.Millisecond)
	look(0, time.Minute, 1200*time.Millisecond) // suspended meanwhile
	look(0, time.Minute+300*time.Millisecond, 1500*time.Millisecond)
	look(time.Minute, time.Minute+400*time.Millisecond, 400*time.Millisecond) // that one came back; the next
	look(2*time.Minute, 4*time.Minute, time.Second)
}
