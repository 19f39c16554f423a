package cluster

import (
	"strings"
	"testing"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// TestStoresAtRestFlush: once nobody writes, every store, leader or not, writes what is in memtables into a table. One whose
// disk is nearly full does not, until it has room.
func TestStoresAtRestFlush(t *testing.T) {
	t.Parallel()
	c := &diskful{Cluster: New(t, Options{Engine: func(o *engine.Options) { o.MemTableBytes = 1 << 20 }}), t: t}
	c.d = c.opt.Shards[0]
	lead := c.Leader(c.d.ID)
	full, other := lead%3+1, (lead+1)%3+1
	c.free(diskLow-1, raftstore.Low, full)
	flushes := func(m *Member) uint64 { return m.Engine.Metrics().Flushes }
	for n := range uint64(2) { // by the second time the full one had its turn, too
		mustPut(t, c.Cluster, c.d, "k", strings.Repeat("v", 128<<10))
		for _, id := range []shard.StoreID{lead, other} {
			c.WaitFor("a flush", func() bool { return flushes(c.Stores[id]) > n })
		}
	}
	m := c.Stores[full]
	if n := flushes(m); n != 0 {
		t.Errorf("%d flushes of a full disk", n)
	}
	c.free(diskBytes/2, raftstore.Roomy, full)
	c.WaitFor("a flush where there is room again", func() bool { return flushes(m) > 0 })
}
