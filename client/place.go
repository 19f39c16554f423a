package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

const (
	// locateTimeout bounds one question to one placement member.
	locateTimeout = 2 * time.Second
	// locateRoutes is how many routes one question brings: the neighbours are likely to be wanted next.
	locateRoutes = 64
)

// errNoMembers is returned while no node could say where placement is.
var errNoMembers = errors.New("no node said where placement is")

// place is what the client knows of placement: who its members are and which of them answered last.
type place struct {
	db    *DB
	seeds []string // addresses given to Open

	mu      sync.Mutex
	cluster shard.ClusterID
	members []beat.Member // as placement says
	named   []string      // addresses of members, as nodes say
	leader  string        // address of the member that answered last
	flight  *flight       // the question under way; INVARIANT: one at most, so that a cold cache asks no storm of them
}

// flight is a question that several tasks wait for. Guarded by place.mu.
type flight struct {
	waiters []env.Event
	err     error
	done    bool
}

// load asks placement for the routes around a key. If a question is under way it waits for that one instead; the caller
// looks again afterwards.
func (p *place) load(e *effort, key shard.Key) error {
	p.mu.Lock()
	if f := p.flight; f != nil {
		ev := p.db.env.NewEvent("client-load")
		f.waiters = append(f.waiters, ev)
		p.mu.Unlock()
		return p.await(e, f, ev)
	}
	f := &flight{}
	p.flight = f
	p.mu.Unlock()
	_, err := p.locate(e.ctx, key, locateRoutes)
	p.mu.Lock()
	f.err, f.done = err, true
	p.flight = nil
	waiters := f.waiters
	p.mu.Unlock()
	for _, w := range waiters {
		w.Wake()
	}
	return err
}

func (p *place) await(e *effort, f *flight, ev env.Event) error {
	ctx, sc := p.db.scopes.enter(e.ctx, 0)
	err := ev.Wait(ctx, max(time.Millisecond, e.end.Sub(e.now)))
	p.db.scopes.leave(sc)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !f.done:
		return err
	case isContext(f.err):
		return nil // it was another caller's context
	}
	return f.err
}

// locate asks the members one after the other, the leader first, and learns from what they say.
func (p *place) locate(ctx context.Context, key shard.Key, limit int) (*beat.Routes, error) {
	var out *beat.Routes
	err := p.ask(ctx, func(ctx context.Context, addr string) (err error) {
		out, err = p.db.conn.Locate(ctx, addr, key, limit)
		if err == nil {
			err = p.take(addr, out)
		}
		return err
	})
	return out, err
}

// ask calls f with addresses of members until it returns nil.
func (p *place) ask(ctx context.Context, f func(ctx context.Context, addr string) error) error {
	return p.askFor(ctx, locateTimeout, f)
}

// askFor is ask with another bound on each question.
func (p *place) askFor(ctx context.Context, each time.Duration, f func(ctx context.Context, addr string) error) error {
	queue := p.addresses()
	last := errNoMembers
	for i := 0; i < len(queue); i++ {
		addr := queue[i]
		c, sc := p.db.scopes.enter(ctx, p.db.env.Now().Add(each))
		err := f(c, addr)
		p.db.scopes.leave(sc)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		last = fmt.Errorf("placement at %s: %w", addr, err)
		if as[*shard.InvalidError](err) {
			return last // the leader has refused, and another member can only say who leads
		}
		if lead := p.refused(addr, err); lead != "" && !slices.Contains(queue[:i+1], lead) {
			queue = slices.Insert(queue, i+1, lead)
		}
	}
	if err := p.discover(ctx); err != nil {
		return fmt.Errorf("%w; %w", last, err)
	}
	return last
}

// addresses of members: the one that answered last, then the others.
func (p *place) addresses() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	add := func(addr string) {
		if addr != "" && !slices.Contains(out, addr) {
			out = append(out, addr)
		}
	}
	add(p.leader)
	for _, m := range p.members {
		if m.Leader {
			add(m.Addr)
		}
	}
	for _, m := range p.members {
		add(m.Addr)
	}
	for _, addr := range p.named {
		add(addr)
	}
	return out
}

// refused forgets a member that did not answer as the leader, and returns the address of the one it names.
func (p *place) refused(addr string, err error) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leader == addr {
		p.leader = ""
	}
	var nl *shard.NotLeaderError
	if errors.As(err, &nl) {
		for _, m := range p.members {
			if m.Store == nl.Leader.Store && nl.Leader.ID != 0 && m.Addr != addr {
				return m.Addr
			}
		}
	}
	return ""
}

// take learns from what the member at addr says.
func (p *place) take(addr string, r *beat.Routes) error {
	p.mu.Lock()
	if err := p.sameClusterLocked(r.Cluster); err != nil {
		p.mu.Unlock()
		return err
	}
	p.leader = addr
	if len(r.Members) > 0 {
		p.members = r.Members
	}
	p.mu.Unlock()
	p.db.routes.apply(r)
	return nil
}

func (p *place) sameClusterLocked(id shard.ClusterID) error {
	if id == 0 || p.cluster == id {
		return nil
	}
	if p.cluster != 0 {
		return &shard.WrongClusterError{Want: id, Have: p.cluster}
	}
	p.cluster = id
	if c, ok := p.db.conn.(clusterConn); ok {
		c.SetCluster(id)
	}
	return nil
}

// discover asks nodes, the given ones first, where placement is, until one knows.
func (p *place) discover(ctx context.Context) error {
	last := errNoMembers
	asked := make(map[string]bool)
	for _, addr := range append(slices.Clone(p.seeds), p.db.routes.addresses()...) {
		if asked[addr] {
			continue
		}
		asked[addr] = true
		c, sc := p.db.scopes.enter(ctx, p.db.env.Now().Add(locateTimeout))
		info, err := p.db.conn.Node(c, addr)
		p.db.scopes.leave(sc)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			last = fmt.Errorf("node at %s: %w", addr, err)
			continue
		}
		p.mu.Lock()
		err = p.sameClusterLocked(info.Cluster)
		if err == nil && len(info.Members) > 0 {
			p.named = info.Members
			p.mu.Unlock()
			return nil
		}
		p.mu.Unlock()
		if err != nil {
			last = fmt.Errorf("node at %s: %w", addr, err)
		}
	}
	return last
}

// memberList returns placement's members as last heard.
func (p *place) memberList() []beat.Member {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.members)
}
