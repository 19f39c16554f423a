package cluster

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// TestReadsAreOfOneMoment: keys that are written together are read together, by a Get of two as by a scan, on the leader's
// way without a view as well.
func TestReadsAreOfOneMoment(t *testing.T) {
	c := New(t, Options{})
	d := c.opt.Shards[0]
	lead := c.Leader(d.ID)
	pair := []shard.Key{shard.RawKey([]byte("a")), shard.RawKey([]byte("b"))}
	var written, read, done atomic.Int64
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := uint64(1); done.Load() == 0; i++ {
				v := fmt.Append(nil, w, " ", i)
				cmd := raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: pair[0], Value: v}, {Kind: raw.Put, Key: pair[1], Value: v}}}
				st := c.Status(lead, d.ID)
				rep := c.Do(lead, &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Term: st.Term, Since: st.Applied.Index,
					Op: call.OpID{Client: uint64(w) + 1, Seq: i}, Body: cmd.Append(nil)})
				if rep.Err == nil {
					written.Add(1)
				}
			}
		})
	}
	scan := &raw.Query{Kind: raw.Scan, Range: shard.Range{Start: pair[0], End: pair[1].Next()}}
	for _, q := range []*raw.Query{{Kind: raw.Get, Keys: pair}, scan} {
		wg.Go(func() {
			body := q.Append(nil)
			for done.Load() == 0 {
				rep := c.Do(lead, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Body: body})
				if rep.Err != nil {
					continue
				}
				a, err := raw.DecodeAnswer(rep.Body)
				if err != nil {
					t.Error(err)
					return
				}
				if len(a.Rows) == 2 && string(a.Rows[0].Value) != string(a.Rows[1].Value) {
					t.Errorf("a is %q and b is %q, which were only written together", a.Rows[0].Value, a.Rows[1].Value)
					return
				}
				read.Add(1)
			}
		})
	}
	time.Sleep(2 * time.Second) // for as long is looked for torn pairs
	done.Store(1)
	wg.Wait()
	if written.Load() < 20 || read.Load() < 20 {
		t.Errorf("%d written, %d read: too few to meet each other", written.Load(), read.Load())
	}
	t.Logf("%d written, %d read", written.Load(), read.Load())
}
