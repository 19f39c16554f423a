package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// What an idle store may cost (rule 19). It is judged at the full number of shards only: with fewer, the process itself
// is most of it.
const (
	idleShards  = 10_000
	maxIdleCPU  = 2.0     // percent of a core per store
	maxIdleHeap = 5 << 10 // bytes per replica
	idleWindows = 3       // the median counts: something else may run for a while
)

// TestIdle measures what idle shards cost: CPU per store and heap per replica, with placement in a process of its own,
// whose cost is shown beside. `make bench-idle` runs it with 10,000 shards; here a few hundred show that they fall asleep
// at all.
func TestIdle(t *testing.T) {
	shards, window := 300, 2*time.Second
	if v := os.Getenv("SKERRY_IDLE"); v != "" {
		var err error
		if shards, err = strconv.Atoi(v); err != nil {
			t.Fatalf("SKERRY_IDLE=%s: %v", v, err)
		}
		window = 30 * time.Second
	}
	var keys []string
	for i := 1; i < shards; i++ {
		keys = append(keys, fmt.Sprintf("k%06d", i))
	}
	c := New(t, Options{SplitKeys: keys, Apart: 1})
	asleep(t, c, shards)
	_ = c.DB.Close() // a client's route stream costs placement something when stores report
	c.DB = nil
	time.Sleep(3 * time.Second)
	cpu := idleCPU(c, window)
	for i, p := range c.Nodes {
		heap := p.Heap()
		perReplica := heap / int64(shards)
		t.Logf("store %d: %.2f %% of a core (windows of %s: %.2f), %d bytes of heap, %d per replica",
			i+1, median(cpu[i]), window, cpu[i], heap, perReplica)
		if shards >= idleShards && (median(cpu[i]) > maxIdleCPU || perReplica > maxIdleHeap) {
			t.Errorf("store %d may cost %.1f %% of a core and %d bytes per replica", i+1, maxIdleCPU, maxIdleHeap)
		}
	}
	t.Logf("placement: %.2f %% of a core (%.2f), %d bytes of heap", median(cpu[len(c.Nodes)]), cpu[len(c.Nodes)], c.Apart[0].Heap())
}

// idleCPU is what each process spends in each window, in percent of a core.
func idleCPU(c *Cluster, window time.Duration) [][]float64 {
	out := make([][]float64, len(c.procs()))
	for range idleWindows {
		before := make([]time.Duration, len(out))
		for i, p := range c.procs() {
			before[i] = p.CPU()
		}
		time.Sleep(window)
		for i, p := range c.procs() {
			out[i] = append(out[i], 100*(p.CPU()-before[i]).Seconds()/window.Seconds())
		}
	}
	return out
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

// asleep waits until every replica of every shard sleeps.
func asleep(t testing.TB, c *Cluster, shards int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	for {
		n := 0
		for _, p := range c.Nodes {
			infos, err := replicasAt(ctx, p.Addr())
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range infos {
				if i.Asleep {
					n++
				}
			}
		}
		if n == shards*len(c.Nodes) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("only %d of %d replicas sleep", n, shards*len(c.Nodes))
		}
		time.Sleep(time.Second)
	}
}
