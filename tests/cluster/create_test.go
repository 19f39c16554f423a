package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// TestFirstLeaders: the stores lead alike many new shards, also if one of them creates its replicas before the others.
func TestFirstLeaders(t *testing.T) {
	first := Descriptor(2, "", "a", 3) // by it the stores know each other
	c := New(t, Options{Shards: []*shard.Descriptor{first}, Store: func(o *raftstore.Options) { o.Tick = raftstore.DefaultTick }})
	var ds []*shard.Descriptor
	for i := range 60 {
		ds = append(ds, Descriptor(shard.ID(100+i), fmt.Sprintf("b%02d", i), fmt.Sprintf("b%02d", i+1), 3))
	}
	for id := shard.StoreID(1); id <= 3; id++ {
		if id > 1 {
			time.Sleep(2200 * time.Millisecond) // more than an election timeout and its jitter
		}
		if err := c.Stores[id].Store.CreateShards(ds); err != nil {
			t.Fatal(err)
		}
	}
	led := map[shard.StoreID]int{}
	for _, d := range ds {
		led[c.Leader(d.ID)]++
	}
	for id, n := range led {
		if n > 30 {
			t.Errorf("%s leads %d of %d shards: %v", id, n, len(ds), led)
		}
	}
}
