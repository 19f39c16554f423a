package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// forLots has followers keep what is committed for so long.
func forLots(age time.Duration) Options {
	return Options{Store: func(o *raftstore.Options) {
		o.LotAge = age
		o.Tick = 100 * time.Millisecond // nobody shall be suspected only because the machine is busy, which ends a lot
	}}
}

// waits waits until the followers of a shard know that everything is committed, and returns those, all of which keep some of it.
func (c *Cluster) waits(d *shard.Descriptor) []shard.StoreID {
	c.T.Helper()
	followers, without := c.keep(d)
	if len(without) > 0 {
		c.T.Fatalf("%v keep nothing", without)
	}
	return followers
}

// keep waits until the followers of a shard know that everything is committed, and returns those, and which of them keep
// nothing of it.
func (c *Cluster) keep(d *shard.Descriptor) (followers, without []shard.StoreID) {
	c.T.Helper()
	lead := c.Leader(d.ID)
	followers = others(lead)
	for _, id := range followers {
		c.WaitFor("commits on "+id.String(), func() bool {
			return c.Status(id, d.ID).Committed == c.Status(lead, d.ID).Committed
		})
		if st := c.Status(id, d.ID); st.Applied.Index >= st.Committed {
			without = append(without, id)
		}
	}
	return followers, without
}

// applied waits until everything is applied on a store.
func (c *Cluster) applied(id shard.StoreID, sid shard.ID) {
	c.T.Helper()
	c.WaitFor("everything applied on "+id.String(), func() bool {
		st := c.Status(id, sid)
		return st.Committed == st.Applied.Index
	})
}

// TestFollowersApplyInLots: of puts one behind the other a follower applies many at once, and the last one soon, by itself.
func TestFollowersApplyInLots(t *testing.T) {
	const age = 100 * time.Millisecond
	c := New(t, forLots(age))
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "first")
	lead := c.Leader(d.ID)
	before, since := make(map[shard.StoreID]uint64), time.Now()
	for _, id := range others(lead) {
		before[id] = counter(c, id, "applied_batches_total")
	}
	const puts = 1000
	for i := range puts {
		mustPut(t, c, d, fmt.Sprint("k", i%10), fmt.Sprint(i))
	}
	for _, id := range others(lead) {
		c.applied(id, d.ID)
		if n, allowed := counter(c, id, "applied_batches_total")-before[id], uint64(time.Since(since)/age)+4; n > allowed {
			t.Errorf("%s applied %d puts in %d batches, not at most %d", id, puts, n, allowed)
		}
	}
	same(c, d)
}

// TestWhatEndsALot: where lots last for an hour, what somebody waits for is applied all the same.
func TestWhatEndsALot(t *testing.T) {
	c := New(t, forLots(time.Hour))
	d := c.opt.Shards[0]
	put := func(k, v string) []shard.StoreID {
		t.Helper()
		mustPut(t, c, d, k, v)
		return c.waits(d)
	}

	for _, id := range put("read", "1") {
		if v, ok, err := c.GetFrom(d, "read", id); err != nil || !ok || v != "1" {
			t.Fatalf("read on %s: %q %t %v", id, v, ok, err)
		}
		c.applied(id, d.ID)
	}

	followers := put("led", "2")
	c.moveLeader(d.ID)
	if v, ok, err := c.Get(d, "led"); err != nil || !ok || v != "2" {
		t.Fatalf("under the next leader: %q %t %v", v, ok, err)
	}
	for _, id := range followers {
		c.applied(id, d.ID)
	}

	followers = put("alone", "2")
	c.Net.SetFilter(func(_, _ shard.StoreID, _ []byte) bool { return false })
	for _, id := range followers { // before another leads, which may be one of them
		c.applied(id, d.ID)
	}
	c.Net.SetFilter(nil)
	c.WaitFor("leadership to settle", func() bool { // until then it may change once more
		mustPut(t, c, d, "settled", "2")
		_, without := c.keep(d) // they are told a moment after the put
		return len(without) == 0
	})

	followers = put("large", "3")
	for i := range 40 {
		mustPut(t, c, d, fmt.Sprint("large", i), string(make([]byte, 32<<10)))
	}
	for _, id := range followers {
		c.WaitFor("a large lot to end on "+id.String(), func() bool {
			return c.Status(id, d.ID).Applied.Index > c.Status(id, d.ID).Committed-40
		})
	}

	followers = put("split", "4")
	right := c.Split(d.ID, "m")
	for _, id := range followers {
		c.applied(id, d.ID)
		c.applied(id, right[len(right)-1].ID)
	}
	same(c, right[0])

	// A lot is not lost with the process: what is in it is in the log.
	d = right[0]
	for _, id := range put("again", "5") {
		c.Crash(id, 0)
		c.Start(id)
		if v, ok, err := c.GetFrom(d, "again", id); err != nil || !ok || v != "5" {
			t.Fatalf("after a crash of %s: %q %t %v", id, v, ok, err)
		}
	}
}

// TestSnapshotEndsALot: what waits on a follower that needs a snapshot is not applied over it.
func TestSnapshotEndsALot(t *testing.T) {
	const logEntries = 16 // and 256 for a live follower
	c := New(t, Options{Store: func(o *raftstore.Options) {
		o.LotAge, o.LogEntries, o.NoSleep = time.Hour, logEntries, true
		o.Tick = 100 * time.Millisecond // the follower shall know its leader all the time, which else ends the lot
	}})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	slow := c.waits(d)[0]
	c.noEntries(slow)
	for i := range 20 * logEntries {
		mustPut(t, c, d, "k", fmt.Sprint(i))
	}
	c.WaitFor("the log to be cut without it", func() bool {
		return c.Status(c.Leader(d.ID), d.ID).Applied.TruncIndex > c.Status(slow, d.ID).Last
	})
	if st := c.Status(slow, d.ID); st.Applied.Index >= st.Committed {
		t.Fatalf("%s keeps nothing: %d applied of %d", slow, st.Applied.Index, st.Committed)
	}
	c.Net.SetFilter(nil)
	c.WaitFor("a snapshot", func() bool { return counter(c, slow, "snapshots_installed_total") > 0 })
	mustPut(t, c, d, "k", "last")
	for _, id := range others(c.Leader(d.ID)) { // which ends its lot
		if v, ok, err := c.GetFrom(d, "k", id); err != nil || !ok || v != "last" {
			t.Fatalf("after the snapshot, on %s: %q %t %v", id, v, ok, err)
		}
	}
	same(c, d)
}
