package cluster

import (
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// carries reports whether a frame holds a raft message of a type.
func carries(frame []byte, typ raftpb.MessageType) (found bool) {
	if len(frame) == 0 || frame[len(frame)-1] != 1 {
		return false
	}
	_ = group.DecodeFrame(frame[:len(frame)-1], func(_ shard.ID, m *raftpb.Message) error {
		found = found || m.GetType() == typ
		return nil
	})
	return found
}

// noEntries keeps entries from a store, and nothing else.
func (c *Cluster) noEntries(id shard.StoreID) {
	c.Net.SetFilter(func(_, to shard.StoreID, frame []byte) bool { return to != id || !carries(frame, raftpb.MsgApp) })
}

// TestTruncationWaitsForLiveFollower: a follower that lags, but answers heartbeats, keeps the log that it needs, at
// every moment, also right after raft's check of the quorum, which forgets who was heard. One that lags too far gets a
// snapshot.
func TestTruncationWaitsForLiveFollower(t *testing.T) {
	const logEntries = 64 // 16 are kept, and 1,024 for a live follower
	c := New(t, Options{Store: func(o *raftstore.Options) {
		o.LogEntries, o.NoSleep = logEntries, true
		o.Tick = 100 * time.Millisecond // nobody shall be suspected only because the machine is busy
	}})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "first", "1")
	slow := others(c.Leader(d.ID))[0]
	leader := func() raftstore.ReplicaStatus { return c.Status(c.Leader(d.ID), d.ID) }
	match := func() uint64 { return c.Status(slow, d.ID).Last }
	c.WaitFor("the follower to have what was put", func() bool { return match() >= leader().Last }) // else it is under way to it
	c.noEntries(slow)
	behind := match()
	for start, n := time.Now(), 0; time.Since(start) < 3*time.Second && n < 12*logEntries; n++ { // three such checks
		mustPut(t, c, d, "k", "1")
		time.Sleep(3 * time.Millisecond)
	}
	if st := leader(); st.Applied.Index < behind+2*logEntries || st.Applied.TruncIndex > behind {
		t.Fatalf("a live follower has entries up to %d, its leader: %+v", behind, st)
	}
	c.Net.SetFilter(nil)
	c.WaitFor("the follower to catch up", func() bool { return match() >= leader().Last })
	if n := counter(c, slow, "snapshots_installed_total"); n != 0 {
		t.Errorf("%d snapshots for a live follower", n)
	}
	if t.Failed() {
		return
	}
	c.noEntries(slow)
	behind = match()
	for range 18 * logEntries {
		mustPut(t, c, d, "k", "2")
	}
	c.WaitFor("the log to be cut without it", func() bool { return leader().Applied.TruncIndex > behind })
	c.Net.SetFilter(nil)
	c.WaitFor("a snapshot", func() bool { return counter(c, slow, "snapshots_installed_total") > 0 })
	same(c, d)
}
