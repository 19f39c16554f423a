package simnet

import (
	"context"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// placementAt asks the placement member at one address.
type placementAt struct {
	h    *Host
	addr string
}

var _ rpc.Placement = (*placementAt)(nil)

// to asks a question of placement.
func to[T any](ctx context.Context, p *placementAt, what string, bytes int, f func(ctx context.Context, q rpc.Placement) (T, error)) (T, error) {
	return ask(ctx, p.h, p.addr, what, bytes, func(ctx context.Context, s *server) (T, error) {
		if s.placement == nil {
			var zero T
			return zero, unavailable(what, p.addr)
		}
		return f(ctx, s.placement)
	})
}

type nothing = struct{}

func (p *placementAt) Register(ctx context.Context, n beat.Newcomer) (beat.Registration, error) {
	return to(ctx, p, "register", 64, func(ctx context.Context, q rpc.Placement) (beat.Registration, error) {
		return q.Register(ctx, n)
	})
}

func (p *placementAt) Heartbeat(ctx context.Context, r *beat.Report) (*beat.Answer, error) {
	return to(ctx, p, "heartbeat", 256, func(ctx context.Context, q rpc.Placement) (*beat.Answer, error) {
		return q.Heartbeat(ctx, r)
	})
}

func (p *placementAt) Locate(ctx context.Context, key shard.Key, limit int) (*beat.Routes, error) {
	return to(ctx, p, "locate", 64, func(ctx context.Context, q rpc.Placement) (*beat.Routes, error) {
		return q.Locate(ctx, key, limit)
	})
}

func (p *placementAt) AllocIDs(ctx context.Context, count int) (uint64, error) {
	return to(ctx, p, "reserve ids", 16, func(ctx context.Context, q rpc.Placement) (uint64, error) { return q.AllocIDs(ctx, count) })
}

func (p *placementAt) Timestamps(ctx context.Context, count int) (uint64, error) {
	return to(ctx, p, "reserve timestamps", 16, func(ctx context.Context, q rpc.Placement) (uint64, error) { return q.Timestamps(ctx, count) })
}

func (p *placementAt) JoinMember(ctx context.Context, m beat.Candidate) (beat.Admission, error) {
	return to(ctx, p, "join as a member", 64, func(ctx context.Context, q rpc.Placement) (beat.Admission, error) {
		return q.JoinMember(ctx, m)
	})
}

func (p *placementAt) RemoveStore(ctx context.Context, id shard.StoreID) error {
	_, err := to(ctx, p, "remove a store", 16, func(ctx context.Context, q rpc.Placement) (nothing, error) {
		return nothing{}, q.RemoveStore(ctx, id)
	})
	return err
}

func (p *placementAt) Administer(ctx context.Context, o *beat.Order) (*beat.Outcome, error) {
	return to(ctx, p, "administer", 256, func(ctx context.Context, q rpc.Placement) (*beat.Outcome, error) { return q.Administer(ctx, o) })
}

// Watch receives routes until the stream breaks.
func (p *placementAt) Watch(ctx context.Context, f func(*beat.Routes) error) error {
	n := p.h.net
	st := &watchStream{wake: p.h.env.NewEvent("routes")}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.h.env.Go("watch", func() {
		_, err := to(ctx, p, "watch routes", 16, func(sctx context.Context, q rpc.Placement) (nothing, error) {
			server := n.hosts[p.addr]
			return nothing{}, q.Watch(sctx, func(r *beat.Routes) error {
				if st.over || server.down {
					return context.Canceled
				}
				n.send(server, p.h.addr, routes, 256, func(back *Host) {
					if back == p.h {
						st.queue = append(st.queue, r)
						st.wake.Wake()
					}
				}, func() { st.end(unavailable("watch routes", p.addr)) })
				return nil
			})
		})
		st.end(err)
	})
	defer st.end(nil)
	for {
		for len(st.queue) > 0 {
			r := st.queue[0]
			st.queue = st.queue[1:]
			if err := f(r); err != nil {
				return err
			}
		}
		if st.over {
			return st.err
		}
		if err := st.wake.Wait(ctx, 0); err != nil {
			return err
		}
	}
}

// watchStream is the receiver's side of a watch.
type watchStream struct {
	wake  env.Event
	queue []*beat.Routes
	over  bool
	err   error
}

func (s *watchStream) end(err error) {
	if !s.over {
		s.over, s.err = true, err
		s.wake.Wake()
	}
}
