package node

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/skerrydb/skerry/engine"
)

// Caches and memtables are most of a node's heap, and blocks without pointers, into which Go's collector does not look: they cost it
// next to nothing, and yet count in GOGC, by which the heap may grow to so much more than what is in use before it is collected. At
// 400 % a store with 560 MB in use let 2.4 GB of garbage lie about, which the system wants for files (docs/performance.md). So GOGC
// follows what is in use beside them.

const (
	// garbageTimes is how much garbage there may be for what is in use beside caches and memtables. At Go's own 1 the collector takes
	// a fifth of a busy node's processor time.
	garbageTimes = 4
	// leastGarbage is worth a collection, however little is in use.
	leastGarbage = 256 << 20
	// mostGarbage is GOGC at most, in percent of all that is in use.
	mostGarbage = 100 * garbageTimes
	// garbageInterval is how often it is looked at.
	garbageInterval = 5 * time.Second
)

// PaceCollector sets GOGC by what the node's heap is used for, until ctx ends. It is for a process that is a node and nothing else.
func (n *Node) PaceCollector(ctx context.Context) {
	t := time.NewTicker(garbageInterval)
	defer t.Stop()
	for set := 0; ; {
		if p := gcPercent(liveHeap(), n.blockBytes()); differs(p, set) {
			debug.SetGCPercent(p) // the world stops for that
			set = p
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// gcPercent is GOGC for a heap of which so many bytes were found in use, and where caches and memtables take so many.
func gcPercent(live, blocks int64) int {
	garbage := max(garbageTimes*(live-blocks), leastGarbage)
	return int(min(100*garbage/max(live, 1), mostGarbage))
}

// differs reports whether a percentage is another one by more than a tenth.
func differs(p, from int) bool { return 10*max(p-from, from-p) > from }

// liveHeap is what the last collection found in use, in bytes; zero before the first.
func liveHeap() int64 {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64())
}

// blockBytes is what the caches and memtables of the node's engines take of Go's heap.
func (n *Node) blockBytes() (sum int64) {
	n.open.RLock()
	defer n.open.RUnlock()
	if n.closed || enginesUseC {
		return 0
	}
	add := func(e *engine.Engine) {
		m := e.Metrics()
		sum += m.CacheBytes + int64(m.MemTableBytes)
	}
	if n.store != nil {
		add(n.store.engine)
	}
	if n.member != nil {
		add(n.member.engine)
	}
	return sum
}
