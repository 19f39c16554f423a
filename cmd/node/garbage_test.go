package node

import (
	"context"
	"runtime/debug"
	"testing"
)

// TestGarbage: how much garbage there may be follows what is in use beside caches and memtables.
func TestGarbage(t *testing.T) {
	const mib = 1 << 20
	for _, c := range []struct {
		what         string
		live, blocks int64
		percent      int
	}{
		{"nothing was collected yet", 0, 0, mostGarbage},
		{"small", 30 * mib, 20 * mib, mostGarbage},
		{"no blocks", 500 * mib, 0, mostGarbage},
		{"few blocks", 500 * mib, 250 * mib, 200},
		{"most is blocks", 560 * mib, 460 * mib, 71},
		{"hardly anything else", 2048 * mib, 2020 * mib, 12},
		{"more blocks since", 500 * mib, 900 * mib, 51},
	} {
		if got := gcPercent(c.live, c.blocks); got != c.percent {
			t.Errorf("%s: %d MiB in use, %d of it blocks: %d %%, want %d", c.what, c.live/mib, c.blocks/mib, got, c.percent)
		}
	}
}

// TestPaceCollector: what the engines of a node take for memtables counts, as long as it is open, and GOGC is set by it.
func TestPaceCollector(t *testing.T) {
	n := startNode(t, placementConfig(t.TempDir()))
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	if n.blockBytes() <= 0 && !enginesUseC {
		t.Error("a node's memtables take no room")
	}
	done, cancel := context.WithCancel(context.Background())
	cancel()
	n.PaceCollector(done)
	if got := debug.SetGCPercent(100); got != mostGarbage {
		t.Errorf("GOGC of a node with next to nothing in memory is %d, want %d", got, mostGarbage)
	}
	stop(t, n)
	if b := n.blockBytes(); b != 0 {
		t.Errorf("the engines of a closed node are said to take %d bytes", b)
	}
}
