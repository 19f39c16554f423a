package simnet

import (
	"context"
	"fmt"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
)

// pending is a question that waits for its answer, at the host that asked.
type pending[T any] struct {
	done  env.Event
	over  bool
	value T
	err   error
}

func (p *pending[T]) finish(v T, err error) {
	if p.over {
		return
	}
	p.over, p.value, p.err = true, v, err
	p.done.Wake()
}

func unavailable(what, addr string) error {
	return fmt.Errorf("%s at %s: %w", what, addr, shard.ErrUnavailable)
}

// ask asks the server at an address and waits for its answer. serve runs as a task of the server's machine, with a
// context that ends when the caller goes away. bytes is the size of the question.
func ask[T any](ctx context.Context, from *Host, addr, what string, bytes int, serve func(ctx context.Context, s *server) (T, error)) (T, error) {
	return begin(ctx, from, addr, what, bytes, func(ctx context.Context, h *Host, reply func(T, error)) {
		s := h.server
		h.env.Go("serve "+what, func() { reply(serve(ctx, s)) })
	})
}

// begin is ask for servers that answer later: start must not block, and reply is called once, from anywhere on the
// server's machine.
func begin[T any](ctx context.Context, from *Host, addr, what string, bytes int, start func(ctx context.Context, h *Host, reply func(T, error))) (T, error) {
	n := from.net
	p := &pending[T]{done: from.env.NewEvent("answer")}
	var zero T
	broken := func() { n.w.After(n.wait(), func() { p.finish(zero, unavailable(what, addr)) }) }
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	var served context.CancelFunc
	n.send(from, addr, calls, bytes, func(h *Host) {
		if h.server == nil {
			broken()
			return
		}
		var sctx context.Context
		sctx, served = context.WithCancel(context.Background())
		h.callSeq++
		seq := h.callSeq
		h.owed[seq] = func() { p.finish(zero, unavailable(what, addr)) }
		start(sctx, h, func(v T, err error) {
			if h.down || h.owed[seq] == nil {
				return
			}
			delete(h.owed, seq)
			served()
			n.send(h, from.addr, calls, bytes, func(back *Host) {
				if back == from {
					p.finish(v, err)
				}
			}, broken)
		})
	}, broken)
	err := p.done.Wait(ctx, 0)
	if err != nil && !p.over {
		p.over = true
		if cancel := served; cancel != nil {
			n.send(from, addr, calls, 16, func(*Host) { cancel() }, nil)
		}
		return zero, err
	}
	return p.value, p.err
}
