package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// timed is a cluster whose stores know placement's time only from what they are told (rule 10).
type timed struct {
	*Cluster
	d   *shard.Descriptor
	now shard.Millis
}

func newTimed(t *testing.T, o Options) *timed {
	change := o.Store
	o.Store = func(so *raftstore.Options) {
		so.WallTime = false
		if change != nil {
			change(so)
		}
	}
	c := New(t, o)
	return &timed{Cluster: c, d: c.opt.Shards[0], now: 1_000_000}
}

// jump lets placement's time pass, and tells some stores; none named: all.
func (c *timed) jump(by time.Duration, tell ...shard.StoreID) {
	c.now += shard.Millis(by / time.Millisecond)
	for id, m := range c.Stores {
		told := len(tell) == 0
		for _, x := range tell {
			told = told || x == id
		}
		if told && m.Store != nil {
			m.Store.HearTime(c.now)
		}
	}
}

func (c *timed) putTTL(k, v string, ttl time.Duration) error {
	_, err := c.Write(c.d, &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte(k)), Value: []byte(v), TTL: ttl}}})
	return err
}

func (c *timed) want(k string, there bool) {
	c.T.Helper()
	if _, ok, err := c.Get(c.d, k); err != nil || ok != there {
		c.T.Fatalf("get %s: there %v, want %v (%v)", k, ok, there, err)
	}
	for _, id := range others(c.Leader(c.d.ID)) {
		if c.Stores[id].Store == nil {
			continue
		}
		if _, ok, err := c.GetFrom(c.d, k, id); err == nil && ok != there {
			c.T.Fatalf("get %s from %s: there %v, want %v", k, id, ok, there)
		}
	}
}

// Rule 10: keys live by the time of entries, not by any store's clock, and end for everyone at once.
func TestTTL(t *testing.T) {
	c := newTimed(t, Options{})
	mustPut(t, c.Cluster, c.d, "plain", "1")
	// Without placement's time a TTL cannot be counted.
	lead := c.Leader(c.d.ID)
	req := attempt(c.d, c.Status(lead, c.d.ID), call.OpID{Client: 1, Seq: 1}, "k", "v")
	req.Body = (&raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte("k")), Value: []byte("v"), TTL: time.Second}}}).Append(nil)
	if rep := c.Do(lead, req); !errors.Is(rep.Err, shard.ErrNoFreshTime) {
		t.Fatalf("a write with a ttl before any time was heard: %v", rep.Err)
	}
	c.jump(0)
	if err := c.putTTL("k", "v", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	c.want("k", true)
	c.jump(9 * time.Second)
	c.want("k", true)
	clocks := c.Status(c.Leader(c.d.ID), c.d.ID).Last
	c.jump(2 * time.Second)
	c.want("k", false)
	c.want("plain", true)
	// One entry ended it, however many asked.
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() { c.want("k", false) })
	}
	wg.Wait()
	if n := c.Status(c.Leader(c.d.ID), c.d.ID).Last - clocks; n > 3 {
		t.Errorf("%d entries to let one key end", n)
	}
	// A leader that heard less of the time does not bring it back.
	lead = c.Leader(c.d.ID)
	to := others(lead)[0]
	if err := c.putTTL("k2", "v", 10*time.Second); err != nil {
		t.Fatal(err)
	}
	c.jump(time.Hour, lead)
	c.want("k2", false)
	if err := c.Stores[lead].Store.TransferLeader(context.Background(), c.d.ID, to); err != nil {
		t.Fatal(err)
	}
	c.WaitFor("the transfer", func() bool { return c.Stores[to].Store.Leading(c.d.ID) != 0 })
	c.want("k2", false)
	same(c.Cluster, c.d)
}

// A scan over keys that are due ends, and a page is of one time.
func TestScanOverDueKeys(t *testing.T) {
	c := newTimed(t, Options{})
	c.jump(0)
	for i := range 20 {
		if err := c.putTTL(fmt.Sprintf("k%02d", i), "v", time.Duration(i+1)*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	c.jump(10 * time.Second)
	q := &raw.Query{Kind: raw.Scan, Range: shard.ModeRange(shard.ModeRaw)}
	lead := c.Leader(c.d.ID)
	rep := c.Do(lead, &call.Request{Kind: call.Read, Shard: c.d.ID, Epoch: c.d.Epoch, Timeout: 5 * time.Second, Body: q.Append(nil)})
	if rep.Err != nil {
		t.Fatal(rep.Err)
	}
	a, err := raw.DecodeAnswer(rep.Body)
	if err != nil || len(a.Rows) < 10 || len(a.Rows) > 11 {
		t.Fatalf("%d rows, want those of the last ten seconds (%v)", len(a.Rows), err)
	}
}

// storedKeys counts what a store's engine holds of a shard, expired or not.
func (c *timed) storedKeys(id shard.StoreID) (n int) {
	rd := c.Stores[id].Engine.NewReader()
	defer func() { _ = rd.Close() }()
	if err := rd.Scan(c.d.Range.Intersect(shard.ModeRange(shard.ModeRaw)), false, func(shard.Key, []byte) bool { n++; return true }); err != nil {
		c.T.Fatal(err)
	}
	return n
}

// Expired keys are removed in the background on every replica, page by page, and living ones are not. When none is left
// the shard forgets that it ever had any.
func TestReclaim(t *testing.T) {
	t.Parallel()
	c := newTimed(t, Options{Store: func(o *raftstore.Options) { o.NoSleep = true }})
	c.jump(0)
	var ops []raw.Op
	for i := range 3000 {
		ops = append(ops, raw.Op{Kind: raw.Put, Key: shard.RawKey(fmt.Appendf(nil, "dead%04d", i)), Value: []byte("v"), TTL: 20 * time.Second})
	}
	ops = append(ops, raw.Op{Kind: raw.Put, Key: shard.RawKey([]byte("long")), Value: []byte("v"), TTL: 10 * time.Minute},
		raw.Op{Kind: raw.Put, Key: shard.RawKey([]byte("plain")), Value: []byte("v")})
	if _, err := c.Write(c.d, &raw.Command{Ops: ops}); err != nil {
		t.Fatal(err)
	}
	c.jump(15 * time.Second)
	time.Sleep(500 * time.Millisecond)
	if n := c.storedKeys(c.Leader(c.d.ID)); n != 3002 {
		t.Fatalf("%d keys are stored, none was due", n)
	}
	c.jump(30 * time.Second)
	left := func(want int, expiring bool) func() bool {
		return func() bool {
			for id := range c.Stores {
				if c.storedKeys(id) != want || (c.Status(id, c.d.ID).Applied.Expiring != 0) != expiring {
					return false
				}
			}
			return true
		}
	}
	c.WaitFor("the expired keys to be removed", left(2, true))
	c.want("long", true)
	c.jump(11 * time.Minute)
	c.WaitFor("the last one", left(1, false))
	c.want("plain", true)
	same(c.Cluster, c.d)
	// And again: the shard is taken up anew with the first new TTL.
	if err := c.putTTL("more", "v", time.Second); err != nil {
		t.Fatal(err)
	}
	c.jump(time.Minute)
	c.WaitFor("the new one", left(1, false))
}

// An idle shard with TTL keys sleeps.
func TestExpiringShardSleeps(t *testing.T) {
	c := newTimed(t, Options{})
	c.jump(0)
	if err := c.putTTL("k", "v", time.Hour); err != nil {
		t.Fatal(err)
	}
	c.WaitFor("sleep", func() bool { return c.Status(c.Leader(c.d.ID), c.d.ID).Asleep })
	c.jump(2 * time.Hour)
	c.want("k", false)
}
