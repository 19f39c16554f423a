package cluster

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// heapGoalBytes is what a sleeping replica may cost in memory, all included: group, log, read side, its places in maps,
// and its part of the in-memory disk. A store of 100,000 of them then still fits into a gigabyte.
const heapGoalBytes = 8 << 10

// TestHeapPerSleepingReplica: three stores of many shards, asleep after they were created and some were written to.
// SKERRY_HEAP_SHARDS sets how many (10,000 on each store gave 4.2 KiB a replica; in a profile of a third of them a quarter
// was raft's, a sixth raftstore's own struct, a ninth the in-memory disk), SKERRY_HEAP_PROFILE names a file for a profile.
func TestHeapPerSleepingReplica(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("thousands of replicas")
	}
	const stores = 3
	shards, tick := 1000, 50*time.Millisecond
	if n, err := strconv.Atoi(os.Getenv("SKERRY_HEAP_SHARDS")); err == nil {
		shards, tick = n, 200*time.Millisecond // thirty thousand replicas awake are much for one machine
	}
	var ds []*shard.Descriptor
	for i := range shards {
		start, end := fmt.Sprintf("%06d", i), fmt.Sprintf("%06d", i+1)
		if i == 0 {
			start = ""
		}
		if i == shards-1 {
			end = ""
		}
		ds = append(ds, Descriptor(shard.ID(2+i), start, end, stores))
	}
	c := New(t, Options{Stores: stores, Shards: []*shard.Descriptor{}, Store: func(o *raftstore.Options) { o.Tick = tick }})
	before := heap()
	for _, m := range c.Stores {
		if err := m.Store.CreateShards(ds); err != nil {
			t.Fatal(err)
		}
	}
	for i := 0; i < shards; i += 100 {
		mustPut(t, c, ds[i], fmt.Sprintf("%06d-x", i), "v")
	}
	c.WaitFor("sleep", func() bool {
		for id := range c.Stores {
			st, err := c.Stores[id].Store.Status(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range st {
				if !r.Asleep {
					return false
				}
			}
		}
		return true
	})
	after := heap()
	if path := os.Getenv("SKERRY_HEAP_PROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := pprof.Lookup("heap").WriteTo(f, 0); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	per := int64(after-before) / int64(stores*shards)
	t.Logf("%d bytes of heap per sleeping replica", per)
	if per > heapGoalBytes {
		t.Errorf("%d bytes of heap per sleeping replica, goal %d", per, heapGoalBytes)
	}
	runtime.KeepAlive(ds)
}

func heap() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
