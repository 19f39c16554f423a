package simnet

import (
	"context"
	"errors"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
)

// Conn is the network as a client sees it.
func (h *Host) Conn() client.Conn { return &conn{h} }

type conn struct{ h *Host }

// completer sends one reply back.
type completer func(rep *call.Reply)

// Complete implements call.Completer.
func (c completer) Complete(_ uint64, rep *call.Reply) { c(rep) }

// Call sends a request the way the stream of a client does.
func (c *conn) Call(ctx context.Context, addr string, store shard.StoreID, req *call.Request) call.Reply {
	sent := call.AppendRequest(nil, 1, req)
	got, err := begin(ctx, c.h, addr, "request", len(sent), func(_ context.Context, h *Host, reply func([]byte, error)) {
		st, err := h.server.store(store)
		if err != nil {
			reply(nil, err)
			return
		}
		err = call.DecodeRequests(sent, func(id uint64, r *call.Request) error {
			one := *r
			st.Handle([]call.Ask{{ID: id, Req: &one, To: completer(func(rep *call.Reply) { reply(call.AppendReply(nil, 1, rep), nil) })}})
			return nil
		})
		if err != nil {
			reply(nil, err)
		}
	})
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, shard.ErrUnavailable) {
			err = unavailable("request: "+err.Error(), addr)
		}
		return call.Reply{Err: err}
	}
	var out call.Reply
	if err := call.DecodeReplies(got, func(_ uint64, rep *call.Reply) error { out = *rep; return nil }); err != nil {
		return call.Reply{Err: err}
	}
	return out
}

func (c *conn) Node(ctx context.Context, addr string) (rpc.NodeInfo, error) {
	return nodeInfo(ctx, c.h, addr)
}

func (c *conn) Locate(ctx context.Context, addr string, key shard.Key, limit int) (*beat.Routes, error) {
	return (&placementAt{c.h, addr}).Locate(ctx, key, limit)
}

func (c *conn) Watch(ctx context.Context, addr string, f func(*beat.Routes) error) error {
	return (&placementAt{c.h, addr}).Watch(ctx, f)
}

func (c *conn) Replicas(ctx context.Context, addr string, id shard.ID) ([]rpc.ReplicaInfo, error) {
	return ask(ctx, c.h, addr, "replicas", 16, func(ctx context.Context, s *server) ([]rpc.ReplicaInfo, error) { return s.node.Replicas(ctx, id) })
}

func (c *conn) TransferLeader(ctx context.Context, addr string, id shard.ID, to shard.StoreID) error {
	_, err := ask(ctx, c.h, addr, "transfer leader", 16, func(ctx context.Context, s *server) (nothing, error) {
		return nothing{}, s.node.TransferLeader(ctx, id, to)
	})
	return err
}

func (c *conn) Split(ctx context.Context, addr string, id shard.ID, epoch shard.Epoch, at []shard.Key, into int) ([]*shard.Descriptor, error) {
	return ask(ctx, c.h, addr, "split", 64, func(ctx context.Context, s *server) ([]*shard.Descriptor, error) {
		return s.node.Split(ctx, id, epoch, at, into)
	})
}

func (c *conn) Administer(ctx context.Context, addr string, o *beat.Order) (*beat.Outcome, error) {
	return (&placementAt{c.h, addr}).Administer(ctx, o)
}

func (c *conn) RemoveStore(ctx context.Context, addr string, id shard.StoreID) error {
	return (&placementAt{c.h, addr}).RemoveStore(ctx, id)
}

func (c *conn) Timestamps(ctx context.Context, addr string, count int) (uint64, error) {
	return (&placementAt{c.h, addr}).Timestamps(ctx, count)
}

func (c *conn) Close() error { return nil }
