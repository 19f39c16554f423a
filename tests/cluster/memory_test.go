package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// small makes every store's budget the smallest one. Ticks are long, because leadership is not the subject.
func small(o *raftstore.Options) {
	o.Memory = budget.New(budget.MinBytes)
	o.Tick = time.Second
}

func largeTables(o *engine.Options) { o.MemTableBytes = 64 << 20 }

// overShare fails if a store holds more of any kind than its share and one piece of work.
func overShare(t *testing.T, s *raftstore.Store, piece int64) {
	t.Helper()
	for _, k := range budget.Kinds() {
		if n := s.Memory().Used(k); n > s.Memory().Share(k)+piece {
			t.Errorf("%s holds %d bytes for %s, its share is %d", s.ID(), n, k, s.Memory().Share(k))
		}
	}
}

// deleting is a request to delete a key of a shard.
func (j *jam) deleting(d *shard.Descriptor, key string, timeout time.Duration) *call.Request {
	return j.writing(d, &raw.Command{Ops: []raw.Op{{Kind: raw.Delete, Key: shard.RawKey([]byte(key))}}}, timeout)
}

// writing is a request to write to a shard that the jam's leader leads, whatever the other stores are up to.
func (j *jam) writing(d *shard.Descriptor, cmd *raw.Command, timeout time.Duration) *call.Request {
	t := j.c.T.(*testing.T)
	ref := j.c.Do(j.lead, &call.Request{Kind: call.Refresh, Shard: d.ID, Epoch: d.Epoch})
	if ref.Err != nil {
		t.Fatal(ref.Err)
	}
	j.seq++
	return &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Timeout: timeout, Op: call.OpID{Client: 7, Seq: j.seq},
		Term: ref.Term, Since: ref.Applied, Body: cmd.Append(nil)}
}

// TestDeletesFitWhenWritesDoNot: shards that hold all the memory that there is for writes do not keep deletes out, neither
// those of others nor their own; and give it back when they move again.
func TestDeletesFitWhenWritesDoNot(t *testing.T) {
	t.Parallel()
	jammed, other := Descriptor(2, "", "m", 3), Descriptor(3, "m", "", 3)
	c := New(t, Options{Store: small, Engine: largeTables, Shards: []*shard.Descriptor{jammed, other}})
	mustPut(t, c, jammed, "a", "1")
	mustPut(t, c, other, "n", "1")
	// Both are led by one store, or the other's memory would be another one's.
	lead := c.Leader(jammed.ID)
	if at := c.Leader(other.ID); at != lead {
		if err := c.Stores[at].Store.TransferLeader(t.Context(), other.ID, lead); err != nil {
			t.Fatal(err)
		}
		c.WaitFor("one leader", func() bool { return c.Status(lead, other.ID).Leading })
		mustPut(t, c, other, "n", "1")
	}
	s := c.Stores[lead].Store
	j := &jam{c: c, d: jammed, lead: lead}
	// What stands in for many jammed shards, each of which may take half.
	s.Memory().Add(budget.Writes, s.Memory().Share(budget.Writes))
	b := &burst{t: t}
	del := j.deleting(other, "n", 5*time.Second)
	put := *del
	put.Op.Seq = 1 << 20
	put.Body = (&raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte("n")), Value: []byte("2")}}}).Append(nil)
	s.Handle([]call.Ask{{ID: 1, To: b, Req: &put}})
	b.wait(1, 0, 0)
	if rep := c.Do(lead, del); rep.Err != nil {
		t.Fatalf("a delete while there is no memory for writes: %v", rep.Err)
	}
	if rep := c.Do(lead, j.deleting(jammed, "a", 5*time.Second)); rep.Err != nil {
		t.Fatalf("a delete while there is no memory for writes: %v", rep.Err)
	}
	if n := s.Memory().Refused(budget.Writes); n != 1 {
		t.Errorf("%d writes are counted as refused", n)
	}
	s.Memory().Give(budget.Writes, s.Memory().Share(budget.Writes))
	mustPut(t, c, other, "n", "3")
	if v, ok, err := c.Get(other, "n"); v != "3" || !ok || err != nil {
		t.Fatal(v, ok, err)
	}
}

// TestStalledFollower: a follower whose disk hangs costs its leader no memory, and itself not more than its budget,
// however much is written meanwhile. It catches up afterwards.
func TestStalledFollower(t *testing.T) { // not beside others: it is much work
	const writes, bytes = 80, 1 << 20 // more than a budget
	c := New(t, Options{Store: func(o *raftstore.Options) { small(o); o.Tick, o.HungDiskExit = 50*time.Millisecond, time.Hour }, Engine: func(o *engine.Options) {
		o.MemTableBytes, o.TailBytes = 64<<20, 8<<20
	}})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "first", "1")
	lead := c.Leader(d.ID)
	follower := lead%3 + 1
	c.Stores[follower].Disk.Hang()
	working := *d // as whoever asks sees it: the stalled one answers nobody
	working.Replicas = slices.DeleteFunc(slices.Clone(d.Replicas), func(r shard.Replica) bool { return r.Store == follower })
	for i := range writes {
		mustPut(t, c, &working, fmt.Sprintf("k%d", i%8), string(make([]byte, bytes)))
		for _, m := range c.Stores {
			overShare(t, m.Store, 4<<20)
		}
	}
	for _, r := range working.Replicas {
		if n := c.Stores[r.Store].Store.Memory().Used(budget.Writes); n != 0 {
			t.Errorf("%s holds %d bytes for writes that are answered", r.Store, n)
		}
	}
	c.Stores[follower].Disk.Release()
	same(c, d)
}

// TestAcknowledgementsFit: a leader that has no memory for frames hears acknowledgements still, and a follower that has none
// takes no entries, and all of them once it has.
func TestAcknowledgementsFit(t *testing.T) {
	t.Parallel()
	c := New(t, Options{Store: small, Engine: largeTables})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "first", "1")
	lead := c.Leader(d.ID)
	full := c.Stores[lead].Store.Memory()
	full.Add(budget.Inbound, 2*full.Share(budget.Inbound))
	mustPut(t, c, d, "second", "2")
	// Now one follower cannot take entries: the other one is enough, and it follows when it can.
	follower := lead%3 + 1
	c.WaitFor("what is on its way to the follower", func() bool { return c.Status(follower, d.ID).Last == c.Status(lead, d.ID).Last })
	none := c.Stores[follower].Store.Memory()
	none.Add(budget.Inbound, 2*none.Share(budget.Inbound))
	before := c.Status(follower, d.ID).Last
	mustPut(t, c, d, "third", "3")
	if c.Status(follower, d.ID).Last != before {
		t.Error("a follower without memory takes entries")
	}
	none.Give(budget.Inbound, 2*none.Share(budget.Inbound))
	full.Give(budget.Inbound, 2*full.Share(budget.Inbound))
	same(c, d)
}

// TestReadsHaveABound: reads that wait are refused once they hold the memory that there is for reads, and what is given back
// lets others in.
func TestReadsHaveABound(t *testing.T) {
	t.Parallel()
	c := New(t, Options{Store: small, Engine: largeTables})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "a", "1")
	lead := c.Leader(d.ID)
	m := c.Stores[lead].Store.Memory()
	scan := &raw.Query{Kind: raw.Scan, Range: shard.ModeRange(shard.ModeRaw)}
	req := &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: 5 * time.Second, Body: scan.Append(nil)}
	m.Add(budget.Reads, m.Share(budget.Reads))
	var busy *shard.ServerBusyError
	if rep := c.Do(lead, req); !errors.As(rep.Err, &busy) || busy.Wait <= 0 {
		t.Fatalf("a scan while there is no memory for reads: %v", rep.Err)
	}
	get := &raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte("a"))}}
	c.WaitFor("a lease", func() bool {
		rep := c.Do(lead, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: time.Second, Body: get.Append(nil)})
		return rep.Err == nil || !errors.As(rep.Err, &busy)
	})
	m.Give(budget.Reads, m.Share(budget.Reads))
	// A request that just fits is not evaluated: there is no room for its page.
	just := m.Share(budget.Reads) - 512 - 4*int64(len(req.Body))
	m.Add(budget.Reads, just)
	if rep := c.Do(lead, req); !errors.As(rep.Err, &busy) {
		t.Fatalf("a scan while there is no memory for its page: %v", rep.Err)
	}
	m.Give(budget.Reads, just)
	if rep := c.Do(lead, req); rep.Err != nil {
		t.Fatalf("a scan when there is memory again: %v", rep.Err)
	}
}
