package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// busy makes a cluster of one shard of three replicas whose stores look at rates five times as often as in production, and
// split from a work that a machine with other things to do makes as well.
func busy(t *testing.T) (*Cluster, *shard.Descriptor, shard.StoreID) {
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Shards: []*shard.Descriptor{d}, Store: func(o *raftstore.Options) { o.Tick = 20 * time.Millisecond; o.SplitWork = 100 }})
	return c, d, c.Leader(d.ID)
}

// ask sends requests to a shard's leader, some thousand a second, until the leader wishes it split or the time is over. lead
// follows the leadership, which a slow machine may move.
func ask(t *testing.T, c *Cluster, lead *shard.StoreID, patience time.Duration, next func(i int) *call.Request) (raftstore.SplitWish, bool) {
	t.Helper()
	for i, end := 0, time.Now().Add(patience); time.Now().Before(end); i++ {
		if rep := c.Do(*lead, next(i)); rep.Err != nil {
			*lead = c.Leader(2)
		}
		if i%64 == 0 {
			for _, w := range c.Stores[*lead].Store.TakeSplits() {
				return w, true
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	return raftstore.SplitWish{}, false
}

func getOf(d *shard.Descriptor, key string) *call.Request {
	q := &raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte(key))}}
	return &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: 5 * time.Second, Body: q.Append(nil)}
}

// TestBusyShardIsCutInItsHotRange: what is asked for lies within a hundredth of the keys; that is what is cut, into about
// equal halves.
func TestBusyShardIsCutInItsHotRange(t *testing.T) {
	c, d, lead := busy(t)
	for i := range 50 {
		mustPut(t, c, d, fmt.Sprintf("%02d", i*2), "cold")
	}
	w, ok := ask(t, c, &lead, 20*time.Second, func(i int) *call.Request { return getOf(d, fmt.Sprintf("42-%02d", i*7%40)) })
	if !ok || w.Work < 100 || len(w.Keys) == 0 {
		t.Fatalf("wish %+v, %v", w, ok)
	}
	for _, k := range w.Keys {
		if k.Compare(shard.RawKey([]byte("42-00"))) <= 0 || k.Compare(shard.RawKey([]byte("42-39"))) > 0 {
			t.Errorf("cut at %s", k)
		}
	}
}

// TestBusyWritesAreCut: writes count as reads do.
func TestBusyWritesAreCut(t *testing.T) {
	c, d, lead := busy(t)
	w, ok := ask(t, c, &lead, 20*time.Second, func(i int) *call.Request {
		ref := c.Do(lead, &call.Request{Kind: call.Refresh, Shard: d.ID, Epoch: d.Epoch})
		cmd := &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey(fmt.Appendf(nil, "%02d", i*7%40)), Value: make([]byte, 4<<10)}}}
		return &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Timeout: 5 * time.Second, Op: call.OpID{Client: 9, Seq: uint64(i + 1)},
			Term: ref.Term, Since: ref.Applied, Body: cmd.Append(nil)}
	})
	if !ok || len(w.Keys) == 0 {
		t.Fatalf("wish %+v, %v", w, ok)
	}
}

// TestHotKeyIsNotCut: one key cannot be parted, whatever it is asked for, for as long as one leader needs to judge.
func TestHotKeyIsNotCut(t *testing.T) {
	c, d, lead := busy(t)
	for i := range 20 {
		mustPut(t, c, d, fmt.Sprintf("%02d", i), "v")
	}
	c.WaitFor("4 s under one leader", func() bool {
		lead = c.Leader(d.ID)
		term := c.Stores[lead].Store.Leading(d.ID)
		if w, ok := ask(t, c, &lead, 4*time.Second, func(int) *call.Request { return getOf(d, "07") }); ok {
			t.Fatalf("wish %+v", w)
		}
		if term == 0 || c.Stores[lead].Store.Leading(d.ID) != term {
			return false // a slow machine: the next leader begins anew
		}
		rep := report(t, c, lead, true)
		if len(rep.Rates) != 1 || rep.Rates[0].Reads < 100 || rep.Rates[0].Shard != d.ID || rep.Rates[0].Term != term {
			t.Fatalf("it was not busy: %+v", rep.Rates)
		}
		return true
	})
}

// TestNewLeaderKnowsNoRates: a leader that came on the list of the next report, lost the leadership and has it again says
// nothing of rates that it does not know: what placement knows is better.
func TestNewLeaderKnowsNoRates(t *testing.T) {
	c, d, lead := busy(t)
	ask(t, c, &lead, 3*time.Second, func(i int) *call.Request { return getOf(d, fmt.Sprint(i%10)) })
	for _, to := range []shard.StoreID{others(lead)[0], lead} {
		c.WaitFor("a transfer", func() bool {
			_ = c.Stores[c.Leader(d.ID)].Store.TransferLeader(context.Background(), d.ID, to)
			return c.Stores[to].Store.Leading(d.ID) != 0
		})
	}
	for _, rate := range report(t, c, lead, false).Rates {
		t.Errorf("told %+v", rate)
	}
}

// TestRatesAreTold: rates come with the next report, once, again when they changed, and as zero when nobody asks any more;
// a full report has those that are not zero.
func TestRatesAreTold(t *testing.T) {
	c, d, lead := busy(t)
	ask(t, c, &lead, 3*time.Second, func(i int) *call.Request { return getOf(d, fmt.Sprint(i%10)) })
	if full := report(t, c, lead, true); len(full.Rates) != 1 || full.Rates[0].Reads == 0 || full.Rates[0].ReadBytes == 0 {
		t.Fatalf("a full report has %+v", full.Rates)
	}
	c.WaitFor("zero", func() bool {
		rep := report(t, c, lead, false)
		return len(rep.Rates) == 1 && rep.Rates[0].Rates == beat.Rates{}
	})
	time.Sleep(300 * time.Millisecond)
	if rep := report(t, c, lead, false); len(rep.Rates) != 0 {
		t.Fatalf("told again: %+v", rep.Rates)
	}
}

func report(t *testing.T, c *Cluster, id shard.StoreID, full bool) *beat.Report {
	t.Helper()
	r, err := c.Stores[id].Store.Report(context.Background(), full)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOutgrownShardIsCutIntoAllItsParts: a shard of many times the size is not halved and halved again.
func TestOutgrownShardIsCutIntoAllItsParts(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.SplitBytes = 64 << 10; o.Tick = 40 * time.Millisecond; o.NoSleep = true }})
	d := c.opt.Shards[0]
	c.Leader(d.ID)
	cmd := &raw.Command{}
	for i := range 128 {
		cmd.Ops = append(cmd.Ops, raw.Op{Kind: raw.Put, Key: shard.RawKey(fmt.Appendf(nil, "%03d", i)), Value: make([]byte, 8<<10)})
	}
	if _, err := c.Write(d, cmd); err != nil {
		t.Fatal(err)
	}
	var w []raftstore.SplitWish
	c.WaitFor("the wish", func() bool {
		for id := range c.Stores {
			w = append(w, c.Stores[id].Store.TakeSplits()...)
		}
		return len(w) > 0
	})
	if n := len(w[0].Keys); n < 19 || n > 22 { // 1 MiB in parts of 48 KiB
		t.Fatalf("%d keys: %v", n, w[0].Keys)
	}
	var at []string
	for _, k := range w[0].Keys {
		at = append(at, string(k.User()))
	}
	// It may be done though nobody hears so, if the leadership moves meanwhile: what counts is what the shard is afterwards.
	c.WaitFor("the parts", func() bool {
		_, _ = c.TrySplit(t.Context(), d.ID, at...)
		now, err := c.Stores[c.Leader(d.ID)].Store.Descriptor(d.ID)
		return err == nil && now.Epoch.Version == d.Epoch.Version+uint64(len(at))
	})
}

// TestSplitInJointConfiguration: it passes, so whoever wants a split is told to come again.
func TestSplitInJointConfiguration(t *testing.T) {
	d := Descriptor(2, "", "", 3)
	c := New(t, Options{Stores: 4, Shards: []*shard.Descriptor{d}})
	lead := c.Leader(d.ID)
	out := d.Replicas[int(lead)%3]
	learner := shard.Replica{ID: 99, Store: 4, Role: shard.Learner}
	change := func(ch shard.Change) {
		t.Helper()
		now, err := c.Stores[lead].Store.Descriptor(d.ID)
		if err != nil {
			t.Fatal(err)
		}
		c.WaitFor("the change", func() bool { return c.Stores[lead].Store.Change(t.Context(), d.ID, now.Epoch, ch) == nil })
	}
	change(shard.Change{Kind: shard.AddLearner, Replica: learner})
	change(shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{learner.ID}, Demote: []shard.ReplicaID{out.ID}})
	now, err := c.Stores[lead].Store.Descriptor(d.ID)
	if err != nil || !now.Joint() {
		t.Fatal(now, err)
	}
	id := shard.SplitID{Shard: 500}
	for i := range now.Replicas {
		id.Replicas = append(id.Replicas, shard.ReplicaID(501+i))
	}
	_, err = c.Stores[lead].Store.Split(t.Context(), d.ID, now.Epoch, []shard.Key{shard.RawKey([]byte("m"))}, []shard.SplitID{id})
	var busy *shard.ServerBusyError
	if !errors.As(err, &busy) {
		t.Fatalf("%v", err)
	}
	change(shard.Change{Kind: shard.LeaveJoint})
}
