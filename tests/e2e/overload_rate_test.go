package e2e

import (
	"os"
	"slices"
	"testing"
	"time"
)

// TestOverloadRate: writers that wait find out what the cluster takes, then an open-loop generator sends four times as much,
// in turns. It prints what ended of it in time, beside what the writers got done just before. Nothing else goes on: compare
// TestOverload. Only `make overload` runs it.
func TestOverloadRate(t *testing.T) {
	if os.Getenv("SKERRY_LONG") == "" {
		t.Skip("it measures: make overload")
	}
	const shards, writers, times, rounds, window = 4, 256, 4, 5, 8 * time.Second
	c := New(t, Options{SplitKeys: splitKeys(shards), SplitBytes: -1, Direct: true, MemoryBudget: overloadBudget, CacheBytes: overloadCacheBytes, MemTableBytes: overloadTableBytes})
	watch := startOverloadWatch(c)
	run := func(l *overloadLoad) loadTally {
		l.Addrs, l.Shards = c.Addrs(), shards
		p := startOverload(t, l)
		time.Sleep(window)
		return p.stop(t)
	}
	for _, value := range []int{256, 4 << 10} {
		run(&overloadLoad{Writers: writers, Value: value})
		time.Sleep(time.Second)
		watch.begin()
		var parts []float64
		for range rounds {
			peak := run(&overloadLoad{Writers: writers, Value: value})
			rate := int(float64(peak.Done) / window.Seconds())
			did := run(&overloadLoad{Rate: rate * times, Clients: overloadClients, Value: value})
			part := float64(did.Done) / float64(peak.Done)
			parts = append(parts, part)
			perSecond := func(n int64) int { return int(float64(n) / window.Seconds()) }
			t.Logf("%5d bytes: %d/s from %d writers; of %d/s that were due, %d/s were sent, and %d/s ended in %s, %.2f times as many", value, rate, writers,
				perSecond(did.Sent+did.Refused), perSecond(did.Sent), perSecond(did.Done), overloadPatience, part)
		}
		slices.Sort(parts)
		t.Logf("%5d bytes: median %.2f, from %.2f to %.2f", value, parts[rounds/2], parts[0], parts[rounds-1])
	}
	watch.stop()
	watch.judge(t)
}
