package node

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Most of a node's heap are caches and memtables, blocks without pointers, into which Go's collector does not look: they cost it next to
// nothing, and yet count in GOGC, by which the heap may grow to so much more than what is in use before it is collected. With 500 MB in
// use a heap grew to 2.5 GB, all of it pages that the process touched for the first time, each of which costs 3 to 16 µs on a virtual
// machine (docs/performance.md, "Memory"). So how much garbage there may be follows what the collector has to look into, and the same
// pages are used again.

const (
	// garbageTimes is how much garbage there may be for what the collector looks into, and at most for everything in use.
	garbageTimes = 4
	// leastGarbage is worth a collection, if there is as much in use.
	leastGarbage = 256 << 20
	// heapHold is how long a heap that was needed once is held: in that time it shrinks by two thirds. What the runtime gives back it
	// touches anew, and caches and memtables come and go.
	heapHold = 5 * time.Minute
)

// PaceCollector sets GOGC anew after each collection, by what the heap is used for, until ctx ends. It is for a process that is a
// node and nothing else, see TuneRuntime. GOGC of the environment wins.
func PaceCollector(ctx context.Context) {
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
		live, scanned := usedHeap()
		if percent := p.percent(live, scanned, now.Sub(last)); differs(percent, set) {
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

// percent is GOGC after a collection that found so many bytes in use and looked into so many of them, where the one before was so long
// ago.
func (p *collectorPace) percent(live, scanned int64, since time.Duration) int {
	if live <= 0 {
		return gcPercent
	}
	garbage := min(max(garbageTimes*scanned, leastGarbage), garbageTimes*live)
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

// usedHeap is what the last collection found in use, and how much of that may hold pointers, in bytes.
func usedHeap() (live, scanned int64) {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/heap:bytes"}}
	metrics.Read(s)
	return int64(s[0].Value.Uint64()), int64(s[1].Value.Uint64())
}
