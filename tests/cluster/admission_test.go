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

// collector gathers replies as they come.
type collector struct {
	busy  chan *shard.ServerBusyError
	other chan error
}

// Complete implements call.Completer.
func (c *collector) Complete(_ uint64, rep *call.Reply) {
	var busy *shard.ServerBusyError
	switch {
	case errors.As(rep.Err, &busy):
		c.busy <- busy
	default:
		c.other <- rep.Err
	}
}

// TestRule18Admission: a shard whose log does not move takes only so many bytes; what comes beyond is refused at once
// with a suggested wait, nothing of it happens, and the shard takes writes again when its log moves.
func TestRule18Admission(t *testing.T) {
	c := New(t, Options{Store: func(o *raftstore.Options) { o.Tick = 200 * time.Millisecond }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "first", "1")
	lead := c.Leader(d.ID)
	ref := c.Do(lead, &call.Request{Kind: call.Refresh, Shard: d.ID, Epoch: d.Epoch})
	if ref.Err != nil {
		t.Fatal(ref.Err)
	}
	c.Net.SetFilter(func(from, _ shard.StoreID, _ []byte) bool { return from == lead }) // nobody answers the leader
	const writes = 100
	value := make([]byte, 1<<20)
	col := &collector{busy: make(chan *shard.ServerBusyError, writes), other: make(chan error, writes)}
	for i := range writes {
		cmd := &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte{byte(i), 'k'}), Value: value}}}
		c.Stores[lead].Store.Handle([]call.Ask{{ID: uint64(i), To: col, Req: &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch,
			Op: call.OpID{Client: 7, Seq: uint64(i + 1)}, Term: ref.Term, Since: ref.Applied, Body: cmd.Append(nil)}}})
	}
	// 64 MiB of a shard may wait; the rest is refused.
	for refused := 0; refused < writes-64; {
		select {
		case busy := <-col.busy:
			refused++
			if busy.Wait <= 0 {
				t.Fatalf("no wait is suggested: %v", busy)
			}
		case err := <-col.other:
			t.Fatalf("a write ended although the log cannot move: %v", err)
		case <-time.After(20 * time.Second):
			t.Fatalf("only %d of %d writes of 1 MiB were refused", refused, writes)
		}
	}
	c.Net.SetFilter(nil)
	// A put may come out as unknown here: the log is cut early, because the entries are so large. It is the same put.
	c.WaitFor("the shard to take writes again", func() bool { return c.Put(d, "after", "1") == nil })
	c.WaitFor("every admitted write to end, and its memory with it", func() bool { return c.Stores[lead].Store.Inflight() == 0 })
}
