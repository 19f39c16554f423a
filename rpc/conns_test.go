package rpc

import (
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc/connectivity"

	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
)

// TestRetryBesideConnecting: an address may be tried again at any moment, also while its connection is being made, and a connection that
// does not fail stays.
func TestRetryBesideConnecting(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := lis.Addr().String()
	_ = lis.Close()
	for range 300 {
		conns := newConns(t)
		cc, err := conns.get(nobody)
		if err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		both.Go(func() {
			_, err := raftv1.NewRaftClient(cc).Call(testContext(t), &raftv1.CallRequest{})
			if err == nil {
				t.Error("somebody answered")
			}
		})
		both.Go(func() {
			for range 20 {
				conns.retry(nobody)
			}
		})
		both.Wait()
		_ = conns.Close()
	}

	st := newTestStore(1001)
	srv := serve(t, "127.0.0.1:0", func(s *Server) { s.AddStore(st) })
	conns := newConns(t)
	cc, err := conns.get(srv.addr)
	if err != nil {
		t.Fatal(err)
	}
	cc.Connect()
	eventually(t, "it is connected", func() bool { return cc.GetState() == connectivity.Ready })
	conns.retry(srv.addr)
	if again, err := conns.get(srv.addr); err != nil || again != cc || cc.GetState() != connectivity.Ready {
		t.Fatalf("it was given up, %v", err)
	}
}
