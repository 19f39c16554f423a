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

// completer sends a reply back.
type completer func(id uint64, rep *call.Reply)

// Complete implements call.Completer.
func (c completer) Complete(id uint64, rep *call.Reply) { c(id, rep) }

// Call sends a request the way the stream of a client does.
func (c *conn) Call(ctx context.Context, addr string, store shard.StoreID, req *call.Request) call.Reply {
	var reps [1]call.Reply
	c.CallMany(ctx, addr, store, []*call.Request{req}, reps[:])
	return reps[0]
}

// CallMany sends requests in one frame. Their replies travel in one as well, once the last one is there.
func (c *conn) CallMany(ctx context.Context, addr string, store shard.StoreID, reqs []*call.Request, reps []call.Reply) {
	var sent []byte
	for i, req := range reqs {
		sent = call.AppendRequest(sent, uint64(i), req)
	}
	got, err := begin(ctx, c.h, addr, "request", len(sent), func(_ context.Context, h *Host, reply func([]byte, error)) {
		st, err := h.server.store(store)
		if err != nil {
			reply(nil, err)
			return
		}
		left, replies := len(reqs), []byte(nil)
		to := completer(func(id uint64, rep *call.Reply) {
			replies = call.AppendReply(replies, id, rep)
			if left--; left == 0 {
				reply(replies, nil)
			}
		})
		var asks []call.Ask
		err = call.DecodeRequests(sent, func(id uint64, r *call.Request) error {
			one := *r
			asks = append(asks, call.Ask{ID: id, Req: &one, To: to})
			return nil
		})
		if err != nil {
			reply(nil, err)
			return
		}
		st.Handle(asks)
	})
	if err == nil {
		err = call.DecodeReplies(got, func(id uint64, rep *call.Reply) error { reps[id] = *rep; return nil })
	} else if ctx.Err() == nil && !errors.Is(err, shard.ErrUnavailable) {
		err = unavailable("request: "+err.Error(), addr)
	}
	if err != nil {
		for i := range reps {
			reps[i] = call.Reply{Err: err}
		}
	}
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
