package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
)

// TestMoveSpeed measures how long a replica of a large shard takes to move to another store of an idle cluster.
// `make bench-move` moves 1 GiB, three times.
func TestMoveSpeed(t *testing.T) {
	t.Parallel()
	mebi, times := int(setting(t, "SKERRY_MOVE", 8)), int(setting(t, "SKERRY_MOVES", 1))
	// Placement is apart: an operator is gone with the leadership of placement, and its end is looked at here.
	c := New(t, Options{Nodes: 4, Apart: 3, SplitBytes: -1, Direct: true})
	m := &moves{outliving{growth: growth{t: t, c: c}, ctx: context.Background()}}
	fillShard(t, c, mebi)
	time.Sleep(min(20*time.Second, time.Duration(mebi)*10*time.Millisecond)) // stores flush ten seconds after the last write: the cluster is to be idle
	for range times {
		if parts, err := c.DB.Partitions(m.ctx, client.Range{}); err != nil || len(parts) != 1 {
			t.Fatalf("what was filled in lies in %d shards, of which one would be moved: %v", len(parts), err)
		}
		op, from, to := m.begin()
		op = m.ended(op.ID, 10*time.Minute)
		if op.State != "finished" {
			t.Fatalf("the move ended as %+v", op)
		}
		t.Logf("%d MiB moved from %s to %s in %s: %.1f s/GiB", mebi, from, to, op.Took.Round(time.Millisecond), op.Took.Seconds()*1024/float64(mebi))
	}
	sameOnAllReplicas(t, c)
}

// fillShard puts so many MiB of values of 256 bytes that no disk compresses, and lets the stores flush and compact them.
func fillShard(t *testing.T, c *Cluster, mebi int) {
	t.Helper()
	const value, batch = 256, 4096
	seed := noise(1 << 20)
	for i := 0; i < mebi<<20/value; i += batch {
		var kvs []client.KV
		for j := i; j < i+batch; j++ {
			at := j * (value + 1) % (len(seed) - value) // neighbours share nothing, else Snappy halves every block
			kvs = append(kvs, client.KV{Key: fmt.Appendf(nil, "k%03d/%010d", i/batch%1000, j), Value: seed[at : at+value]})
		}
		if err := c.DB.PutMany(context.Background(), kvs); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(min(10*time.Second, time.Duration(mebi)*20*time.Millisecond))
}
