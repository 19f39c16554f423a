package cluster

import (
	"math"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
)

// written is how many entries of a shard's log are neither a leader's first nor a change of members, as the disk of a
// store holds them, which is stopped for it. However often the leader changes, it stays the same.
func (c *Cluster) written(id shard.StoreID, sid shard.ID) (n int) {
	c.T.Helper()
	c.Stop(id)
	in, err := engine.Inspect("store", c.Stores[id].FS)
	if err != nil {
		c.T.Fatal(err)
	}
	defer in.Close()
	if err := in.Log(sid, 0, math.MaxUint64, func(e *engine.Entry) bool {
		if e.Type == raftpb.EntryNormal && len(e.Data) > 0 {
			n++
		}
		return true
	}); err != nil {
		c.T.Fatal(err)
	}
	return n
}
