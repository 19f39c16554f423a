package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/skerrydb/skerry/internal/budget"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/tests/bench/callers"
)

// echoBytes is the size of what goes forth and back, inflight how much of it is under way at a time.
const echoBytes = 256

var inflight = []int{1, 256}

// BenchmarkCalls is a call of a client to a store that answers at once, over loopback, beside a unary call of gRPC alone and
// a stream of gRPC alone with a frame for each call. Callers wait for their answers, as many as are in flight.
func BenchmarkCalls(b *testing.B) {
	req := &call.Request{Kind: call.Write, Shard: 1000, Body: bytes.Repeat([]byte{'b'}, echoBytes)}
	frame := call.AppendRequest(nil, 1, req)
	for _, n := range inflight {
		b.Run(fmt.Sprintf("inflight=%d/calls", n), func(b *testing.B) { benchCalls(b, n, req) })
		benchBare(b, n, frame)
	}
}

// BenchmarkTransport is a frame from one store to another that comes back on the stream of the other way, over loopback,
// beside the same of gRPC alone.
func BenchmarkTransport(b *testing.B) {
	frame := bytes.Repeat([]byte{'b'}, echoBytes)
	for _, n := range inflight {
		b.Run(fmt.Sprintf("inflight=%d/frames", n), func(b *testing.B) { benchFrames(b, n, frame) })
		benchBare(b, n, frame)
	}
}

func benchBare(b *testing.B, n int, frame []byte) {
	b.Run(fmt.Sprintf("inflight=%d/grpc-unary", n), func(b *testing.B) { benchUnary(b, n, frame) })
	b.Run(fmt.Sprintf("inflight=%d/grpc-stream", n), func(b *testing.B) { benchStream(b, n, frame) })
}

// echoStore is a store that answers on the goroutine that asks.
type echoStore struct {
	id shard.StoreID
	// receive takes a frame of another store; nil: there will be none.
	receive func(frame []byte)
}

func (s *echoStore) ID() shard.StoreID      { return s.id }
func (s *echoStore) Memory() *budget.Budget { return nil }

func (s *echoStore) Handle(asks []call.Ask) {
	for _, a := range asks {
		rep := s.Do(context.Background(), a.Req)
		a.To.Complete(a.ID, &rep)
	}
}

func (s *echoStore) Do(_ context.Context, req *call.Request) call.Reply {
	return call.Reply{Term: 1, Applied: 2, Body: req.Body}
}

func (s *echoStore) Receive(_ shard.StoreID, frame []byte) { s.receive(frame) }

func (s *echoStore) ReceiveSnapshot(context.Context, []byte, func() ([]byte, error)) error {
	return errors.New("there are no snapshots")
}

// echoes runs a call from n callers.
func echoes(b *testing.B, n int, do func() error) {
	if err := do(); err != nil { // connect
		b.Fatal(err)
	}
	b.SetBytes(echoBytes)
	callers.Run(b, n, do)
}

// window keeps n messages under way: whenever one came back, the next one is sent.
func window(b *testing.B, n int, send, receive func() error) {
	step := func(f func() error) {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	step(send) // connect
	step(receive)
	for range n {
		step(send)
	}
	b.SetBytes(echoBytes)
	b.ReportAllocs()
	for b.Loop() {
		step(receive)
		step(send)
	}
	for range n {
		step(receive)
	}
}

func benchCalls(b *testing.B, n int, req *call.Request) {
	srv := serve(b, "127.0.0.1:0", func(s *Server) { s.AddStore(&echoStore{id: 1001}) })
	calls := newTestCalls(b, newConns(b))
	ctx := testContext(b)
	echoes(b, n, func() error {
		rep := calls.Call(ctx, srv.addr, 1001, req)
		if rep.Err == nil && !bytes.Equal(rep.Body, req.Body) {
			return fmt.Errorf("%d bytes came back, or other ones", len(rep.Body))
		}
		return rep.Err
	})
}

// benchFrames has a store on each of two nodes. The second one sends back what it receives.
func benchFrames(b *testing.B, n int, frame []byte) {
	back := make(chan []byte, n)
	conns := newConns(b)
	from, to := newTestTransport(b, conns, 1001, 5), newTestTransport(b, conns, 1002, 5)
	one := serve(b, "127.0.0.1:0", func(s *Server) {
		s.AddStore(&echoStore{id: 1001, receive: func(f []byte) { back <- f }})
	})
	two := serve(b, "127.0.0.1:0", func(s *Server) {
		s.AddStore(&echoStore{id: 1002, receive: func(f []byte) { to.Send(1001, false, f) }})
	})
	from.SetAddr(1002, two.addr)
	to.SetAddr(1001, one.addr)
	ctx := testContext(b)
	send := func() error { from.Send(1002, false, frame); return nil }
	window(b, n, send, func() error {
		select {
		case f := <-back:
			return same(f, frame)
		case <-ctx.Done():
			return errors.New("a frame was lost")
		}
	})
}

func same(have, want []byte) error {
	if !bytes.Equal(have, want) {
		return fmt.Errorf("%d bytes came back, or other ones", len(have))
	}
	return nil
}

// bareServer answers with what it was asked, with nothing but gRPC and the generated code around it.
type bareServer struct {
	raftv1.UnimplementedRaftServer
	kvv1.UnimplementedKVServer
}

// Call sends the request back.
func (bareServer) Call(_ context.Context, req *raftv1.CallRequest) (*raftv1.CallReply, error) {
	return &raftv1.CallReply{Reply: req.GetRequest()}, nil
}

// Stream sends each frame back.
func (bareServer) Stream(stream kvv1.KV_StreamServer) error {
	for {
		f, err := stream.Recv()
		if err != nil {
			return nil // the client is done
		}
		if err := stream.Send(f); err != nil {
			return err
		}
	}
}

// dialBare starts a bareServer and connects to it.
func dialBare(b *testing.B) *grpc.ClientConn {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := grpc.NewServer()
	raftv1.RegisterRaftServer(srv, bareServer{})
	kvv1.RegisterKVServer(srv, bareServer{})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	cc, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		err := cc.Close()
		srv.Stop()
		if err = errors.Join(err, <-done); err != nil {
			b.Error(err)
		}
	})
	return cc
}

func benchUnary(b *testing.B, n int, frame []byte) {
	cli := raftv1.NewRaftClient(dialBare(b))
	ctx := testContext(b)
	echoes(b, n, func() error {
		rep, err := cli.Call(ctx, &raftv1.CallRequest{Request: frame})
		if err != nil {
			return err
		}
		return same(rep.GetReply(), frame)
	})
}

func benchStream(b *testing.B, n int, frame []byte) {
	stream, err := kvv1.NewKVClient(dialBare(b)).Stream(testContext(b))
	if err != nil {
		b.Fatal(err)
	}
	window(b, n, func() error { return stream.Send(&kvv1.Frame{Data: frame}) }, func() error {
		f, err := stream.Recv()
		if err != nil {
			return err
		}
		return same(f.GetData(), frame)
	})
	if err := stream.CloseSend(); err != nil {
		b.Fatal(err)
	}
}
