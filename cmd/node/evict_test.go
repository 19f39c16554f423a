package node_test

import (
	"fmt"
	"testing"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// TestEvictLeaders: a store that shall lead nothing gives its leaderships away and keeps its replicas, none is given to it,
// by hand either, and when it may lead again balance brings some back. Nothing else moves, and nothing is lost.
func TestEvictLeaders(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1, 3, 0)
	id := c.ids()[0]
	led := func() (n int) {
		for _, s := range c.shards() {
			if s.Leader.Store == id {
				n++
			}
		}
		return n
	}
	balanced := func() (bool, string) { n := led(); return n > 0, fmt.Sprintf("%s leads %d of 12", id, n) }
	c.until("balance of leaders", balanced)
	if err := c.admin.DryRun().EvictLeaders(c.ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := c.admin.EvictLeaders(c.ctx, id); err != nil {
		t.Fatal(err)
	}
	c.until("it leads nothing", func() (bool, string) { n := led(); return n == 0, fmt.Sprint(n) })
	held := c.rest()
	if n := led(); n != 0 || held[id] != 12 {
		t.Fatalf("at rest it leads %d shards and holds %d", n, held[id])
	}
	var some shard.ID
	for _, s := range c.shards() {
		some = s.ID
	}
	if _, err := c.admin.PlaceLeader(c.ctx, some, id); client.Code(err) != "SK2007" {
		t.Fatalf("by hand it is given a leadership: %v", err)
	}
	c.keys()
	if err := c.admin.AllowLeaders(c.ctx, id); err != nil {
		t.Fatal(err)
	}
	c.until("balance again", balanced)
	c.keys()
}
