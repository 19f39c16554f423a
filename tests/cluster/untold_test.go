package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// commitNews are the messages between stores that bring no entries and say only that more is committed: how many there were, and
// about which entries.
type commitNews struct {
	n       atomic.Uint64
	commits sync.Map
}

// hear watches for such messages, and lets none of raft's heartbeats through, which say it as well.
func (n *commitNews) hear(c *Cluster) {
	c.Net.SetFilter(func(_, _ shard.StoreID, frame []byte) bool {
		if len(frame) == 0 || frame[len(frame)-1] != 1 {
			return true
		}
		beats := false
		_ = group.DecodeFrame(frame[:len(frame)-1], func(_ shard.ID, m *raftpb.Message) error {
			if m.GetType() == raftpb.MsgApp && len(m.GetEntries()) == 0 {
				n.n.Add(1)
				n.commits.Store(m.GetCommit(), true)
			}
			beats = beats || m.GetType() == raftpb.MsgHeartbeat
			return nil
		})
		return !beats
	})
}

// TestCommitsRideWithEntries: of puts one behind the other, followers hear with the next one that one is committed, and of the last
// one soon.
func TestCommitsRideWithEntries(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "first")
	var news commitNews
	news.hear(c)
	allowed := uint64(2) // of the last put, to two followers
	before := time.Now()
	for i := range 500 {
		began := time.Now()
		mustPut(t, c, d, "k", fmt.Sprint(i))
		if time.Since(before) > 10*time.Millisecond {
			allowed += 2 // the one before it was committed before, and perhaps so long ago that followers were told
		}
		before = began
	}
	lead := c.Leader(d.ID)
	last := c.Status(lead, d.ID).Applied.Index
	for id := range c.Stores {
		c.WaitFor("the last put on every store", func() bool { return c.Status(id, d.ID).Applied.Index >= last })
	}
	if n := news.n.Load(); n > allowed {
		t.Errorf("%d messages about commits alone, not at most %d", n, allowed)
	}
	if _, ok := news.commits.Load(last); !ok {
		t.Errorf("followers heard of entry %d by something else", last)
	}
	c.Net.SetFilter(nil)
	same(c, d)
}
