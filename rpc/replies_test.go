package rpc

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/skerrydb/skerry/internal/budget"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

const pageBytes = 1 << 20

// reluctant is a client that sends on a stream of its own and takes answers only when it is told to. Unlike the SDK it has
// gRPC's own small window.
type reluctant struct {
	t      *testing.T
	stream kvv1.KV_StreamClient
	next   uint64
}

func newReluctant(t *testing.T, addr string) *reluctant {
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)), grpc.WithStaticStreamWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cc.Close() })
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(testContext(t), headerStore, "1001"))
	t.Cleanup(cancel)
	stream, err := kvv1.NewKVClient(cc).Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &reluctant{t: t, stream: stream}
}

// ask sends a frame of n requests.
func (r *reluctant) ask(kind call.Kind, n, bodyBytes int) error {
	var frame []byte
	for range n {
		r.next++
		frame = call.AppendRequest(frame, r.next, &call.Request{Kind: kind, Shard: 2, Body: make([]byte, bodyBytes)})
	}
	return r.stream.Send(&kvv1.Frame{Data: frame})
}

// take takes n answers, and says how many of them were refusals.
func (r *reluctant) take(n int) (refused int) {
	seen := make(map[uint64]bool)
	for len(seen) < n {
		f, err := r.stream.Recv()
		if err != nil {
			r.t.Fatalf("after %d answers of %d: %v", len(seen), n, err)
		}
		err = call.DecodeReplies(f.GetData(), func(id uint64, rep *call.Reply) error {
			if seen[id] {
				r.t.Errorf("request %d is answered twice", id)
			}
			seen[id] = true
			var busy *shard.ServerBusyError
			switch {
			case errors.As(rep.Err, &busy) && busy.Wait > 0:
				refused++
			case rep.Err != nil || len(rep.Body) == 0:
				r.t.Errorf("request %d: %v, %d bytes", id, rep.Err, len(rep.Body))
			}
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
	}
	return refused
}

// TestClientThatDoesNotRead: what a client does not take waits in memory up to its stream's part of the budget. Beyond it
// reads are refused and writes are not, other clients are served, and when it takes its answers there is one for each
// request.
func TestClientThatDoesNotRead(t *testing.T) {
	const reads, writes, more = 200, 300, 2000
	st := newTestStore(1001)
	st.memory = budget.New(128 << 20) // 16 MiB for replies, 4 MiB for a stream
	var handled atomic.Int64
	st.do = func(_ context.Context, req *call.Request) call.Reply {
		handled.Add(1)
		if req.Kind == call.Read {
			return call.Reply{Read: true, Body: make([]byte, pageBytes)}
		}
		return call.Reply{Term: 1, Body: []byte("done")}
	}
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(st) })
	r := newReluctant(t, srv.addr)
	if err := errors.Join(r.ask(call.Write, writes, 10), r.ask(call.Read, reads, 10)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all requests are handled", func() bool { return handled.Load() == reads+writes })
	limit := st.memory.Share(budget.Replies)/streamPart + 2*takenUnit
	eventually(t, "reads are refused", func() bool { return st.memory.Refused(budget.Replies) > 0 })
	if n := st.memory.Used(budget.Replies); n > limit {
		t.Fatalf("%d bytes wait for a client that takes nothing, %d may", n, limit)
	}
	// It is not read from any more: what it sends now waits on its own side, but for the window of its stream.
	sent := make(chan error, 1)
	go func() {
		var err error
		for range more {
			if err = r.ask(call.Write, 1, 16<<10); err != nil {
				break
			}
		}
		sent <- err
	}()
	select {
	case err := <-sent:
		t.Fatalf("it sent %d MiB more: %v", more*16>>10, err)
	case <-time.After(300 * time.Millisecond):
	}
	if n := handled.Load(); n > reads+writes+1 { // a frame may have been on its way in
		t.Errorf("%d requests were taken from it, %d before it fell behind", n, reads+writes)
	}
	other := newTestCalls(t, newConns(t))
	for range 20 {
		if rep := other.Call(testContext(t), srv.addr, 1001, &call.Request{Kind: call.Read, Shard: 2}); rep.Err != nil || len(rep.Body) != pageBytes {
			t.Fatalf("another client: %v, %d bytes", rep.Err, len(rep.Body))
		}
	}
	refused := r.take(writes + reads + more)
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if refused == 0 || refused >= reads {
		t.Errorf("%d of %d reads were refused", refused, reads)
	}
	t.Logf("%d of %d reads were refused", refused, reads)
	eventually(t, "memory is given back", func() bool { return st.memory.Used(budget.Replies) <= 2*2*takenUnit })
}

// TestClientsThatGoAway: what waits for a client is given back with its stream.
func TestClientsThatGoAway(t *testing.T) {
	st := newTestStore(1001)
	st.memory = budget.New(128 << 20)
	st.do = func(context.Context, *call.Request) call.Reply {
		return call.Reply{Read: true, Body: make([]byte, pageBytes)}
	}
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(st) })
	t.Run("clients", func(t *testing.T) {
		for range 8 {
			if err := newReluctant(t, srv.addr).ask(call.Read, 50, 10); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "reads are refused", func() bool { return st.memory.Refused(budget.Replies) > 0 })
		if n, most := st.memory.Used(budget.Replies), st.memory.Share(budget.Replies)+8*(pageBytes+takenUnit); n > most {
			t.Errorf("%d bytes wait for eight clients, %d may", n, most)
		}
	})
	eventually(t, "memory is given back", func() bool { return st.memory.Used(budget.Replies) == 0 })
}

// TestFramesFit: frames for a store that takes none hold their part of the budget and not more; small ones, which
// acknowledge, and urgent ones are not refused for want of memory.
func TestFramesFit(t *testing.T) {
	tr := newTestTransport(t, newConns(t), 1002, 0)
	m := budget.New(budget.MinBytes) // 8 MiB for frames
	tr.SetMemory(m)
	add := func(to shard.StoreID, urgent bool, bytes int) (waits bool) {
		key := link{1002, to, urgent}
		s := tr.streams[key]
		if s == nil {
			s = &frameStream{t: tr, key: key, wake: tr.env.NewEvent("frames"), limit: int(m.Share(budget.Outbound) / linkPart), memory: m, urgent: urgent}
			tr.streams[key] = s
		}
		before := len(s.queue)
		s.add(make([]byte, bytes))
		return len(s.queue) > before
	}
	for range 100 {
		add(1001, false, 1<<20)
	}
	if n := m.Used(budget.Outbound); n != m.Share(budget.Outbound)/linkPart || m.Refused(budget.Outbound) == 0 {
		t.Fatalf("%d bytes wait for one store, %d were refused", n, m.Refused(budget.Outbound))
	}
	for range 2 {
		if !add(1003, false, 1<<20) {
			t.Error("another store gets no frames")
		}
	}
	m.Add(budget.Outbound, m.Share(budget.Outbound))
	if add(1003, false, 1<<20) {
		t.Error("a large frame waits although there is no memory left")
	}
	if !add(1003, false, smallFrameBytes) || !add(1003, true, 1<<20) || !add(1004, false, 1<<20) {
		t.Error("an acknowledgement, an urgent frame, or the only one for a store is refused for want of memory")
	}
	m.Give(budget.Outbound, m.Share(budget.Outbound))
	for _, s := range tr.streams {
		s.drop()
	}
	if n := m.Used(budget.Outbound); n != 0 {
		t.Errorf("%d bytes are not given back", n)
	}
}
