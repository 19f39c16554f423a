package rpc

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Clients need a timestamp for every transaction, and a call of its own costs more than the question. So they ask on a
// stream like those to stores, which names store 0: no store has that id, and the placement member of the node answers.

// clockStore is the store of a stream that asks for timestamps.
const clockStore shard.StoreID = 0

// timestampTimeout bounds a question that names no bound.
const timestampTimeout = 5 * time.Second

// serveTimestamps answers the questions of one client, one after the other: the one in front waits for what all of them need.
func (k *kvServer) serveTimestamps(stream kvv1.KV_StreamServer) error {
	p := k.s.placementHere()
	if p == nil {
		return fmt.Errorf("no placement member is on this node: %w", shard.ErrUnavailable)
	}
	for {
		f, err := stream.Recv()
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		var out []byte
		err = call.DecodeRequests(f.GetData(), func(id uint64, r *call.Request) error {
			out = call.AppendReply(out, id, k.timestamps(stream.Context(), p, r))
			return nil
		})
		if err != nil {
			return &shard.InvalidError{Why: "malformed frame: " + err.Error()}
		}
		if err := stream.Send(&kvv1.Frame{Data: out}); err != nil {
			return err
		}
	}
}

func (k *kvServer) timestamps(ctx context.Context, p Placement, r *call.Request) *call.Reply {
	d := codec.Decoder{B: r.Body}
	n := d.Uvarint()
	if r.Kind != call.Timestamps || d.Done() != nil || n > 1<<20 {
		return &call.Reply{Err: &shard.InvalidError{Why: "the question for timestamps cannot be decoded"}}
	}
	timeout := timestampTimeout
	if r.Timeout > 0 {
		timeout = min(timeout, r.Timeout)
	}
	ctx, cancel := k.s.env.WithTimeout(ctx, timeout)
	defer cancel()
	first, err := p.Timestamps(ctx, int(n))
	if err != nil {
		return &call.Reply{Err: err}
	}
	return &call.Reply{Body: codec.AppendUvarint(nil, first)}
}

// Timestamps reserves count even timestamps, as Placement's does, at the member at an address.
func (c *Calls) Timestamps(ctx context.Context, addr string, count int) (uint64, error) {
	rep := c.Call(ctx, addr, clockStore, &call.Request{Kind: call.Timestamps, Body: codec.AppendUvarint(nil, uint64(count))})
	if rep.Err != nil {
		return 0, rep.Err
	}
	d := codec.Decoder{B: rep.Body}
	first := d.Uvarint()
	if d.Done() != nil {
		return 0, fmt.Errorf("timestamps from %s: malformed answer: %w", addr, shard.ErrUnavailable)
	}
	return first, nil
}
