package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// TestLogsInMemory: of a log a store has in memory what others still need, as long as they are not far behind, and hardly more.
func TestLogsInMemory(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) {
		o.NoSleep, o.LotAge = true, time.Millisecond
		o.Tick = 100 * time.Millisecond // nobody shall be suspected only because the machine is busy
	}})
	d := c.opt.Shards[0]
	value := strings.Repeat("v", 1000)
	puts := func(n int, behind ...shard.StoreID) {
		for i := range n {
			mustPut(t, c, d, fmt.Sprint("k", i%10), value)
			if i%10 == 9 { // a follower that the machine has forgotten meanwhile needs more, and the leader keeps it
				c.allApplied(d.ID, behind...)
			}
		}
	}
	bytes := func(m *Member) int { return int(m.Engine.Metrics().TailBytes) }
	const few, some = 40 << 10, 100_000
	puts(300)
	for _, m := range c.Stores {
		if got := bytes(m); got == 0 || got > few {
			t.Errorf("%s: %d bytes of a log in memory that everyone has", m.ID, got)
		}
	}
	lead := c.Leader(d.ID)
	slow := others(lead)[0]
	c.noEntries(slow)
	puts(100, slow)
	for _, m := range c.Stores {
		switch got := bytes(m); {
		case m.ID == lead && got < some:
			t.Errorf("%s, which leads: %d bytes in memory, and a follower needs %d", m.ID, got, some)
		case m.ID != lead && got > few:
			t.Errorf("%s, which follows: %d bytes in memory, for nobody", m.ID, got)
		}
	}
	puts(600, slow)
	for _, m := range c.Stores {
		if got := bytes(m); got > few {
			t.Errorf("%s: %d bytes in memory, for one that is far behind", m.ID, got)
		}
	}
	c.Net.SetFilter(nil)
	c.allApplied(d.ID)
	Same(c, d)
}

// allApplied waits until every store, other than some, has applied all that the leader has.
func (c *Cluster) allApplied(id shard.ID, but ...shard.StoreID) {
	c.T.Helper()
	last := c.Status(c.Leader(id), id).Last
	for _, m := range c.Stores {
		if !slices.Contains(but, m.ID) {
			c.WaitFor("everything applied on "+m.ID.String(), func() bool { return c.Status(m.ID, id).Applied.Index >= last })
		}
	}
}
