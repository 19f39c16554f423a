package node

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestGarbage: how much garbage there may be follows what the collector looks into.
func TestGarbage(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		what          string
		live, scanned int64
		percent       int
	}{
		{"nothing was found", 0, 0, 400},
		{"small", 30 * mib, 10 * mib, 400},
		{"no blocks", 500 * mib, 500 * mib, 400},
		{"few blocks", 500 * mib, 250 * mib, 200},
		{"most is blocks", 560 * mib, 50 * mib, 45},
		{"hardly anything else", 2048 * mib, 28 * mib, 12},
	} {
		var p collectorPace
		if got := p.percent(c.live, c.scanned, time.Second); got != c.percent {
			t.Errorf("%s: %d MiB in use, %d of them looked into: %d %%, want %d", c.what, c.live/mib, c.scanned/mib, got, c.percent)
		}
	}
}

// TestHeapIsHeld: a heap that was needed shrinks slowly, and grows at once.
func TestHeapIsHeld(t *testing.T) {
	const mib = 1 << 20
	var p collectorPace
	heap := func(live int64, since time.Duration) int64 {
		return live * int64(100+p.percent(live*mib, 0, since)) / 100
	}
	for _, c := range []struct {
		what     string
		live     int64
		since    time.Duration
		low, top int64 // MiB
	}{
		{"first", 744, time.Second, 980, 1000},
		{"blocks are gone", 244, time.Second, 980, 1000},
		{"a minute later", 244, time.Minute, 780, 800},
		{"they are back", 944, time.Second, 1180, 1200},
		{"long after", 244, time.Hour, 495, 500},
	} {
		if got := heap(c.live, c.since); got < c.low || got > c.top {
			t.Errorf("%s: the heap may be %d MiB, want %d to %d", c.what, got, c.low, c.top)
		}
	}
}

// TestPaceCollector: GOGC is set after a collection, by what that had to look into, until the end.
func TestPaceCollector(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	ctx, cancel := context.WithCancel(context.Background())
	t.Setenv("GOGC", "77")
	PaceCollector(ctx) // and returns
	t.Setenv("GOGC", "")
	ballast := make([]byte, 512<<20) // into which nobody looks, there before the first collection that counts
	done := make(chan struct{})
	go func() {
		defer close(done)
		PaceCollector(ctx)
	}()
	if p := awaitGOGC(t, func(p int) bool { return p != 77 }); p <= 0 || p > 60 { // half of it and a little more may be garbage
		t.Errorf("GOGC is %d", p)
	}
	runtime.KeepAlive(ballast)
	pointers := make([]*int, 64<<20) // into which it looks
	awaitGOGC(t, func(p int) bool { return p > 300 })
	runtime.KeepAlive(pointers)
	cancel()
	runtime.GC()
	<-done
}

// awaitGOGC collects until GOGC is as wanted, and sets it to 77 each time.
func awaitGOGC(t *testing.T, wanted func(percent int) bool) int {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		p := debug.SetGCPercent(77)
		if wanted(p) {
			return p
		}
		if time.Now().After(end) {
			t.Fatalf("GOGC is %d at last", p)
		}
	}
}
