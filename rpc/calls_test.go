package rpc

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

func newTestCalls(t testing.TB, conns *Conns) *Calls {
	t.Helper()
	c := NewCalls(env.Real{}, conns)
	t.Cleanup(c.Close)
	return c
}

// TestCallsCarry: many calls share one stream and get their own answers, also where one of them alone is larger than a
// frame should be.
func TestCallsCarry(t *testing.T) {
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(newTestStore(1001)) })
	calls := newTestCalls(t, newConns(t))
	var wg sync.WaitGroup
	for i := range 300 {
		size := 1 + i
		switch {
		case i%30 == 7:
			size = 1 << 20
		case i == 100:
			size = maxGatherBytes + 1<<20
		}
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte(i)}, size)
			rep := calls.Call(testContext(t), srv.addr, 1001, &call.Request{Kind: call.Write, Body: body})
			if rep.Err != nil || rep.Term != 1 || rep.Applied != 2 || !bytes.Equal(rep.Body, body) {
				t.Errorf("call %d of %d bytes: %v, %d bytes back", i, size, rep.Err, len(rep.Body))
			}
		})
	}
	wg.Wait()
	if n := len(calls.streams); n != 1 {
		t.Errorf("%d streams to one store", n)
	}
	rep := calls.Call(testContext(t), srv.addr, 1009, &call.Request{Kind: call.Read})
	if !errors.Is(rep.Err, shard.ErrUnavailable) {
		t.Errorf("a store that is not there: %v", rep.Err)
	}
}

// TestCallsLend: who gives back what he gets has it alone until then, and in a buffer if it is long; whoever does not keeps it for ever.
func TestCallsLend(t *testing.T) {
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(newTestStore(1001)) })
	calls := newTestCalls(t, newConns(t))
	var wg sync.WaitGroup
	var lent atomic.Int32
	for i := range 16 {
		wg.Go(func() {
			for n := range 40 {
				req := &call.Request{Kind: call.Read, Lend: i%2 == 0, Body: bytes.Repeat([]byte{byte(i)}, 1+(i*40+n)*97)}
				rep := calls.Call(testContext(t), srv.addr, 1001, req)
				switch room := rep.Room; {
				case !bytes.Equal(rep.Body, req.Body):
					t.Errorf("%d bytes of %d came back as %d: %v", len(req.Body), i, len(rep.Body), rep.Err)
				case !req.Lend:
					if room != nil {
						t.Error("a buffer for who gives nothing back")
					}
					defer func() {
						if !bytes.Equal(rep.Body, req.Body) {
							t.Errorf("%d bytes of %d are something else by now", len(req.Body), i)
						}
					}()
				case room != nil:
					lent.Add(1)
					if &room[len(room)-1] != &rep.Body[len(rep.Body)-1] {
						t.Error("the answer is not the end of its buffer")
					}
					next := calls.Call(testContext(t), srv.addr, 1001, &call.Request{Kind: call.Read, Lend: true, Body: make([]byte, len(req.Body))})
					if next.Room != nil {
						buffer.Frames.Give(next.Room)
					}
					if !bytes.Equal(rep.Body, req.Body) {
						t.Errorf("%d bytes of %d are something else before they were given back", len(req.Body), i)
					}
					for at := range room {
						room[at] = 0xff
					}
					buffer.Frames.Give(room)
				}
			}
		})
	}
	wg.Wait()
	if lent.Load() == 0 {
		t.Error("no answer came in a buffer")
	}
	for _, s := range calls.streams {
		if n := s.lent.Load(); n != 0 {
			t.Errorf("%d calls are still thought to be under way", n)
		}
	}
}

// TestCallsBreak: calls that wait when their stream breaks get ErrUnavailable at once, and later ones reach the server
// that came back. One caller that gives up disturbs nobody.
func TestCallsBreak(t *testing.T) {
	st := newTestStore(1001)
	hold := make(chan struct{})
	defer close(hold)
	entered := make(chan struct{}, 20)
	st.do = func(_ context.Context, req *call.Request) call.Reply {
		if req.Kind == call.Write {
			entered <- struct{}{}
			<-hold
		}
		return call.Reply{Term: 3}
	}
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(st) })
	calls := newTestCalls(t, newConns(t))
	impatient, cancel := context.WithCancel(testContext(t))
	replies := make(chan error, 11)
	for range 10 {
		go func() {
			replies <- calls.Call(testContext(t), srv.addr, 1001, &call.Request{Kind: call.Write}).Err
		}()
	}
	for range 10 {
		<-entered
	}
	go func() { <-entered; cancel() }()
	if err := calls.Call(impatient, srv.addr, 1001, &call.Request{Kind: call.Write}).Err; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if rep := calls.Call(testContext(t), srv.addr, 1001, &call.Request{Kind: call.Read}); rep.Err != nil {
		t.Errorf("beside calls that wait: %v", rep.Err)
	}
	srv.stop()
	for range 10 {
		if err := <-replies; !errors.Is(err, shard.ErrUnavailable) {
			t.Errorf("waiting on a broken stream: %v", err)
		}
	}
	if rep := calls.Call(testContext(t), srv.addr, 1001, &call.Request{Kind: call.Read}); !errors.Is(rep.Err, shard.ErrUnavailable) {
		t.Errorf("nobody there: %v", rep.Err)
	}
	serve(t, srv.addr, func(s *Server) { s.AddStore(st) })
	start := time.Now()
	eventually(t, "a call reaches the server that came back", func() bool {
		return calls.Call(testContext(t), srv.addr, 1001, &call.Request{Kind: call.Read}).Term == 3
	})
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("it took %s", d)
	}
	go func() { <-entered; calls.Close() }()
	if err := calls.Call(testContext(t), srv.addr, 1001, &call.Request{Kind: call.Write}).Err; !errors.Is(err, shard.ErrUnavailable) {
		t.Errorf("closed: %v", err)
	}
}

// TestCallMany: requests that travel together get each their own answer, in whatever order the answers come. Of those that
// are given up, and of those whose stream breaks, what came before stands.
func TestCallMany(t *testing.T) {
	st := newTestStore(1001)
	hold := make(chan struct{})
	st.do = func(_ context.Context, req *call.Request) call.Reply {
		if req.Kind == call.Write {
			<-hold
		}
		return call.Reply{Term: uint64(req.Shard)}
	}
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(st) })
	calls := newTestCalls(t, newConns(t))
	many := func(ctx context.Context, n int, stuck func(i int) bool) []call.Reply {
		reqs, reps := make([]*call.Request, n), make([]call.Reply, n)
		for i := range reqs {
			if reqs[i] = (&call.Request{Kind: call.Read, Shard: shard.ID(i + 1)}); stuck(i) {
				reqs[i].Kind = call.Write
			}
		}
		calls.CallMany(ctx, srv.addr, 1001, reqs, reps)
		return reps
	}
	check := func(what string, reps []call.Reply, stuck func(i int) bool, want error) {
		t.Helper()
		for i, rep := range reps {
			if stuck(i) && !errors.Is(rep.Err, want) || !stuck(i) && (rep.Err != nil || rep.Term != uint64(i+1)) {
				t.Errorf("%s: reply %d is %v of %d", what, i, rep.Err, rep.Term)
			}
		}
	}
	none := func(int) bool { return false }
	third := func(i int) bool { return i%3 == 1 }
	for range 50 {
		check("all answer", many(testContext(t), 40, none), none, nil)
	}
	ctx, cancel := context.WithCancel(testContext(t))
	go func() { calls.await(13); cancel() }()
	check("given up", many(ctx, 40, third), third, context.Canceled)
	check("after that", many(testContext(t), 40, none), none, nil)

	go func() { calls.await(13); srv.stop() }()
	check("the stream breaks", many(testContext(t), 40, third), third, shard.ErrUnavailable)
	close(hold)
}

// await returns when so many replies are waited for. Those of requests that travel together are so from one moment on, and
// then fewer and fewer: it sees n only once all others have come.
func (c *Calls) await(n int) {
	for ; ; time.Sleep(time.Millisecond) {
		waiting := 0
		c.mu.Lock()
		for _, s := range c.streams {
			s.mu.Lock()
			waiting += len(s.waiting)
			s.mu.Unlock()
		}
		c.mu.Unlock()
		if waiting == n {
			return
		}
	}
}
