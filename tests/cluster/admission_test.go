package cluster

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// burst counts how its writes end.
type burst struct {
	t        *testing.T
	mu       sync.Mutex
	refused  int // at once: too many wait
	gaveUp   int // after their time: the log did not move
	done     int
	proposed int // the entries that they made
}

// Complete implements call.Completer.
func (b *burst) Complete(_ uint64, rep *call.Reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var busy *shard.ServerBusyError
	switch {
	case rep.Err == nil:
		b.done++
	case !errors.As(rep.Err, &busy):
		b.t.Errorf("a write ended with %v", rep.Err)
	case busy.Wait <= 0:
		b.t.Errorf("no wait is suggested: %v", busy)
	case strings.Contains(busy.Why, "did not move"):
		b.gaveUp++
	default:
		b.refused++
	}
}

// whatever is as many as there are.
const whatever = -1

// wait waits until so many writes ended in each way.
func (b *burst) wait(refused, gaveUp, done int) {
	b.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		b.mu.Lock()
		r, g, n := b.refused, b.gaveUp, b.done
		b.mu.Unlock()
		switch {
		case r == refused && (g == gaveUp || gaveUp == whatever) && n == done:
			return
		case r > refused || g > gaveUp && gaveUp != whatever || n > done || time.Now().After(end):
			b.t.Fatalf("%d were refused, %d given up, %d done; want %d, %d, %d; %d were proposed", r, g, n, refused, gaveUp, done, b.proposed)
		}
	}
}

// jam is a shard whose leader hears that the others live, and nothing of what they have in their logs.
type jam struct {
	c    *Cluster
	d    *shard.Descriptor
	lead shard.StoreID
	seq  uint64
}

func (j *jam) begin() {
	j.c.Net.SetFilter(func(_, to shard.StoreID, frame []byte) bool {
		return to != j.lead || !carries(frame, raftpb.MsgAppResp)
	})
}

// writes sends writes of 1 MiB at once, of which some are refused, and waits until their leader has done with them what
// it can.
func (j *jam) writes(n, refused int) *burst {
	t := j.c.T.(*testing.T)
	ref := j.c.Do(j.lead, &call.Request{Kind: call.Refresh, Shard: j.d.ID, Epoch: j.d.Epoch})
	if ref.Err != nil {
		t.Fatal(ref.Err)
	}
	before := j.c.Status(j.lead, j.d.ID).Last
	b := &burst{t: t}
	var asks []call.Ask
	for range n {
		j.seq++
		cmd := &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte{byte(j.seq), 'k'}), Value: make([]byte, 1<<20)}}}
		asks = append(asks, call.Ask{ID: j.seq, To: b, Req: &call.Request{Kind: call.Write, Shard: j.d.ID, Epoch: j.d.Epoch,
			Timeout: 3 * time.Second, Op: call.OpID{Client: 7, Seq: j.seq}, Term: ref.Term, Since: ref.Applied, Body: cmd.Append(nil)}})
	}
	j.c.Stores[j.lead].Store.Handle(asks)
	b.wait(refused, whatever, 0)
	b.proposed = int(j.c.Status(j.lead, j.d.ID).Last - before)
	return b
}

// TestRule18Admission: a shard whose log does not move takes 64 MiB and refuses what comes beyond at once, with a
// suggested wait. What was not proposed in its time ends, definitely, and gives its memory back; so does everything else
// when the log moves again.
func TestRule18Admission(t *testing.T) {
	const (
		writes   = 100
		admitted = 63 // of 1 MiB and a little, in 64 MiB
	)
	c := New(t, Options{
		// Long ticks, for leadership is not the subject, and tables that hold everything: Pebble's own checks under the
		// race detector touch each byte of each flush and compaction, at some 30 MB/s.
		Store:  func(o *raftstore.Options) { o.Tick, o.MaxQueueTime = time.Second, -1 },
		Engine: func(o *engine.Options) { o.MemTableBytes = 64 << 20 },
	})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "first", "1")
	j := &jam{c: c, d: d, lead: c.Leader(d.ID)}
	j.begin()
	const refused = writes - admitted
	first := j.writes(writes, refused)
	if first.proposed < 8 || first.proposed > 16 {
		t.Fatalf("%d writes of 1 MiB were proposed, 16 MiB may be uncommitted", first.proposed)
	}
	first.wait(refused, admitted-first.proposed, 0)
	// What is in the log still counts.
	second := j.writes(writes, refused+first.proposed)
	second.wait(refused+first.proposed, admitted-first.proposed, 0)
	c.Net.SetFilter(nil)
	first.wait(refused, admitted-first.proposed, first.proposed)
	if err := c.Put(d, "after", "1"); err != nil {
		t.Fatalf("a put after the jam: %v", err)
	}
	// A log of 8 MiB is cut, which is an entry that would be taken for one of the third.
	c.WaitFor("a short log", func() bool {
		st := c.Status(j.lead, d.ID)
		return st.LogBytes < 8<<20 && st.Applied.Index == st.Last
	})
	j.begin()
	third := j.writes(writes, refused)
	third.wait(refused, admitted-third.proposed, 0)
	c.Net.SetFilter(nil)
	third.wait(refused, admitted-third.proposed, third.proposed)
	same(c, d)
}

// TestQueueTime: a shard that answers nothing takes no more than what a store may always have under way, and refuses the rest at
// once; when it answers again, it takes as much as it gets done.
func TestQueueTime(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.Tick = time.Second }, Engine: func(o *engine.Options) { o.MemTableBytes = 64 << 20 }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "first", "1")
	j := &jam{c: c, d: d, lead: c.Leader(d.ID)}
	j.begin()
	const writes, admitted = 20, 1 // of 1 MiB, twice in memory; one shard gets half of 4 MiB
	b := j.writes(writes, writes-admitted)
	c.Net.SetFilter(nil)
	b.wait(writes-admitted, 0, admitted)
	mustPut(t, c, d, "after", "1")
	same(c, d)
}
