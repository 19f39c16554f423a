package rpc

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/experimental"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/skerrydb/skerry/internal/env"
	adminv1 "github.com/skerrydb/skerry/proto/skerry/admin/v1"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	placementv1 "github.com/skerrydb/skerry/proto/skerry/placement/v1"
	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
	"github.com/skerrydb/skerry/shard"
)

// stopWait is how long streams may take to end when a server stops.
const stopWait = 100 * time.Millisecond

// Server listens on one address and serves what is registered with it: any number of stores, at most one placement
// member, one node.
type Server struct {
	env  env.Env
	grpc *grpc.Server

	mu      sync.RWMutex
	cluster shard.ClusterID
	stores  map[shard.StoreID]Store
	ready   Ready // nil: health is not known, and taken for good
	stopped bool

	placement Placement // of the node; nil: none. Set before Serve
}

// NewServer makes a server that serves nothing yet. creds nil is plain text; see Guard.
func NewServer(e env.Env, creds credentials.TransportCredentials) *Server {
	s := &Server{env: e, stores: make(map[shard.StoreID]Store)}
	opts := []grpc.ServerOption{
		grpc.InitialWindowSize(receiveBytes), grpc.InitialConnWindowSize(windowBytes),
		grpc.ReadBufferSize(bufferBytes), grpc.WriteBufferSize(bufferBytes),
		grpc.MaxRecvMsgSize(maxMessageBytes), grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.ConnectionTimeout(handshakeTimeout), experimental.BufferPool(buffers), grpc.ForceServerCodecV2(frames),
		grpc.ChainUnaryInterceptor(unaryErrors, s.knownUnary), grpc.ChainStreamInterceptor(streamErrors, s.knownStream),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
	}
	if creds != nil {
		opts = append(opts, grpc.Creds(creds))
	}
	s.grpc = grpc.NewServer(opts...)
	kvv1.RegisterKVServer(s.grpc, &kvServer{s: s})
	raftv1.RegisterRaftServer(s.grpc, &raftServer{s: s})
	healthv1.RegisterHealthServer(s.grpc, &healthServer{s: s})
	return s
}

// ServePlacement registers a placement member. Call before Serve.
func (s *Server) ServePlacement(p Placement) {
	s.mu.Lock()
	s.placement = p
	s.mu.Unlock()
	placementv1.RegisterPlacementServer(s.grpc, &placementServer{p: p, env: s.env})
}

func (s *Server) placementHere() Placement {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.placement
}

// ServeNode registers what administrators ask. Call before Serve.
func (s *Server) ServeNode(n Node) {
	adminv1.RegisterAdminServer(s.grpc, &adminServer{n: n})
	if r, ok := n.(Ready); ok {
		s.mu.Lock()
		s.ready = r
		s.mu.Unlock()
	}
}

// AddStore makes a store reachable, also while serving. RemoveStore undoes it.
func (s *Server) AddStore(st Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stores[st.ID()] = st
}

// RemoveStore makes a store unreachable.
func (s *Server) RemoveStore(id shard.StoreID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.stores, id)
}

// SetCluster makes handshakes refuse other clusters. Zero, until it is known, lets all pass.
func (s *Server) SetCluster(id shard.ClusterID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cluster = id
}

// checkCluster is the handshake.
func (s *Server) checkCluster(theirs shard.ClusterID) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.cluster != 0 && theirs != 0 && s.cluster != theirs {
		return &shard.WrongClusterError{Want: theirs, Have: s.cluster}
	}
	return nil
}

// checkHeader refuses whoever names another cluster; who names none may be one who does not know it yet.
//
// INVARIANT: this comes before anything of a call is looked at, so that a refusal says that nothing happened.
func (s *Server) checkHeader(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if len(md.Get(headerCluster)) == 0 {
		return nil
	}
	id, err := headerID(ctx, headerCluster)
	if err != nil {
		return err
	}
	return s.checkCluster(shard.ClusterID(id))
}

func (s *Server) knownUnary(ctx context.Context, req any, _ *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	if err := s.checkHeader(ctx); err != nil {
		return nil, err
	}
	return h(ctx, req)
}

func (s *Server) knownStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, h grpc.StreamHandler) error {
	if err := s.checkHeader(ss.Context()); err != nil {
		return err
	}
	return h(srv, ss)
}

func (s *Server) store(id shard.StoreID) (Store, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if st := s.stores[id]; st != nil {
		return st, nil
	}
	return nil, fmt.Errorf("%s is not on this node: %w", id, shard.ErrUnavailable)
}

// Serve answers on a listener until Stop.
func (s *Server) Serve(l net.Listener) error {
	if err := s.grpc.Serve(l); err != nil && err != grpc.ErrServerStopped {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// Stop ends all streams and calls.
func (s *Server) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	timer := time.AfterFunc(stopWait, s.grpc.Stop) // streams of clients have no end of their own
	s.grpc.GracefulStop()
	timer.Stop()
}
