package e2e

import (
	"context"
	"net"
	"testing"

	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
)

// linkKind is what travels over a link. Each kind has connections of its own, so that each can be cut alone.
type linkKind string

const (
	clientLink linkKind = "client" // requests of clients, who are no node
	callLink   linkKind = "call"   // what nodes ask placement: heartbeats, registration
	storeLink  linkKind = "store"  // raft and calls between stores
	memberLink linkKind = "member" // raft between placement's members
)

// clients stands for everyone who is no node.
const clients = -1

// link is the way from one node, or from clients, to another, for one kind of traffic. Who dials it is from; bytes go
// both ways.
type link struct {
	from, to int
	kind     linkKind
}

// network has a proxy on every link.
type network struct {
	links   []link // in a fixed order
	proxies map[link]*proxy
}

func newNetwork(t testing.TB, listen []string) *network {
	n := &network{proxies: make(map[link]*proxy)}
	for to, addr := range listen {
		n.add(t, link{clients, to, clientLink}, addr)
		for from := range listen {
			for _, kind := range []linkKind{callLink, storeLink, memberLink} {
				if from != to {
					n.add(t, link{from, to, kind}, addr)
				}
			}
		}
	}
	return n
}

func (n *network) add(t testing.TB, l link, addr string) {
	n.links = append(n.links, l)
	n.proxies[l] = newProxy(t, addr)
}

// addr is where a node is reached by others.
func (n *network) addr(node int) string {
	return n.proxies[link{clients, node, clientLink}].addr()
}

// via is how a node reaches the others: for each kind, their address to the proxy of its own link.
func (n *network) via(from int, listen []string) map[linkKind]map[string]string {
	out := make(map[linkKind]map[string]string)
	for _, kind := range []linkKind{callLink, storeLink, memberLink} {
		out[kind] = make(map[string]string)
		for to := range listen {
			out[kind][n.addr(to)] = listen[to] // itself needs no network
			if to != from {
				out[kind][n.addr(to)] = n.proxies[link{from, to, kind}].addr()
			}
		}
	}
	return out
}

// cut stops the bytes from one end to another wherever blocked says so, whoever dialled the connection, and lets all
// others go on. A nil blocked heals everything.
func (n *network) cut(blocked func(from, to int, kind linkKind) bool) {
	for _, l := range n.links {
		n.proxies[l].cut(blocked != nil && blocked(l.from, l.to, l.kind), blocked != nil && blocked(l.to, l.from, l.kind))
	}
}

// each calls f with the proxy of every link that is chosen.
func (n *network) each(chosen func(l link) bool, f func(p *proxy)) {
	for _, l := range n.links {
		if chosen(l) {
			f(n.proxies[l])
		}
	}
}

func (n *network) close() {
	for _, l := range n.links {
		n.proxies[l].close()
	}
}

// linkWire is gRPC as a node uses it, but every connection to another node goes through the proxy of its link.
type linkWire struct {
	env   env.Env
	conns *rpc.Conns
	via   map[linkKind]map[string]string
}

var _ node.Wire = (*linkWire)(nil)

func newLinkWire(e env.Env, via map[linkKind]map[string]string) *linkWire {
	return &linkWire{env: e, conns: rpc.NewConns(nil), via: via}
}

// to is the address that leads to a node.
func (w *linkWire) to(kind linkKind, addr string) string {
	if v := w.via[kind][addr]; v != "" {
		return v
	}
	return addr
}

// Listen implements node.Wire.
func (w *linkWire) Listen(addr string) (node.Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &linkServer{Server: rpc.NewServer(w.env, nil), l: l}, nil
}

// Transport implements node.Wire. Members of placement have the numbers that stores cannot have.
func (w *linkWire) Transport(from shard.StoreID, cluster shard.ClusterID) node.Transport {
	kind := storeLink
	if uint64(from) < shard.FirstUserID {
		kind = memberLink
	}
	return &linkTransport{Transport: rpc.NewTransport(w.env, w.conns, from, cluster), w: w, kind: kind}
}

// Placement implements node.Wire.
func (w *linkWire) Placement(addr string) rpc.Placement {
	return w.conns.Placement(w.to(callLink, addr))
}

// Node implements node.Wire.
func (w *linkWire) Node(ctx context.Context, addr string) (rpc.NodeInfo, error) {
	return w.conns.Node(w.to(callLink, addr)).Info(ctx)
}

// Close implements node.Wire.
func (w *linkWire) Close() error { return w.conns.Close() }

type linkTransport struct {
	*rpc.Transport
	w    *linkWire
	kind linkKind
}

// SetAddr implements node.Transport.
func (t *linkTransport) SetAddr(id shard.StoreID, addr string) {
	t.Transport.SetAddr(id, t.w.to(t.kind, addr))
}

// linkServer is a server with the listener that it serves.
type linkServer struct {
	*rpc.Server
	l net.Listener
}

// Addr implements node.Server.
func (s *linkServer) Addr() string { return s.l.Addr().String() }

// Serve implements node.Server.
func (s *linkServer) Serve() error { return s.Server.Serve(s.l) }

// Stop implements node.Server; it also closes the listener of a server that never served.
func (s *linkServer) Stop() {
	s.Server.Stop()
	_ = s.l.Close()
}
