package node

import (
	"context"
	"log/slog"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
)

// Wire is how a node meets other nodes: gRPC, or the simulator's network. Safe for concurrent use.
type Wire interface {
	// Listen binds an address; port 0 picks one. Callers are refused until the server serves.
	Listen(addr string) (Server, error)
	// Transport is the way of one store of this node to other stores.
	Transport(from shard.StoreID, cluster shard.ClusterID) Transport
	// Placement is the placement member at an address. Nothing is dialled yet.
	Placement(addr string) rpc.Placement
	// Node asks the node at an address who it is.
	Node(ctx context.Context, addr string) (rpc.NodeInfo, error)
	// Close ends all connections that this node made.
	Close() error
}

// Server answers on one address what is registered with it.
type Server interface {
	Addr() string
	ServeNode(rpc.Node)
	ServePlacement(rpc.Placement)
	AddStore(rpc.Store)
	SetCluster(shard.ClusterID)
	// Serve answers until Stop.
	Serve() error
	Stop()
}

// Transport is raftstore's, with the addresses that placement tells.
type Transport interface {
	raftstore.Transport
	SetAddr(id shard.StoreID, addr string)
	SetCluster(id shard.ClusterID)
	// SetMemory says from what budget frames take memory while they wait. Call it before the first Send.
	SetMemory(b *budget.Budget)
	Close()
}

// grpcWire is Wire over gRPC.
type grpcWire struct {
	env   env.Env
	conns *rpc.Conns
	guard *rpc.Guard // nil: plain text
}

func newGRPCWire(e env.Env) *grpcWire { return &grpcWire{env: e, conns: rpc.NewConns(nil)} }

// newSecureWire is a wire that speaks TLS, and plain text without t.
func newSecureWire(e env.Env, t *TLS, log *slog.Logger) (*grpcWire, error) {
	if t == nil {
		return newGRPCWire(e), nil
	}
	guard, err := t.guard(log)
	if err != nil {
		return nil, err
	}
	dial, err := t.Client()
	if err != nil {
		return nil, err
	}
	return &grpcWire{env: e, conns: rpc.NewConns(dial), guard: guard}, nil
}

func (w *grpcWire) Listen(addr string) (Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	var creds credentials.TransportCredentials
	if w.guard != nil {
		creds = w.guard.Credentials()
	}
	return &grpcServer{Server: rpc.NewServer(w.env, creds), l: l}, nil
}

func (w *grpcWire) Transport(from shard.StoreID, cluster shard.ClusterID) Transport {
	return rpc.NewTransport(w.env, w.conns, from, cluster)
}

func (w *grpcWire) Placement(addr string) rpc.Placement { return w.conns.Placement(addr) }

func (w *grpcWire) Node(ctx context.Context, addr string) (rpc.NodeInfo, error) {
	return w.conns.Node(addr).Info(ctx)
}

func (w *grpcWire) Close() error { return w.conns.Close() }

// grpcServer is a server with the listener that it serves.
type grpcServer struct {
	*rpc.Server
	l net.Listener
}

func (s *grpcServer) Addr() string { return s.l.Addr().String() }

func (s *grpcServer) Serve() error { return s.Server.Serve(s.l) }

// Stop also closes the listener of a server that never served.
func (s *grpcServer) Stop() {
	s.Server.Stop()
	_ = s.l.Close()
}
