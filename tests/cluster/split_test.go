package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// Rule 14. Each was seen to fail with the guard that it is about taken out.

// byKey tells which of several shards holds a user's key.
func byKey(ds []*shard.Descriptor, k string) *shard.Descriptor {
	for _, d := range ds {
		if d.Range.Contains(shard.RawKey([]byte(k))) {
			return d
		}
	}
	return nil
}

// born waits for a replica of a shard with data on a store.
func born(c *Cluster, id shard.StoreID, d *shard.Descriptor) {
	c.T.Helper()
	c.WaitFor(fmt.Sprintf("%s on %s", d.ID, id), func() bool {
		_, err := c.Stores[id].Store.Descriptor(d.ID)
		return err == nil
	})
}

// A shard is split in four while it is written to, on stores whose workers must agree about it or not. Every key stays
// where it was, on all replicas, also after a crash of all; what was asked of the old shard is told about the new ones.
func TestSplit(t *testing.T) {
	for _, workers := range []int{1, 4} {
		t.Run(fmt.Sprint(workers, " workers"), func(t *testing.T) {
			c := New(t, Options{Store: func(o *raftstore.Options) { o.Workers = workers }})
			d := c.opt.Shards[0]
			fill(t, c, d, "k", 400)
			old := d
			parts := c.Split(d.ID, "k-00100", "k-00200", "k-00300")
			if len(parts) != 4 || parts[0].ID != d.ID || parts[3].Epoch.Version != 4 {
				t.Fatal(parts)
			}
			lead := c.Leader(d.ID)
			for kind, rep := range map[string]call.Reply{
				"write":   c.Do(lead, attempt(old, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 1}, "k-00150", "x")),
				"read":    c.Do(lead, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: old.Epoch, Body: getBody("k-00150")}),
				"refresh": c.Do(lead, &call.Request{Kind: call.Refresh, Shard: d.ID, Epoch: old.Epoch}),
			} {
				var stale *shard.StaleEpochError
				if !errors.As(rep.Err, &stale) || len(stale.Current) != 4 {
					t.Fatalf("%s by the old range: %v", kind, rep.Err)
				}
				for i, p := range parts {
					if stale.Current[i].String() != p.String() {
						t.Errorf("%s is told of %s, want %s", kind, stale.Current[i], p)
					}
				}
			}
			check := func() {
				t.Helper()
				for i := range 400 {
					k := fmt.Sprintf("k-%05d", i)
					mustGet(t, c, byKey(parts, k), k, fmt.Sprintf("v%d", i))
				}
				for _, p := range parts {
					mustPut(t, c, p, string(p.Range.Start.User())+"a", "1")
					same(c, p)
				}
			}
			check()
			for id := range c.Stores {
				c.Crash(id, 0)
			}
			for id := range c.Stores {
				c.Start(id)
			}
			check()
		})
	}
}

// The right side has a leader at once, where its left is led: no election timeout passes.
func TestRightIsLedAtOnce(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.Tick = 200 * time.Millisecond }}) // elections take two seconds and more
	d := c.opt.Shards[0]
	mustPut(t, c, d, "a", "1")
	mustPut(t, c, d, "x", "1")
	lead := c.Leader(d.ID)
	begun := time.Now()
	right := c.Split(d.ID, "m")[1]
	mustGet(t, c, right, "x", "1")
	if took := time.Since(begun); took > time.Second || c.Leader(right.ID) != lead {
		t.Fatalf("after %s %s leads", took, c.Leader(right.ID))
	}
	mustGet(t, c, c.Status(lead, d.ID).Desc, "a", "1")
}

// A store loses the batch of a split in a crash, with the split in its log: it is replayed, and comes to the same; right's
// first entries, which it never had, come from its leader. If the batch survives, right is simply there.
func TestSplitIsReplayed(t *testing.T) {
	for _, synced := range []bool{false, true} {
		t.Run(fmt.Sprintf("batch synced %t", synced), func(t *testing.T) {
			e := &edit{}
			c := New(t, Options{Store: func(o *raftstore.Options) { e.into(o); o.Tick = 100 * time.Millisecond }})
			d := c.opt.Shards[0]
			fill(t, c, d, "k", 100)
			same(c, d)
			lead := c.Leader(d.ID)
			away := others(lead)[0]
			split := c.Status(lead, d.ID).Last + 1
			var hung atomic.Bool
			// The store gets the entry, but hears that it is committed only when its disk hangs; of right it hears nothing.
			e.set(func(_, to shard.StoreID, id shard.ID, m *raftpb.Message) bool {
				return to != away || id == d.ID && (hung.Load() || m.GetCommit() < split)
			})
			parts := c.Split(d.ID, "k-00050")
			c.WaitFor("the entry", func() bool { return c.Status(away, d.ID).Last >= split })
			time.Sleep(20 * time.Millisecond) // for its sync
			c.Stores[away].Disk.Hang()
			hung.Store(true)
			born(c, away, parts[1])
			if synced {
				c.Stores[away].Disk.Release()
				if err := c.Stores[away].Engine.SyncWAL(); err != nil {
					t.Fatal(err)
				}
			}
			c.Crash(away, 0)
			c.Start(away)
			if _, err := c.Stores[away].Store.Descriptor(parts[1].ID); synced && err != nil {
				t.Fatalf("the batch is on disk, and right is not there: %v", err)
			}
			e.set(nil)
			born(c, away, parts[1])
			if n := counter(c, away, "splits_total"); synced != (n == 0) {
				t.Fatalf("%d splits applied after the restart", n)
			}
			for _, p := range parts {
				mustPut(t, c, p, string(p.Range.Start.User())+"k-", "1")
				same(c, p)
			}
		})
	}
}

// A store was away during several splits, and the logs are cut: snapshots of all the parts come, in either order. One
// that comes before its left's is refused, because the old left still holds its range, and comes again.
func TestAwayDuringSplits(t *testing.T) {
	for _, first := range []string{"left", "right"} {
		t.Run(first+" first", func(t *testing.T) {
			var left shard.ID
			var refused atomic.Int32
			c := New(t, Options{Store: func(o *raftstore.Options) {
				o.LogEntries = 64
				o.Transport = &ordered{Transport: o.Transport, left: &left, rightFirst: first == "right", refused: &refused}
			}})
			d := c.opt.Shards[0]
			left = d.ID
			fill(t, c, d, "k", 200)
			same(c, d)
			away := others(c.Leader(d.ID))[0]
			last := c.Status(away, d.ID).Last
			c.Stop(away)
			rest := c.Split(d.ID, "k-00100")
			parts := append([]*shard.Descriptor{}, c.Split(rest[0].ID, "k-00050")...)
			parts = append(parts, c.Split(rest[1].ID, "k-00150")...)
			for _, p := range parts {
				fill(t, c, p, string(p.Range.Start.User())+"k-00049", 2000) // of which up to 16 go into one entry
			}
			c.WaitFor("truncated logs", func() bool {
				for _, p := range parts {
					if st := c.Status(c.Leader(p.ID), p.ID); st.Applied.TruncIndex <= 6 || p.ID == d.ID && st.Applied.TruncIndex <= last {
						return false
					}
				}
				return true
			})
			c.Start(away)
			for _, p := range parts {
				mustPut(t, c, p, string(p.Range.Start.User())+"k-00049", "x")
				born(c, away, p)
				same(c, p)
			}
			if n := counter(c, away, "snapshots_installed_total"); n < 4 {
				t.Errorf("%d snapshots for four shards", n)
			}
			if first == "right" && refused.Load() == 0 {
				t.Error("no snapshot of a right side was refused")
			}
		})
	}
}

// Rule 11: a read of right's key that began under left's lease, and is held up until right has moved on, does not answer
// by the old view.
func TestLeaseReadOverSplit(t *testing.T) {
	t.Parallel()
	p := pausedRead{Env: env.Real{}, armed: new(atomic.Bool), reached: make(chan struct{}), goOn: make(chan struct{})}
	c := New(t, Options{Store: func(o *raftstore.Options) { o.Env, o.NoSleep, o.Tick = p, true, 200*time.Millisecond }}) // the lease outlives it all
	d := c.opt.Shards[0]
	mustPut(t, c, d, "x", "old")
	var lead shard.StoreID
	c.WaitFor("a lease", func() bool {
		mustGet(t, c, d, "x", "old")
		lead = c.Leader(d.ID)
		return c.Stores[lead].Store.Lease(d.ID) != 0
	})
	answer := make(chan call.Reply, 1)
	p.armed.Store(true)
	go func() {
		for {
			rep := c.Do(lead, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: 5 * time.Second, Body: getBody("x")})
			if !p.armed.Load() {
				answer <- rep
				return
			}
		}
	}()
	<-p.reached
	right := c.Split(d.ID, "m")[1]
	mustPut(t, c, right, "x", "new")
	close(p.goOn)
	var stale *shard.StaleEpochError
	if rep := <-answer; !errors.As(rep.Err, &stale) {
		t.Fatalf("a read under the lease of the old range: %v", rep.Err)
	}
}

// Rule 11 iv: a leader whose split is proposed and not applied confirms that it leads, and serves reads, but does not
// renew its lease. Writes wait meanwhile, and are then told of both sides, as is a question about an earlier write.
func TestNoRenewalDuringSplit(t *testing.T) {
	e := &edit{}
	const tick = 20 * time.Millisecond
	c := New(t, Options{Store: func(o *raftstore.Options) { e.into(o); o.Tick = tick }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "x", "1")
	lead := c.Leader(d.ID)
	earlier := attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 1}, "x", "2")
	if rep := c.Do(lead, earlier); rep.Err != nil {
		t.Fatal(rep.Err)
	}
	same(c, d)
	mustGet(t, c, d, "x", "2")
	if c.Stores[lead].Store.Lease(d.ID) == 0 {
		t.Fatal("no lease right after a read")
	}
	e.set(func(_, _ shard.StoreID, _ shard.ID, m *raftpb.Message) bool { return m.GetType() != raftpb.MsgApp })
	done := make(chan error, 1)
	go func() {
		_, err := c.Stores[lead].Store.Split(context.Background(), d.ID, d.Epoch, []shard.Key{shard.RawKey([]byte("m"))}, c.SplitIDs(d, 1))
		done <- err
	}()
	c.WaitFor("the proposal", func() bool { st := c.Status(lead, d.ID); return st.Last > st.Committed })
	write := make(chan call.Reply, 1)
	go func() { write <- c.Do(lead, attempt(d, c.Status(lead, d.ID), call.OpID{Client: 1, Seq: 2}, "x", "3")) }()
	for began := time.Now(); time.Since(began) < 40*tick; {
		rep := c.Do(lead, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: time.Second, Body: getBody("x")})
		if rep.Err != nil {
			t.Skipf("leadership moved: %v", rep.Err)
		}
		if time.Since(began) > 11*tick && c.Stores[lead].Store.Lease(d.ID) != 0 {
			t.Fatal("the lease was renewed")
		}
	}
	e.set(nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var stale *shard.StaleEpochError
	if rep := <-write; !errors.As(rep.Err, &stale) || len(stale.Current) != 2 {
		t.Fatalf("a write that waited for the split: %v", rep.Err)
	}
	if rep := c.Do(lead, &call.Request{Kind: call.Outcome, Shard: d.ID, Op: earlier.Op, Term: earlier.Term, Since: earlier.Since}); rep.Err != nil {
		t.Fatalf("asked about a write of before the split: %v", rep.Err)
	}
	mustGet(t, c, stale.Current[1], "x", "2")
}

// Rule 10: right inherits the shard's time and the duty to take back what expires.
func TestSplitInheritsTime(t *testing.T) {
	c := newTimed(t, Options{})
	c.jump(0)
	if err := c.putTTL("x", "1", time.Minute); err != nil {
		t.Fatal(err)
	}
	c.jump(2 * time.Minute)
	c.want("x", false)
	st := c.Status(c.Leader(c.d.ID), c.d.ID)
	right := c.Split(c.d.ID, "m")[1]
	got := c.Status(c.Leader(right.ID), right.ID)
	if got.Applied.Time < st.Applied.Time || got.Applied.Expiring == 0 {
		t.Fatalf("right was born with %+v, left had %+v", got.Applied, st.Applied)
	}
	c.d = right
	c.want("x", false)
	for i := 1; i <= 3; i++ {
		c.WaitFor("the key's space", func() bool { return c.Stores[shard.StoreID(i)].count(right.Range) == 0 })
	}
}

// Both sides are reported together, before right has a leader, and a split of a split is refused for its epoch.
func TestSplitIsReported(t *testing.T) {
	e := &edit{}
	c := New(t, Options{Store: e.into})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "x", "1")
	lead := c.Leader(d.ID)
	s := c.Stores[lead].Store
	if _, err := s.Report(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	e.set(func(_, _ shard.StoreID, id shard.ID, m *raftpb.Message) bool { return id == d.ID }) // right elects nobody
	parts := c.Split(d.ID, "m")
	for _, full := range []bool{false, true} {
		r, err := s.Report(context.Background(), full)
		if err != nil {
			t.Fatal(err)
		}
		m := shard.NewMap()
		for _, l := range r.Led {
			m.Insert(l.Desc)
		}
		if gaps := m.Gaps(shard.Range{}); len(gaps) > 0 || m.Len() != 2 {
			t.Fatalf("full %t: %d shards are reported, gaps %v", full, m.Len(), gaps)
		}
	}
	e.set(nil)
	var stale *shard.StaleEpochError
	_, err := s.Split(context.Background(), d.ID, d.Epoch, []shard.Key{shard.RawKey([]byte("c"))}, c.SplitIDs(d, 1))
	if !errors.As(err, &stale) {
		t.Fatalf("a split by an old epoch: %v", err)
	}
	var invalid *shard.InvalidError
	_, err = s.Split(context.Background(), d.ID, parts[0].Epoch, []shard.Key{shard.RawKey([]byte("x"))}, c.SplitIDs(d, 1))
	if !errors.As(err, &invalid) {
		t.Fatalf("a split at a key outside: %v", err)
	}
	c.WaitFor("right to be reported by its leader", func() bool {
		for id := range c.Stores {
			r, err := c.Stores[id].Store.Report(context.Background(), false)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range r.Led {
				if l.Desc.ID == parts[1].ID && l.Leader != 0 {
					return true
				}
			}
		}
		return false
	})
}

// A shard that outgrows its size is found by what was written to it, measured, and wished to be split in the middle;
// overwriting alone does not make it large.
func TestSplitWish(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.SplitBytes = 256 << 10; o.Tick = 10 * time.Millisecond; o.NoSleep = true }})
	d := c.opt.Shards[0]
	put := func(i int) {
		t.Helper()
		_, err := c.Write(d, &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey(fmt.Appendf(nil, "k-%03d", i)), Value: make([]byte, 8<<10)}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	wishes := func() (out []raftstore.SplitWish) {
		for id := range c.Stores {
			out = append(out, c.Stores[id].Store.TakeSplits()...)
		}
		return out
	}
	for i := range 100 {
		put(i % 10)
	}
	time.Sleep(500 * time.Millisecond)
	if w := wishes(); len(w) > 0 {
		t.Fatalf("80 KiB that were written ten times are to be split: %+v", w)
	}
	for i := range 60 {
		put(i)
	}
	var w []raftstore.SplitWish
	c.WaitFor("the wish", func() bool { put(0); w = append(w, wishes()...); return len(w) > 0 })
	if held := int(w[0].Bytes) / 8200; w[0].Shard != d.ID || held < 32 || held > 60 || string(w[0].Keys[0]) != fmt.Sprintf("rk-%03d", held/2) &&
		string(w[0].Keys[0]) != fmt.Sprintf("rk-%03d", held/2+1) {
		t.Fatalf("%+v", w)
	}
	c.Split(d.ID, string(w[0].Keys[0].User()))
	lead := c.Leader(d.ID)
	c.WaitFor("the halves to be reported", func() bool {
		r, err := c.Stores[lead].Store.Report(context.Background(), true)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, l := range r.Led {
			if l.Bytes > 120<<10 && l.Bytes < 360<<10 {
				n++
			}
		}
		return n == 2
	})
}
