package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

const (
	diskBytes = 100 << 30
	diskLow   = diskBytes / 20 // the default low mark
)

// diskful is a cluster whose disks say how full they are.
type diskful struct {
	*Cluster
	t *testing.T
	d *shard.Descriptor
}

func newDiskful(t *testing.T) *diskful {
	c := &diskful{Cluster: New(t, Options{Store: func(o *raftstore.Options) { o.Tick = 10 * time.Millisecond; o.ElectionTicks = 50 }}), t: t}
	c.d = c.opt.Shards[0]
	mustPut(t, c.Cluster, c.d, "a", "1")
	return c
}

// free sets what is free on some disks, and waits until the stores have seen it.
func (c *diskful) free(bytes uint64, level raftstore.Level, ids ...shard.StoreID) {
	c.t.Helper()
	for _, id := range ids {
		c.Stores[id].Disk.SetFree(bytes, diskBytes)
		c.WaitFor("level "+level.String(), func() bool { return c.Stores[id].Store.Room().Level == level })
	}
}

// once sends one command to the leader.
func (c *diskful) once(op raw.Op) error {
	c.t.Helper()
	lead := c.Leader(c.d.ID)
	ref := c.Do(lead, &call.Request{Kind: call.Refresh, Shard: c.d.ID, Epoch: c.d.Epoch})
	if ref.Err != nil {
		c.t.Fatal(ref.Err)
	}
	cmd := &raw.Command{Ops: []raw.Op{op}}
	return c.Do(lead, &call.Request{Kind: call.Write, Shard: c.d.ID, Epoch: c.d.Epoch, Timeout: 5 * time.Second, Op: call.OpID{Client: c.client, Seq: c.seq.Add(1)},
		Term: ref.Term, Since: ref.Applied, Body: cmd.Append(nil)}).Err
}

func (c *diskful) put() error {
	return c.once(raw.Op{Kind: raw.Put, Key: shard.RawKey([]byte("a")), Value: []byte("2")})
}

func (c *diskful) delete() error {
	return c.once(raw.Op{Kind: raw.Delete, Key: shard.RawKey([]byte("a"))})
}

// refused fails unless a put is refused because the disk of one of some stores is nearly full.
func (c *diskful) refused(by ...shard.StoreID) {
	c.t.Helper()
	var full *shard.DiskFullError
	if err := c.put(); !errors.As(err, &full) {
		c.t.Fatalf("a put while the disk is nearly full: %v", err)
	}
	for _, id := range by {
		if full.Store == id {
			return
		}
	}
	c.t.Fatalf("refused by %s: %v", full.Store, full)
}

// TestNearlyFullDisk: a leader whose disk is nearly full adds nothing, but deletes, reads, and gives its leadership away;
// when there is room again, and some more, it goes on.
func TestNearlyFullDisk(t *testing.T) {
	t.Parallel()
	c := newDiskful(t)
	lead := c.Leader(c.d.ID)
	c.free(diskLow-1, raftstore.Low, lead)
	c.refused(lead)
	if v, ok, err := c.Get(c.d, "a"); v != "1" || !ok || err != nil {
		t.Fatalf("read: %q %v %v", v, ok, err)
	}
	if err := c.delete(); err != nil {
		t.Fatalf("a delete while the disk is nearly full: %v", err)
	}
	c.Stores[lead].Disk.SetFree(diskLow+1, diskBytes)
	time.Sleep(300 * time.Millisecond) // it looks each 100 ms
	c.refused(lead)
	c.free(diskLow+diskLow/4, raftstore.Roomy, lead)
	if err := c.put(); err != nil {
		t.Fatalf("a put when there is room again: %v", err)
	}
	c.free(0, raftstore.Reserve, lead)
	c.refused(lead)
	if err := c.delete(); err != nil {
		t.Fatalf("a delete while the disk is full: %v", err)
	}
	to := lead%3 + 1
	if err := c.Stores[lead].Store.TransferLeader(t.Context(), c.d.ID, to); err != nil {
		t.Fatalf("a transfer of leadership while the disk is full: %v", err)
	}
	c.WaitFor("the other leader", func() bool { return c.Status(to, c.d.ID).Leading })
	c.WaitFor("a put by the other leader", func() bool { return c.put() == nil })
	if n := c.Stores[lead].Store.Room().RefusedCommands; n < 3 {
		t.Errorf("%d refusals were counted", n)
	}
}

// TestFullFollowers: one follower whose disk is at its reserve takes no data, and the others go on; with two that are low
// nothing is added any more, and so deletes find a majority.
func TestFullFollowers(t *testing.T) {
	t.Parallel()
	c := newDiskful(t)
	lead := c.Leader(c.d.ID)
	one, two := lead%3+1, (lead+1)%3+1
	same(c.Cluster, c.d)
	c.free(diskLow/8, raftstore.Reserve, one)
	before := c.Status(one, c.d.ID).Last
	if err := c.put(); err != nil {
		t.Fatalf("a put while one follower is full: %v", err)
	}
	if last := c.Status(one, c.d.ID).Last; last != before {
		t.Errorf("the full one has entries up to %d, before the put up to %d", last, before)
	}
	c.free(diskLow-1, raftstore.Low, two)
	c.WaitFor("the leader to hear it", func() bool {
		var full *shard.DiskFullError
		return errors.As(c.put(), &full)
	})
	c.refused(one, two)
	if err := c.delete(); err != nil {
		t.Fatalf("a delete while two followers are full: %v", err)
	}
	c.free(diskBytes/2, raftstore.Roomy, one, two)
	c.WaitFor("a put when there is room again", func() bool { return c.put() == nil })
	same(c.Cluster, c.d)
}
