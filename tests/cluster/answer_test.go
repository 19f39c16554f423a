package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// counting is a Completer that knows how often each call was answered.
type counting struct {
	mu      sync.Mutex
	answers map[uint64]int
	errs    map[uint64]error
	asked   uint64
}

func newCounting() *counting {
	return &counting{answers: make(map[uint64]int), errs: make(map[uint64]error)}
}

func (c *counting) Complete(id uint64, rep *call.Reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers[id]++
	c.errs[id] = rep.Err
}

// ask makes the next n calls; the i-th request is made by f.
func (c *counting) ask(n int, f func(id uint64) *call.Request) []call.Ask {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []call.Ask
	for range n {
		c.asked++
		out = append(out, call.Ask{ID: c.asked, Req: f(c.asked), To: c})
	}
	return out
}

func (c *counting) open() (unanswered, twice int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := uint64(1); id <= c.asked; id++ {
		switch n := c.answers[id]; {
		case n == 0:
			unanswered++
		case n > 1:
			twice++
		}
	}
	return unanswered, twice
}

func getBody(k string) []byte {
	q := &raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte(k))}}
	return q.Append(nil)
}

func putCommand(k, v string) *raw.Command {
	return &raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte(k)), Value: []byte(v)}}}
}

// anyRequest is one of every kind there is, with terms and ids that are mostly right.
func anyRequest(d *shard.Descriptor, rnd *rand.Rand, st raftstore.ReplicaStatus, id uint64) *call.Request {
	op := call.OpID{Client: 77, Seq: id}
	req := &call.Request{Shard: d.ID, Epoch: d.Epoch, Timeout: time.Second, Op: op, Term: st.Term, Since: st.Applied.Index}
	switch rnd.IntN(8) {
	case 0, 1:
		req.Kind, req.Body = call.Write, putCommand("k", fmt.Sprint(id)).Append(nil)
	case 2:
		req.Kind, req.Body = call.Read, getBody("k")
	case 3:
		req.Kind, req.Body, req.Follower = call.Read, getBody("k"), true
	case 4:
		req.Kind = call.Outcome
		req.Op.Seq = id - uint64(rnd.IntN(3))
	case 5:
		req.Kind = call.Barrier
	case 6:
		req.Kind = call.Refresh
	case 7:
		q := &raw.Query{Kind: raw.Scan, Range: shard.ModeRange(shard.ModeRaw)}
		req.Kind, req.Body = call.Read, q.Append(nil)
	}
	return req
}

// mute does not answer calls between stores while silent.
type mute struct {
	raftstore.Transport
	silent *atomic.Bool
}

func (m *mute) Call(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply {
	if m.silent.Load() {
		<-ctx.Done()
		return call.Reply{Err: shard.ErrUnavailable}
	}
	return m.Transport.Call(ctx, to, req)
}

// TestEveryCallIsAnsweredOnce asks stores everything at all times, also while leaders change, while stores lose their
// network and their disk, and while they close: each call is completed exactly once, and nothing is left running.
func TestEveryCallIsAnsweredOnce(t *testing.T) {
	before := goleak.IgnoreCurrent()
	var silent atomic.Bool
	c := New(t, Options{OnBroken: func(shard.StoreID, error) {},
		Store: func(o *raftstore.Options) { o.Transport = &mute{o.Transport, &silent} }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	counters := []*counting{newCounting(), newCounting(), newCounting()}
	stores := []*raftstore.Store{c.Stores[1].Store, c.Stores[2].Store, c.Stores[3].Store}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for i, s := range stores {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				var st raftstore.ReplicaStatus
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				if all, err := s.Status(ctx, d.ID); err == nil && len(all) > 0 {
					st = all[0]
				}
				cancel()
				s.Handle(counters[i].ask(1+rnd.IntN(20), func(id uint64) *call.Request { return anyRequest(d, rnd, st, id) }))
				time.Sleep(time.Millisecond)
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	lead := c.Leader(d.ID)
	_ = c.Stores[lead].Store.TransferLeader(context.Background(), d.ID, others(lead)[0])
	time.Sleep(200 * time.Millisecond)
	lead = c.Leader(d.ID)
	c.Net.SetFilter(func(from, to shard.StoreID, _ []byte) bool { return from != lead })
	time.Sleep(400 * time.Millisecond)
	c.Net.SetFilter(nil)
	lead = c.Leader(d.ID)
	c.Stores[lead].Disk.Hang()
	time.Sleep(400 * time.Millisecond)
	c.Stores[lead].Disk.Release()
	time.Sleep(300 * time.Millisecond)
	silent.Store(true) // followers wait for their leader's answer when they are stopped
	time.Sleep(50 * time.Millisecond)
	c.Stop(others(c.Leader(d.ID))[0])
	silent.Store(false)
	c.Stop(1) // the clients go on asking it
	time.Sleep(100 * time.Millisecond)
	if c.Stores[2].Store != nil {
		c.Crash(2, 50)
	}
	c.Stop(3)
	time.Sleep(50 * time.Millisecond)
	close(stop)
	wg.Wait()
	for i, n := range counters {
		if open, twice := n.open(); open+twice > 0 {
			t.Errorf("store %d: of %d calls %d were not answered, %d twice", i+1, n.asked, open, twice)
		}
	}
	goleak.VerifyNone(t, before)
}

// TestBrokenStoreAnswers: a store that stops because its disk hangs too long says so to everyone who waits and comes.
func TestBrokenStoreAnswers(t *testing.T) {
	t.Parallel()
	broken := make(chan error, 8)
	c := New(t, Options{Stores: 1, OnBroken: func(_ shard.StoreID, err error) { broken <- err },
		Store: func(o *raftstore.Options) { o.HungDiskExit = time.Second }})
	d := c.opt.Shards[0]
	mustPut(t, c, d, "k", "0")
	st, s := c.Status(1, d.ID), c.Stores[1].Store
	c.Stores[1].Disk.Hang()
	defer c.Stores[1].Disk.Release()
	n := newCounting()
	rnd := rand.New(rand.NewPCG(1, 1))
	more := func() {
		s.Handle(n.ask(100, func(id uint64) *call.Request { return anyRequest(d, rnd, st, id) }))
	}
	more()
	select {
	case <-broken:
	case <-time.After(40 * time.Second):
		t.Fatal("a store whose disk hangs did not give up")
	}
	more()
	c.WaitFor("all answers", func() bool { open, _ := n.open(); return open == 0 })
	if _, twice := n.open(); twice > 0 {
		t.Fatalf("%d calls were answered twice", twice)
	}
	var be *shard.BrokenError
	if rep := s.Do(context.Background(), &call.Request{Kind: call.Refresh, Shard: d.ID}); !errors.As(rep.Err, &be) {
		t.Fatalf("a broken store answers %v", rep.Err)
	}
}
