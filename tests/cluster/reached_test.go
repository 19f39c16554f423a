package cluster

import (
	"sync/atomic"
	"testing"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

// reaches counts how often a store's transport is told that another one was heard of.
type reaches struct {
	raftstore.Transport
	of *[4]atomic.Int32 // by the other store
}

func (r *reaches) Reached(id shard.StoreID) { r.of[id].Add(1) }

// TestReached: a store that starts, that starts again, or that was silent for so long that it was suspected, is tried at once by
// the transports of those who hear of it.
func TestReached(t *testing.T) {
	t.Parallel()
	var told [4][4]atomic.Int32 // by who is told, and of whom
	c := New(t, Options{Store: func(o *raftstore.Options) { o.Transport = &reaches{o.Transport, &told[o.Store]} }})
	of2 := func() int32 { return told[1][2].Load() }
	expect := func(what string, n int32) {
		t.Helper()
		c.WaitFor(what, func() bool { return of2() >= n })
	}
	expect("the first start", 1)
	before := of2()
	c.Stop(2)
	c.Start(2)
	expect("another start", before+1)
	c.Net.SetFilter(func(from, _ shard.StoreID, _ []byte) bool { return from != 2 })
	c.WaitFor("that it is suspected", func() bool { return !c.Stores[1].Store.Live(2) })
	before = of2()
	c.Net.SetFilter(nil)
	expect("the end of its silence", before+1)
}
