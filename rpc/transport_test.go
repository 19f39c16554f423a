package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

func newTestTransport(t testing.TB, conns *Conns, from shard.StoreID, cluster shard.ClusterID) *Transport {
	t.Helper()
	tr := NewTransport(env.Real{}, conns, from, cluster)
	t.Cleanup(tr.Close)
	return tr
}

// transport is what both implementations promise: raftstore.Transport.
type transport interface {
	Send(to shard.StoreID, urgent bool, frame []byte)
	Call(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply
	SendSnapshot(ctx context.Context, to shard.StoreID, header []byte, next func() ([]byte, error)) error
}

var _, _ transport = (*Transport)(nil), (*MemoryTransport)(nil)

// pair is store 1001 as store 1002 reaches it.
type pair struct {
	transport
	to      *testStore
	crash   func()
	restart func()
}

// wirePair is a pair over sockets.
func wirePair(t *testing.T) *pair {
	st := newTestStore(1001)
	up := func(addr string) *testServer { return serve(t, addr, func(s *Server) { s.AddStore(st) }) }
	srv := up("127.0.0.1:0")
	tr := newTestTransport(t, newConns(t), 1002, 5)
	tr.SetAddr(1001, srv.addr)
	return &pair{transport: tr, to: st, crash: func() { srv.stop() }, restart: func() { srv = up(srv.addr) }}
}

// memoryPair is a pair in memory.
func memoryPair(t *testing.T) *pair {
	st := newTestStore(1001)
	n := NewNetwork(env.Real{})
	n.Attach(1001, st)
	return &pair{transport: n.Transport(1002), to: st, crash: func() { n.Attach(1001, nil) }, restart: func() { n.Attach(1001, st) }}
}

// TestTransport: the contract of raftstore.Transport, for both that implement it.
func TestTransport(t *testing.T) {
	contract := []struct {
		name string
		test func(t *testing.T, p *pair)
	}{
		{"order", testOrder}, {"restart", testRestart}, {"urgent", testUrgent}, {"call", testCall}, {"snapshot", testSnapshot},
	}
	for name, make := range map[string]func(t *testing.T) *pair{"wire": wirePair, "memory": memoryPair} {
		for _, c := range contract {
			t.Run(name+"/"+c.name, func(t *testing.T) { c.test(t, make(t)) })
		}
	}
}

// numbers of the frames that begin with a letter, in the order of their coming.
func numbers(t *testing.T, frames []string, letter string) (out []int) {
	t.Helper()
	for _, f := range frames {
		if rest, ok := strings.CutPrefix(f, letter); ok {
			var n int
			if _, err := fmt.Sscanf(rest, "%d.", &n); err != nil {
				t.Fatalf("frame %q: %v", f, err)
			}
			out = append(out, n)
		}
	}
	return out
}

func checkAscending(t *testing.T, what string, ns []int) {
	t.Helper()
	for i := 1; i < len(ns); i++ {
		if ns[i] <= ns[i-1] {
			t.Fatalf("%s: %d came after %d", what, ns[i], ns[i-1])
		}
	}
}

// testOrder: what nothing disturbs arrives whole and in order, of any size.
func testOrder(t *testing.T, p *pair) {
	const count = 2000
	for i := range count {
		frame := fmt.Appendf(nil, "b%d.", i)
		if i == count/2 {
			frame = append(frame, make([]byte, maxGatherBytes+1)...)
		}
		p.Send(1001, false, frame)
		if i%4 == 0 {
			p.Send(1001, true, fmt.Appendf(nil, "u%d.", i))
		}
	}
	eventually(t, "all frames arrive", func() bool { return len(p.to.received(1002)) == count+count/4 })
	checkAscending(t, "bulk", numbers(t, p.to.received(1002), "b"))
	checkAscending(t, "urgent", numbers(t, p.to.received(1002), "u"))
}

// testRestart: the other side goes away and comes back while frames are sent. Some are lost, none comes twice or late,
// and soon after it is back they arrive again.
func testRestart(t *testing.T, p *pair) {
	sent := 0
	send := func() { p.Send(1001, false, fmt.Appendf(nil, "b%d.", sent)); sent++; time.Sleep(time.Millisecond) }
	for range 3 {
		before := len(p.to.received(1002))
		start := time.Now()
		eventually(t, "frames arrive again", func() bool { send(); return len(p.to.received(1002)) > before+10 })
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("it took %s", d)
		}
		p.crash()
		for range 200 {
			send()
		}
		p.restart()
	}
	checkAscending(t, "over restarts", numbers(t, p.to.received(1002), "b"))
}

// testUrgent: what is urgent arrives while bulk data has filled every buffer of a receiver that does not read.
func testUrgent(t *testing.T, p *pair) {
	p.to.block = make(chan struct{})
	defer close(p.to.block)
	frame := make([]byte, 4<<20)
	for range (windowBytes + maxBulkBytes/4) / len(frame) {
		p.Send(1001, false, append([]byte("b1."), frame...))
	}
	time.Sleep(50 * time.Millisecond)
	for i := range 3 {
		p.Send(1001, true, fmt.Appendf(nil, "u%d.", i))
		eventually(t, "urgent frames arrive", func() bool { return len(p.to.received(1002)) == i+1 })
	}
}

// testCall: a call is answered, or says why not.
func testCall(t *testing.T, p *pair) {
	ctx := testContext(t)
	rep := p.Call(ctx, 1001, &call.Request{Kind: call.Barrier, Shard: 7, Body: []byte("x")})
	if rep.Err != nil || rep.Term != 1 || rep.Applied != 2 || string(rep.Body) != "x" {
		t.Errorf("reply %+v", rep)
	}
	busy := &shard.ServerBusyError{Store: 1001, Why: "full", Wait: time.Second}
	p.to.do = func(context.Context, *call.Request) call.Reply { return call.Reply{Err: busy} }
	checkSame(t, "busy", busy, busy, p.Call(ctx, 1001, &call.Request{Kind: call.Barrier}).Err)
	// The store's clock may be a little ahead of the caller's.
	p.to.do = func(context.Context, *call.Request) call.Reply { return call.Reply{Err: context.DeadlineExceeded} }
	if err := p.Call(ctx, 1001, &call.Request{Kind: call.Barrier}).Err; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late by the store's clock: %v", err)
	}
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	p.to.do = func(ctx context.Context, _ *call.Request) call.Reply { <-ctx.Done(); return call.Reply{Err: ctx.Err()} }
	if err := p.Call(short, 1001, &call.Request{Kind: call.Barrier}).Err; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("late: %v", err)
	}
	if err := p.Call(ctx, 1009, &call.Request{Kind: call.Barrier}).Err; !errors.Is(err, shard.ErrUnavailable) {
		t.Errorf("a store without an address: %v", err)
	}
	p.crash()
	if err := p.Call(ctx, 1001, &call.Request{Kind: call.Barrier}).Err; !errors.Is(err, shard.ErrUnavailable) {
		t.Errorf("crashed: %v", err)
	}
}

// chunks yields count chunks of a size.
func chunks(count, size int) func() ([]byte, error) {
	return func() ([]byte, error) {
		if count == 0 {
			return nil, io.EOF
		}
		count--
		buf := *buffer.Frames.Get(size) // as the real source does
		for n := copy(buf, []byte{byte('a' + count)}); n > 0 && n < size; n *= 2 {
			copy(buf[n:], buf[:n]) // byte by byte, megabytes take seconds under the race detector
		}
		return buf, nil
	}
}

// testSnapshot: a snapshot arrives whole, or both sides know that it did not.
func testSnapshot(t *testing.T, p *pair) {
	ctx := testContext(t)
	if err := p.SendSnapshot(ctx, 1001, []byte("header:"), chunks(3, 2)); err != nil || string(p.to.snapshotBytes()) != "header:ccbbaa" {
		t.Errorf("%q, %v", p.to.snapshotBytes(), err)
	}
	if err := p.SendSnapshot(ctx, 1001, []byte("header:"), chunks(0, 0)); err != nil || string(p.to.snapshotBytes()) != "header:" {
		t.Errorf("empty: %q, %v", p.to.snapshotBytes(), err)
	}
	// More than a window, so that the receiver must have taken some before the last is sent.
	size := 0
	p.to.snapshot = func(_ context.Context, _ []byte, next func() ([]byte, error)) error {
		for {
			b, err := next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			size += len(b)
		}
	}
	if err := p.SendSnapshot(ctx, 1001, nil, chunks(9, windowBytes/8)); err != nil || size != windowBytes/8*9 {
		t.Fatalf("large: %d bytes, %v", size, err)
	}
	// The source breaks: the sender gets its own error back, and the receiver does not take the end for the end.
	broke, seen, began := errors.New("the disk broke"), make(chan error, 1), make(chan struct{}, 1)
	p.to.snapshot = func(_ context.Context, _ []byte, next func() ([]byte, error)) error {
		for {
			if _, err := next(); err != nil {
				seen <- err
				return fmt.Errorf("staging: %w", err)
			}
			began <- struct{}{}
		}
	}
	good := chunks(1, 1)
	err := p.SendSnapshot(ctx, 1001, nil, func() ([]byte, error) {
		if b, err := good(); err == nil {
			return b, nil
		}
		<-began // a stream that ends before anything of it arrived is none
		return nil, broke
	})
	if !errors.Is(err, broke) {
		t.Fatalf("sender broke: %v", err)
	}
	if err := <-seen; err == io.EOF {
		t.Error("the receiver took half a snapshot for a whole one")
	}
	// The receiver refuses at once, while the sender has much to send.
	busy := &shard.ServerBusyError{Store: 1001, Why: "snapshot slots are taken", Wait: time.Second}
	p.to.snapshot = func(context.Context, []byte, func() ([]byte, error)) error { return busy }
	checkSame(t, "refused", busy, busy, p.SendSnapshot(ctx, 1001, nil, chunks(100, 1<<20)))
	p.crash()
	if err := p.SendSnapshot(ctx, 1001, nil, chunks(1, 1)); !errors.Is(err, shard.ErrUnavailable) {
		t.Errorf("crashed: %v", err)
	}
}

// TestWrongCluster: nothing of another cluster reaches a store, and the other side learns why.
func TestWrongCluster(t *testing.T) {
	st := newTestStore(1001)
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(st); s.SetCluster(5) })
	conns, ctx := newConns(t), testContext(t)
	stranger := newTestTransport(t, conns, 1002, 6)
	stranger.SetAddr(1001, srv.addr)
	want := &shard.WrongClusterError{Want: 6, Have: 5}
	stranger.Send(1001, false, []byte("b1."))
	stranger.Send(1001, true, []byte("u1."))
	checkSame(t, "call", want, want, stranger.Call(ctx, 1001, &call.Request{Kind: call.Barrier}).Err)
	checkSame(t, "snapshot", want, want, stranger.SendSnapshot(ctx, 1001, nil, chunks(1, 1)))

	friend := newTestTransport(t, conns, 1003, 5)
	friend.SetAddr(1001, srv.addr)
	friend.Send(1001, false, []byte("b1."))
	eventually(t, "a friend's frame arrives", func() bool { return len(st.received(1003)) == 1 })
	if got := st.received(1002); len(got) != 0 {
		t.Errorf("frames of another cluster arrived: %v", got)
	}
}

// TestAddressChange: a store that moved to another node is found there, although its old node goes on without it.
func TestAddressChange(t *testing.T) {
	st := newTestStore(1001)
	old := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(st) })
	tr := newTestTransport(t, newConns(t), 1002, 0)
	tr.SetAddr(1001, old.addr)
	tr.Send(1001, false, []byte("b1."))
	eventually(t, "a frame arrives", func() bool { return len(st.received(1002)) == 1 })

	moved := newTestStore(1001)
	other := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(moved) })
	old.RemoveStore(1001)
	tr.SetAddr(1001, other.addr)
	eventually(t, "frames arrive at the new address", func() bool {
		tr.Send(1001, false, []byte("b2."))
		return len(moved.received(1002)) > 0
	})
}

// TestReached: who waits for ever to be tried again is tried when the other side was heard of.
func TestReached(t *testing.T) {
	st := newTestStore(1001)
	up := func(addr string) *testServer { return serve(t, addr, func(s *Server) { s.AddStore(st) }) }
	srv := up("127.0.0.1:0")
	conns := newConns(t)
	conns.backoff.BaseDelay, conns.backoff.MaxDelay = time.Hour, time.Hour
	tr := newTestTransport(t, conns, 1002, 0)
	tr.shortest, tr.longest = time.Hour, time.Hour
	tr.SetAddr(1001, srv.addr)
	arrives := func(what string, urgent bool, try func()) {
		before := len(st.received(1002))
		eventually(t, what, func() bool {
			try()
			tr.Send(1001, urgent, []byte("b1."))
			return len(st.received(1002)) > before
		})
	}
	for _, urgent := range []bool{false, true} {
		arrives("a frame arrives", urgent, func() {})
	}
	srv.stop()
	eventually(t, "the connection has failed", func() bool {
		err := tr.Call(testContext(t), 1001, &call.Request{Kind: call.Barrier}).Err
		return err != nil && strings.Contains(err.Error(), "refused")
	})
	up(srv.addr)
	for _, urgent := range []bool{false, true} {
		arrives("a frame arrives again", urgent, func() { tr.Reached(1001) })
	}
}

// TestTransportBounds: for a store that cannot be reached a bounded number of bytes waits.
func TestTransportBounds(t *testing.T) {
	tr := newTestTransport(t, newConns(t), 1002, 0)
	for range 10 {
		tr.Send(1001, true, make([]byte, maxUrgentBytes/4))
	}
	s := tr.streams[link{1002, 1001, true}]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes > maxUrgentBytes {
		t.Errorf("%d bytes wait", s.bytes)
	}
}
