package cluster

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Interleavings that time alone would not find.

// pausedRead stops a lease read between its value and its clock, while armed.
type pausedRead struct {
	env.Env
	armed   *atomic.Bool
	reached chan struct{}
	goOn    chan struct{}
}

func (e pausedRead) Now() env.Time {
	if e.armed.Load() {
		var pcs [8]uintptr
		frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
		for f, more := frames.Next(); more; f, more = frames.Next() {
			if strings.HasSuffix(f.Function, "finishLeased") && e.armed.CompareAndSwap(true, false) {
				close(e.reached)
				<-e.goOn
			}
		}
	}
	return e.Env.Now()
}

// Rule 11: a read that began under a lease and is held up until another leader has written does not answer.
func TestLeaseIsCheckedAfterTheValue(t *testing.T) {
	t.Parallel()
	e := pausedRead{Env: env.Real{}, armed: new(atomic.Bool), reached: make(chan struct{}), goOn: make(chan struct{})}
	c := New(t, Options{Store: func(o *raftstore.Options) { o.Env, o.NoSleep = e, true }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "old")
	var old shard.StoreID
	c.WaitFor("a lease", func() bool {
		mustGet(t, c, d, "k", "old")
		old = c.Leader(d.ID)
		return c.Stores[old].Store.Lease(d.ID) != 0
	})
	e.armed.Store(true)
	answer := make(chan call.Reply, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		for { // until one of them is a read under the lease
			rep := c.Stores[old].Store.Do(ctx, &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: time.Second, Body: getBody("k")})
			if !e.armed.Load() {
				answer <- rep
				return
			}
		}
	}()
	<-e.reached
	c.Net.SetFilter(func(from, to shard.StoreID, _ []byte) bool { return from != old && to != old })
	c.WaitFor("another leader", func() bool {
		for _, id := range others(old) {
			if c.Stores[id].Store.Leading(d.ID) != 0 {
				return true
			}
		}
		return false
	})
	close(e.goOn)
	if rep := <-answer; rep.Err == nil {
		t.Fatal("a read was answered after its lease")
	}
	c.Net.SetFilter(nil)
}

// Rule 19: an offer to sleep of a leader's earlier life is refused, though the follower has exactly the offered state.
func TestOfferOfAnEarlierLife(t *testing.T) {
	t.Parallel()
	const tick = 50 * time.Millisecond
	c := New(t, Options{Store: func(o *raftstore.Options) { o.Tick = tick }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	lead := c.Leader(d.ID)
	to := others(lead)[0]
	var mu sync.Mutex
	var offer []byte
	var restarted atomic.Bool
	heard := make(chan struct{})
	var once sync.Once
	c.Net.SetFilter(func(from, at shard.StoreID, frame []byte) bool {
		if at != to || frame == nil {
			return true
		}
		switch kind := frame[len(frame)-1]; {
		case kind == 3 && from == lead && frame[1] == 1: // an offer: kept from it
			mu.Lock()
			offer = append([]byte(nil), frame...)
			mu.Unlock()
			return false
		case kind == 2 && from == lead && restarted.Load():
			once.Do(func() { time.AfterFunc(20*time.Millisecond, func() { close(heard) }) })
			return true
		case kind == 1 && restarted.Load():
			return false // it does not hear of an election
		}
		return true
	})
	c.WaitFor("an offer", func() bool { mu.Lock(); defer mu.Unlock(); return offer != nil })
	c.Crash(lead, 100)
	restarted.Store(true)
	c.Start(lead)
	<-heard
	st := c.Status(to, d.ID)
	if st.Leader.Store != lead || st.Asleep {
		t.Skip("it took too long: the follower has given its leader up")
	}
	c.Stores[to].Store.Receive(lead, offer)
	if c.Status(to, d.ID).Asleep {
		t.Fatal("a follower sleeps by the word of a leader that is none any more")
	}
	c.Net.SetFilter(nil)
}
