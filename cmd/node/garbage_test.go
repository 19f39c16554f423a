package node

import (
	"context"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestGarbage: how much garbage there may be follows what is in use beside caches and memtables.
func TestGarbage(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		what         string
		live, blocks int64
		percent      int
	}{
		{"nothing was found", 0, 0, 400},
		{"small", 30 * mib, 20 * mib, 400},
		{"no blocks", 500 * mib, 0, 400},
		{"few blocks", 500 * mib, 250 * mib, 200},
		{"most is blocks", 560 * mib, 510 * mib, 45},
		{"hardly anything else", 2048 * mib, 2020 * mib, 12},
		{"more blocks since", 500 * mib, 900 * mib, 51},
	} {
		var p collectorPace
		if got := p.percent(c.live, c.blocks, time.Second); got != c.percent {
			t.Errorf("%s: %d MiB in use, %d of it blocks: %d %%, want %d", c.what, c.live/mib, c.blocks/mib, got, c.percent)
		}
	}
}

// TestHeapIsHeld: a heap that was needed shrinks slowly, and grows at once.
func TestHeapIsHeld(t *testing.T) {
	const mib = 1 << 20
	var p collectorPace
	heap := func(live int64, since time.Duration) int64 {
		return live * int64(100+p.percent(live*mib, live*mib, since)) / 100
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

// TestPaceCollector: what the engines of a node take for memtables counts, as long as it is open, and GOGC is set after a collection.
func TestPaceCollector(t *testing.T) {
	n := startNode(t, placementConfig(t.TempDir()))
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	if n.blockBytes() <= 0 && !enginesUseC {
		t.Error("a node's memtables take no room")
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Setenv("GOGC", "77")
	n.PaceCollector(ctx) // and returns
	t.Setenv("GOGC", "")
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.PaceCollector(ctx)
	}()
	ballast := make([]byte, 512<<20) // a percentage that is none of ours
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		runtime.GC()
		if p := debug.SetGCPercent(77); p != 77 {
			if p <= 0 || p >= gcPercent && !enginesUseC {
				t.Errorf("GOGC is %d", p)
			}
			break
		}
		if time.Now().After(end) {
			t.Fatal("GOGC was not set")
		}
	}
	runtime.KeepAlive(ballast)
	cancel()
	runtime.GC()
	<-done
	stop(t, n)
	if b := n.blockBytes(); b != 0 {
		t.Errorf("the engines of a closed node are said to take %d bytes", b)
	}
}
