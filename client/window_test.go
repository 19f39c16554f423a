package client

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// pipe is a store that gets so many bytes a second done, the first of them after a while.
type pipe struct {
	rate  float64
	delay time.Duration
}

// through sends through a pipe what a window lets under way, for a while, while others wait or not.
func (p pipe) through(w *window, now env.Time, d time.Duration, wait bool) env.Time {
	const step = time.Millisecond
	left := 0.0
	for end := now.Add(d); now < end; now = now.Add(step) {
		took := max(p.delay, time.Duration(float64(w.bytes)/p.rate*float64(time.Second)))
		left += float64(w.bytes) * step.Seconds() / took.Seconds()
		for ; left >= 1000; left -= 1000 {
			w.ended(1000, took)
			w.look(now, wait)
		}
	}
	return now
}

// TestWindow: a window holds what a store gets done in the shortest time that a write takes and queueTime, within its bounds. It follows
// the store, and only while others wait.
func TestWindow(t *testing.T) {
	const (
		mb   = 1e6
		most = 4 << 20
	)
	for _, c := range []struct {
		what   string
		first  pipe // for three seconds
		then   pipe
		idle   bool // nobody waits then
		lo, hi int
	}{
		{what: "slow", then: pipe{2 * mb, time.Millisecond}, lo: windowFloor, hi: 0.7 * mb},
		{what: "fast", then: pipe{40 * mb, time.Millisecond}, lo: 1.9 * mb, hi: 2.6 * mb},
		{what: "fast and far", then: pipe{12 * mb, 100 * time.Millisecond}, lo: 1.7 * mb, hi: 2.1 * mb},
		{what: "very fast", then: pipe{400 * mb, time.Millisecond}, lo: most, hi: most},
		{what: "slower", first: pipe{60 * mb, time.Millisecond}, then: pipe{20 * mb, time.Millisecond}, lo: mb, hi: 1.2 * mb},
		{what: "faster", first: pipe{20 * mb, time.Millisecond}, then: pipe{60 * mb, time.Millisecond}, lo: 2.8 * mb, hi: most},
		{what: "very slow", first: pipe{40 * mb, time.Millisecond}, then: pipe{mb / 2, time.Millisecond}, lo: windowFloor, hi: windowFloor},
		{what: "little is asked", first: pipe{40 * mb, time.Millisecond}, then: pipe{mb, time.Millisecond}, idle: true, lo: 1.9 * mb, hi: 2.6 * mb},
	} {
		w, now := newWindow(most), env.Time(time.Hour)
		if c.first.rate > 0 {
			now = c.first.through(&w, now, 3*time.Second, true)
		}
		c.then.through(&w, now, 3*time.Second, !c.idle)
		if w.bytes < c.lo || w.bytes > c.hi {
			t.Errorf("%s: a window of %d bytes, want %d to %d", c.what, w.bytes, c.lo, c.hi)
		}
	}
	w := newWindow(1000)
	pipe{40 * mb, time.Millisecond}.through(&w, 0, time.Second, true)
	if w.bytes != 1000 {
		t.Errorf("a window of %d bytes where 1000 are all there may be", w.bytes)
	}
}
