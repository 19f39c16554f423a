package simnet

import (
	"context"
	"fmt"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
)

// server is what a node serves at its address.
type server struct {
	host      *Host
	stop      env.Event
	node      rpc.Node
	placement rpc.Placement
	stores    map[shard.StoreID]rpc.Store
	cluster   shard.ClusterID
}

var _ node.Server = (*server)(nil)

func (s *server) Addr() string                   { return s.host.addr }
func (s *server) ServeNode(n rpc.Node)           { s.node = n }
func (s *server) ServePlacement(p rpc.Placement) { s.placement = p }
func (s *server) AddStore(st rpc.Store)          { s.stores[st.ID()] = st }
func (s *server) SetCluster(id shard.ClusterID)  { s.cluster = id }

func (s *server) Serve() error {
	s.host.server = s
	return s.stop.Wait(context.Background(), 0)
}

func (s *server) Stop() {
	s.host.server = nil
	s.stop.Wake()
}

// check is the handshake.
func (s *server) check(theirs shard.ClusterID) error {
	if s.cluster != 0 && theirs != 0 && s.cluster != theirs {
		return &shard.WrongClusterError{Want: theirs, Have: s.cluster}
	}
	return nil
}

func (s *server) store(id shard.StoreID) (rpc.Store, error) {
	if st := s.stores[id]; st != nil {
		return st, nil
	}
	return nil, fmt.Errorf("%s is not on this node: %w", id, shard.ErrUnavailable)
}

// Wire is the network as one node sees it.
func (h *Host) Wire() node.Wire { return &wire{h} }

type wire struct{ h *Host }

func (w *wire) Listen(string) (node.Server, error) {
	return &server{host: w.h, stop: w.h.env.NewEvent("stop"), stores: make(map[shard.StoreID]rpc.Store)}, nil
}

func (w *wire) Transport(from shard.StoreID, cluster shard.ClusterID) node.Transport {
	return &transport{h: w.h, from: from, cluster: cluster, addrs: make(map[shard.StoreID]string)}
}

func (w *wire) Placement(addr string) rpc.Placement { return &placementAt{w.h, addr} }

func (w *wire) Node(ctx context.Context, addr string) (rpc.NodeInfo, error) {
	return nodeInfo(ctx, w.h, addr)
}

func (w *wire) Close() error { return nil }

func nodeInfo(ctx context.Context, h *Host, addr string) (rpc.NodeInfo, error) {
	return ask(ctx, h, addr, "ask node", 32, func(_ context.Context, s *server) (rpc.NodeInfo, error) { return s.node.Info(), nil })
}
