package node

import (
	"context"
	"fmt"

	"github.com/skerrydb/skerry/placement"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// placementPort serves a member that may not have its number yet: until then it answers that it is not there, as a node
// without a member does, and whoever asks goes on to the members that this node knows.
type placementPort struct{ m *member }

var _ rpc.Placement = placementPort{}

func (p placementPort) server() (*placement.Server, error) {
	if _, s := p.m.parts(); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("the placement member of this node has not joined yet: %w", shard.ErrUnavailable)
}

// through calls f with the member's server.
func through[T any](p placementPort, f func(s *placement.Server) (T, error)) (T, error) {
	s, err := p.server()
	if err != nil {
		var zero T
		return zero, err
	}
	return f(s)
}

// Register implements rpc.Placement.
func (p placementPort) Register(ctx context.Context, n beat.Newcomer) (beat.Registration, error) {
	return through(p, func(s *placement.Server) (beat.Registration, error) { return s.Register(ctx, n) })
}

// Heartbeat implements rpc.Placement.
func (p placementPort) Heartbeat(ctx context.Context, r *beat.Report) (*beat.Answer, error) {
	return through(p, func(s *placement.Server) (*beat.Answer, error) { return s.Heartbeat(ctx, r) })
}

// Locate implements rpc.Placement.
func (p placementPort) Locate(ctx context.Context, key shard.Key, limit int) (*beat.Routes, error) {
	return through(p, func(s *placement.Server) (*beat.Routes, error) { return s.Locate(ctx, key, limit) })
}

// Watch implements rpc.Placement.
func (p placementPort) Watch(ctx context.Context, send func(*beat.Routes) error) error {
	s, err := p.server()
	if err != nil {
		return err
	}
	return s.Watch(ctx, send)
}

// AllocIDs implements rpc.Placement.
func (p placementPort) AllocIDs(ctx context.Context, count int) (uint64, error) {
	return through(p, func(s *placement.Server) (uint64, error) { return s.AllocIDs(ctx, count) })
}

// Timestamps implements rpc.Placement.
func (p placementPort) Timestamps(ctx context.Context, count int) (uint64, error) {
	return through(p, func(s *placement.Server) (uint64, error) { return s.Timestamps(ctx, count) })
}

// JoinMember implements rpc.Placement.
func (p placementPort) JoinMember(ctx context.Context, c beat.Candidate) (beat.Admission, error) {
	return through(p, func(s *placement.Server) (beat.Admission, error) { return s.JoinMember(ctx, c) })
}

// RemoveStore implements rpc.Placement.
func (p placementPort) RemoveStore(ctx context.Context, id shard.StoreID) error {
	s, err := p.server()
	if err != nil {
		return err
	}
	return s.RemoveStore(ctx, id)
}

// Administer implements rpc.Placement.
func (p placementPort) Administer(ctx context.Context, o *beat.Order) (*beat.Outcome, error) {
	return through(p, func(s *placement.Server) (*beat.Outcome, error) { return s.Administer(ctx, o) })
}
