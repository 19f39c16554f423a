package client

import (
	"context"
	"crypto/tls"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
)

// Conn is how a DB reaches a cluster: everything goes to one address and returns when ctx ends. Package rpc implements
// it; tests and the simulator bring their own. Safe for concurrent use.
type Conn interface {
	// Call sends a request to a store. A reply whose error is none of package shard's routing errors says nothing about
	// whether the store got it.
	Call(ctx context.Context, addr string, store shard.StoreID, req *call.Request) call.Reply
	// CallMany is Call for several requests, which travel together: it returns once all have their replies in reps.
	CallMany(ctx context.Context, addr string, store shard.StoreID, reqs []*call.Request, reps []call.Reply)
	// Node asks a node who it is and where placement is.
	Node(ctx context.Context, addr string) (rpc.NodeInfo, error)
	// Locate asks a placement member for the routes from a key on, at most limit.
	Locate(ctx context.Context, addr string, key shard.Key, limit int) (*beat.Routes, error)
	// Watch receives routes from a placement member until ctx ends, the stream breaks, or f returns an error.
	Watch(ctx context.Context, addr string, f func(*beat.Routes) error) error
	// Replicas describes the replicas of a shard on a node; a zero id means all of its replicas.
	Replicas(ctx context.Context, addr string, id shard.ID) ([]rpc.ReplicaInfo, error)
	// TransferLeader asks a node to hand over a shard's leadership.
	TransferLeader(ctx context.Context, addr string, id shard.ID, to shard.StoreID) error
	// Split asks a node to cut a shard that it leads at keys, or, without any, into parts of about equal size.
	Split(ctx context.Context, addr string, id shard.ID, epoch shard.Epoch, at []shard.Key, into int) ([]*shard.Descriptor, error)
	// RemoveStore asks a placement member to declare a store gone for good.
	RemoveStore(ctx context.Context, addr string, id shard.StoreID) error
	// Administer asks a placement member to do what an administrator wants.
	Administer(ctx context.Context, addr string, o *beat.Order) (*beat.Outcome, error)
	// Timestamps asks a placement member for count timestamps of transactions: the one it returns, and every second one after it.
	Timestamps(ctx context.Context, addr string, count int) (uint64, error)
	// Close ends everything that is under way.
	Close() error
}

// clusterConn is a Conn that lets servers of other clusters refuse what is sent to them. The cluster is known before the first
// request to a store.
type clusterConn interface{ SetCluster(shard.ClusterID) }

// rpcConn is Conn over gRPC.
type rpcConn struct {
	conns *rpc.Conns
	calls *rpc.Calls
}

var (
	_ Conn        = (*rpcConn)(nil)
	_ clusterConn = (*rpcConn)(nil)
)

func newRPCConn(e env.Env, cfg *tls.Config) *rpcConn {
	conns := rpc.NewConns(cfg)
	return &rpcConn{conns: conns, calls: rpc.NewCalls(e, conns)}
}

func (c *rpcConn) Call(ctx context.Context, addr string, store shard.StoreID, req *call.Request) call.Reply {
	return c.calls.Call(ctx, addr, store, req)
}

func (c *rpcConn) CallMany(ctx context.Context, addr string, store shard.StoreID, reqs []*call.Request, reps []call.Reply) {
	c.calls.CallMany(ctx, addr, store, reqs, reps)
}

func (c *rpcConn) SetCluster(id shard.ClusterID) { c.conns.SetCluster(id) }

func (c *rpcConn) Node(ctx context.Context, addr string) (rpc.NodeInfo, error) {
	return c.conns.Node(addr).Info(ctx)
}

func (c *rpcConn) Locate(ctx context.Context, addr string, key shard.Key, limit int) (*beat.Routes, error) {
	return c.conns.Placement(addr).Locate(ctx, key, limit)
}

func (c *rpcConn) Watch(ctx context.Context, addr string, f func(*beat.Routes) error) error {
	return c.conns.Placement(addr).Watch(ctx, f)
}

func (c *rpcConn) Replicas(ctx context.Context, addr string, id shard.ID) ([]rpc.ReplicaInfo, error) {
	return c.conns.Node(addr).Replicas(ctx, id)
}

func (c *rpcConn) TransferLeader(ctx context.Context, addr string, id shard.ID, to shard.StoreID) error {
	return c.conns.Node(addr).TransferLeader(ctx, id, to)
}

func (c *rpcConn) Split(ctx context.Context, addr string, id shard.ID, epoch shard.Epoch, at []shard.Key, into int) ([]*shard.Descriptor, error) {
	return c.conns.Node(addr).Split(ctx, id, epoch, at, into)
}

func (c *rpcConn) RemoveStore(ctx context.Context, addr string, id shard.StoreID) error {
	return c.conns.Placement(addr).RemoveStore(ctx, id)
}

func (c *rpcConn) Administer(ctx context.Context, addr string, o *beat.Order) (*beat.Outcome, error) {
	return c.conns.Placement(addr).Administer(ctx, o)
}

func (c *rpcConn) Timestamps(ctx context.Context, addr string, count int) (uint64, error) {
	return c.calls.Timestamps(ctx, addr, count)
}

func (c *rpcConn) Close() error {
	c.calls.Close()
	return c.conns.Close()
}
