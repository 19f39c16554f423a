package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestIdle measures what idle shards cost: CPU per store and heap per replica. `make bench-idle` runs it with 10,000
// shards; here a few hundred show that they fall asleep at all.
func TestIdle(t *testing.T) {
	shards, window := 300, 5*time.Second
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
	c := New(t, Options{SplitKeys: keys})
	asleep(t, c, shards)
	_ = c.DB.Close() // a client's route stream costs placement something when stores report
	c.DB = nil
	time.Sleep(3 * time.Second)
	before := make([]time.Duration, len(c.Nodes))
	for i, p := range c.Nodes {
		before[i] = p.CPU()
	}
	time.Sleep(window)
	for i, p := range c.Nodes {
		cpu := p.CPU() - before[i]
		heap := p.Heap()
		t.Logf("node %d: %.2f %% of a core, %d bytes of heap, %d per replica", i+1, 100*cpu.Seconds()/window.Seconds(), heap, heap/int64(shards))
	}
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
