package node

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/skerrydb/skerry/engine"
)

// Caches and memtables are most of a node's heap, and blocks without pointers, into which Go's collector does not look: they cost it
// next to nothing, and yet count in GOGC, by which the heap may grow to so much more than what is in use before it is collected. With
// 500 MB in use a heap grew to 2.5 GB, all of it pages that the process touched for the first time, each of which costs 3 to 16 µs on
// a virtual machine (docs/performance.md, "Memory"). So how much garbage there may be follows what is in use beside them, and the same
// pages are used again.

const (
	// garbageTimes is how much garbage there may be for what is in use beside caches and memtables, and at most for everything.
	garbageTimes = 4
	// leastGarbage is worth a collection, if there is as much in use.
	leastGarbage = 256 << 20
	// heapHold is how long a heap that was needed once is held: in that time it shrinks by two thirds. What the runtime gives back it
	// touches anew, and caches and memtables come and go.
	heapHold = 5 * time.Minute
)

// PaceCollector sets GOGC anew after each collection, by what the node's heap is used for, until ctx ends. It is for a process that is
// this node and nothing else, see TuneRuntime. GOGC of the environment wins.
func (n *Node) PaceCollector(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	var p collectorPace
	last, set := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-collected():
		}
		now := time.Now()
		if percent := p.percent(liveHeap(), n.blockBytes(), now.Sub(last)); differs(percent, set) {
			debug.SetGCPercent(percent) // the world stops for that
			set = percent
		}
		last = now
	}
}

// collectorPace knows how large the heap may be.
type collectorPace struct {
	heap float64 // bytes
}

// percent is GOGC after a collection that found so many bytes in use, where caches and memtables take so many and the one before was
// so long ago.
func (p *collectorPace) percent(live, blocks int64, since time.Duration) int {
	if live <= 0 {
		return gcPercent
	}
	garbage := min(max(garbageTimes*(live-blocks), leastGarbage), garbageTimes*live)
	p.heap -= p.heap * min(1, float64(since)/float64(heapHold))
	p.heap = max(p.heap, float64(live+garbage))
	return int(100 * (p.heap - float64(live)) / float64(live))
}

// differs reports whether a percentage is another one by more than a tenth.
func differs(p, from int) bool { return 10*max(p-from, from-p) > from }

// collected returns a channel that is closed after the next collection.
func collected() <-chan struct{} {
	c := make(chan struct{})
	runtime.AddCleanup(new([64]byte), func(c chan struct{}) { close(c) }, c)
	return c
}

// liveHeap is what the last collection found in use, in bytes.
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
