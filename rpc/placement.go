package rpc

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	placementv1 "github.com/skerrydb/skerry/proto/skerry/placement/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// placementServer serves a placement member.
type placementServer struct {
	placementv1.UnimplementedPlacementServer
	p   Placement
	env env.Env
}

func (s *placementServer) Register(ctx context.Context, r *placementv1.RegisterRequest) (*placementv1.RegisterReply, error) {
	reg, err := s.p.Register(ctx, beat.Newcomer{Addr: r.GetAddr(), Version: r.GetVersion(), Versions: versionsFrom(r.GetVersions()), Token: r.GetToken()})
	if err != nil {
		return nil, err
	}
	return &placementv1.RegisterReply{ClusterId: uint64(reg.Cluster), StoreId: uint64(reg.Store), ClusterVersion: uint64(reg.Version)}, nil
}

func (s *placementServer) Heartbeat(ctx context.Context, r *placementv1.HeartbeatRequest) (*placementv1.HeartbeatReply, error) {
	a, err := s.p.Heartbeat(ctx, reportFrom(r))
	if err != nil {
		return nil, err
	}
	return answerTo(a), nil
}

func (s *placementServer) Locate(ctx context.Context, r *placementv1.LocateRequest) (*placementv1.Routes, error) {
	routes, err := s.p.Locate(ctx, r.GetKey(), int(r.GetLimit()))
	if err != nil {
		return nil, err
	}
	return routesTo(routes), nil
}

func (s *placementServer) Watch(_ *placementv1.WatchRequest, stream placementv1.Placement_WatchServer) error {
	return s.p.Watch(stream.Context(), func(r *beat.Routes) error { return stream.Send(routesTo(r)) })
}

func (s *placementServer) AllocIDs(ctx context.Context, r *placementv1.AllocIDsRequest) (*placementv1.AllocIDsReply, error) {
	first, err := s.p.AllocIDs(ctx, int(r.GetCount()))
	if err != nil {
		return nil, err
	}
	return &placementv1.AllocIDsReply{First: first}, nil
}

func (s *placementServer) Timestamps(ctx context.Context, r *placementv1.TimestampsRequest) (*placementv1.TimestampsReply, error) {
	first, err := s.p.Timestamps(ctx, int(r.GetCount()))
	if err != nil {
		return nil, err
	}
	return &placementv1.TimestampsReply{First: first}, nil
}

func (s *placementServer) JoinMember(ctx context.Context, r *placementv1.JoinMemberRequest) (*placementv1.JoinMemberReply, error) {
	a, err := s.p.JoinMember(ctx, beat.Candidate{Member: shard.StoreID(r.GetMemberId()), Token: r.GetToken(), Addr: r.GetAddr(), Versions: versionsFrom(r.GetVersions()),
		Began: r.GetBegan(), Replace: shard.StoreID(r.GetReplace()), Cluster: shard.ClusterID(r.GetClusterId())})
	if err != nil {
		return nil, err
	}
	return &placementv1.JoinMemberReply{ClusterId: uint64(a.Cluster), MemberId: uint64(a.Member), Members: convert(a.Members, memberTo)}, nil
}

func (s *placementServer) RemoveStore(ctx context.Context, r *placementv1.RemoveStoreRequest) (*placementv1.RemoveStoreReply, error) {
	return &placementv1.RemoveStoreReply{}, s.p.RemoveStore(ctx, shard.StoreID(r.GetStoreId()))
}

// PlacementAt asks the placement member at one address; it does not look for the leader.
type PlacementAt struct {
	conns *Conns
	addr  string
}

var _ Placement = (*PlacementAt)(nil)

// Placement returns a handle for the member at an address. Nothing is dialled yet.
func (c *Conns) Placement(addr string) *PlacementAt { return &PlacementAt{conns: c, addr: addr} }

func (p *PlacementAt) client() (placementv1.PlacementClient, error) {
	cc, err := p.conns.get(p.addr)
	if err != nil {
		return nil, err
	}
	return placementv1.NewPlacementClient(cc), nil
}

func (p *PlacementAt) what(verb string) string { return verb + " at placement " + p.addr }

// Register implements Placement.
func (p *PlacementAt) Register(ctx context.Context, n beat.Newcomer) (beat.Registration, error) {
	c, err := p.client()
	if err != nil {
		return beat.Registration{}, err
	}
	r, err := invoke(ctx, p.what("register"), &placementv1.RegisterRequest{Addr: n.Addr, Version: n.Version, Versions: versionsTo(n.Versions), Token: n.Token}, c.Register)
	return beat.Registration{Cluster: shard.ClusterID(r.GetClusterId()), Store: shard.StoreID(r.GetStoreId()), Version: version.Number(r.GetClusterVersion())}, err
}

// Heartbeat implements Placement.
func (p *PlacementAt) Heartbeat(ctx context.Context, r *beat.Report) (*beat.Answer, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	a, err := invoke(ctx, p.what("heartbeat"), reportTo(r), c.Heartbeat)
	if err != nil {
		return nil, err
	}
	return answerFrom(a)
}

// Locate implements Placement.
func (p *PlacementAt) Locate(ctx context.Context, key shard.Key, limit int) (*beat.Routes, error) {
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	r, err := invoke(ctx, p.what("locate"), &placementv1.LocateRequest{Key: key, Limit: int32(limit)}, c.Locate)
	if err != nil {
		return nil, err
	}
	return routesFrom(r), nil
}

// Watch implements Placement.
func (p *PlacementAt) Watch(ctx context.Context, send func(*beat.Routes) error) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var trailer metadata.MD
	stream, err := c.Watch(ctx, &placementv1.WatchRequest{}, grpc.Trailer(&trailer))
	if err != nil {
		return fromStatus(ctx, err, trailer, p.what("watch routes"))
	}
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fromStatus(ctx, err, stream.Trailer(), p.what("watch routes"))
		}
		if err := send(routesFrom(r)); err != nil {
			return err
		}
	}
}

// AllocIDs implements Placement.
func (p *PlacementAt) AllocIDs(ctx context.Context, count int) (uint64, error) {
	c, err := p.client()
	if err != nil {
		return 0, err
	}
	r, err := invoke(ctx, p.what("reserve ids"), &placementv1.AllocIDsRequest{Count: uint32(count)}, c.AllocIDs)
	return r.GetFirst(), err
}

// Timestamps implements Placement.
func (p *PlacementAt) Timestamps(ctx context.Context, count int) (uint64, error) {
	c, err := p.client()
	if err != nil {
		return 0, err
	}
	r, err := invoke(ctx, p.what("reserve timestamps"), &placementv1.TimestampsRequest{Count: uint32(count)}, c.Timestamps)
	return r.GetFirst(), err
}

// RemoveStore implements Placement.
func (p *PlacementAt) RemoveStore(ctx context.Context, id shard.StoreID) error {
	c, err := p.client()
	if err != nil {
		return err
	}
	_, err = invoke(ctx, p.what("remove a store"), &placementv1.RemoveStoreRequest{StoreId: uint64(id)}, c.RemoveStore)
	return err
}

// JoinMember implements Placement.
func (p *PlacementAt) JoinMember(ctx context.Context, m beat.Candidate) (beat.Admission, error) {
	c, err := p.client()
	if err != nil {
		return beat.Admission{}, err
	}
	r, err := invoke(ctx, p.what("join as a member"), &placementv1.JoinMemberRequest{MemberId: uint64(m.Member), Token: m.Token, Addr: m.Addr, Versions: versionsTo(m.Versions),
		Began: m.Began, Replace: uint64(m.Replace), ClusterId: uint64(m.Cluster)}, c.JoinMember)
	return beat.Admission{Cluster: shard.ClusterID(r.GetClusterId()), Member: shard.StoreID(r.GetMemberId()), Members: convert(r.GetMembers(), memberFrom)}, err
}
