package rpc

import (
	"context"

	"github.com/skerrydb/skerry/internal/version"
	adminv1 "github.com/skerrydb/skerry/proto/skerry/admin/v1"
	"github.com/skerrydb/skerry/shard"
)

// adminServer serves a node.
type adminServer struct {
	adminv1.UnimplementedAdminServer
	n Node
}

func (s *adminServer) Node(context.Context, *adminv1.NodeRequest) (*adminv1.NodeReply, error) {
	i := s.n.Info()
	return &adminv1.NodeReply{ClusterId: uint64(i.Cluster), Version: i.Version, Addr: i.Addr, Members: i.Members, MemberId: uint64(i.Member),
		OldestVersion: uint64(i.Versions.Oldest), NewestVersion: uint64(i.Versions.Newest), ClusterVersion: uint64(i.Active),
		StoreIds: convert(i.Stores, func(id shard.StoreID) uint64 { return uint64(id) })}, nil
}

func (s *adminServer) Replicas(ctx context.Context, r *adminv1.ReplicasRequest) (*adminv1.ReplicasReply, error) {
	infos, err := s.n.Replicas(ctx, shard.ID(r.GetShardId()))
	if err != nil {
		return nil, err
	}
	return &adminv1.ReplicasReply{Replicas: convert(infos, replicaTo)}, nil
}

func (s *adminServer) TransferLeader(ctx context.Context, r *adminv1.TransferLeaderRequest) (*adminv1.TransferLeaderReply, error) {
	err := s.n.TransferLeader(ctx, shard.ID(r.GetShardId()), shard.StoreID(r.GetToStoreId()))
	return &adminv1.TransferLeaderReply{}, err
}

func (s *adminServer) Change(ctx context.Context, r *adminv1.ChangeRequest) (*adminv1.ChangeReply, error) {
	c, err := shard.DecodeChange(r.GetChange())
	if err != nil {
		return nil, &shard.InvalidError{Why: err.Error()}
	}
	err = s.n.Change(ctx, shard.ID(r.GetShardId()), shard.Epoch{ConfVer: r.GetConfVer(), Version: r.GetVersion()}, c)
	return &adminv1.ChangeReply{}, err
}

func (s *adminServer) Split(ctx context.Context, r *adminv1.SplitRequest) (*adminv1.SplitReply, error) {
	at := convert(r.GetKeys(), func(k []byte) shard.Key { return k })
	ds, err := s.n.Split(ctx, shard.ID(r.GetShardId()), shard.Epoch{ConfVer: r.GetConfVer(), Version: r.GetVersion()}, at, int(r.GetInto()))
	return &adminv1.SplitReply{Descriptors: convert(ds, func(d *shard.Descriptor) []byte { return d.Append(nil) })}, err
}

func replicaTo(i ReplicaInfo) *adminv1.ReplicaStatus {
	return &adminv1.ReplicaStatus{StoreId: uint64(i.Store), Descriptor_: i.Desc.Append(nil), ReplicaId: uint64(i.Replica),
		LeaderReplicaId: uint64(i.Leader.ID), LeaderStoreId: uint64(i.Leader.Store), Term: i.Term, Applied: i.Applied,
		Committed: i.Committed, Last: i.Last, Truncated: i.Truncated, Leading: i.Leading, Asleep: i.Asleep, LogBytes: i.LogBytes,
		Followers: convert(i.Followers, func(f FollowerInfo) *adminv1.Follower {
			return &adminv1.Follower{ReplicaId: uint64(f.Replica), Match: f.Match, State: f.State, Active: f.Active}
		})}
}

func replicaFrom(r *adminv1.ReplicaStatus) (ReplicaInfo, error) {
	d, err := shard.DecodeDescriptor(r.GetDescriptor_())
	return ReplicaInfo{Store: shard.StoreID(r.GetStoreId()), Desc: d, Replica: shard.ReplicaID(r.GetReplicaId()),
		Leader: shard.Replica{ID: shard.ReplicaID(r.GetLeaderReplicaId()), Store: shard.StoreID(r.GetLeaderStoreId())},
		Term:   r.GetTerm(), Applied: r.GetApplied(), Committed: r.GetCommitted(), Last: r.GetLast(), Truncated: r.GetTruncated(),
		Leading: r.GetLeading(), Asleep: r.GetAsleep(), LogBytes: r.GetLogBytes(),
		Followers: convert(r.GetFollowers(), func(f *adminv1.Follower) FollowerInfo {
			return FollowerInfo{Replica: shard.ReplicaID(f.GetReplicaId()), Match: f.GetMatch(), State: f.GetState(), Active: f.GetActive()}
		})}, err
}

// NodeAt asks the node at one address.
type NodeAt struct {
	conns *Conns
	addr  string
}

// Node returns a handle for the node at an address. Nothing is dialled yet.
func (c *Conns) Node(addr string) *NodeAt { return &NodeAt{conns: c, addr: addr} }

func (n *NodeAt) client() (adminv1.AdminClient, error) {
	cc, err := n.conns.get(n.addr)
	if err != nil {
		return nil, err
	}
	return adminv1.NewAdminClient(cc), nil
}

// Info asks who the node is and where placement is.
func (n *NodeAt) Info(ctx context.Context) (NodeInfo, error) {
	c, err := n.client()
	if err != nil {
		return NodeInfo{}, err
	}
	r, err := invoke(ctx, "ask node "+n.addr, &adminv1.NodeRequest{}, c.Node)
	return NodeInfo{Cluster: shard.ClusterID(r.GetClusterId()), Version: r.GetVersion(), Addr: r.GetAddr(), Members: r.GetMembers(), Member: shard.StoreID(r.GetMemberId()),
		Versions: version.Range{Oldest: version.Number(r.GetOldestVersion()), Newest: version.Number(r.GetNewestVersion())}, Active: version.Number(r.GetClusterVersion()),
		Stores: convert(r.GetStoreIds(), func(id uint64) shard.StoreID { return shard.StoreID(id) })}, err
}

// Replicas describes the node's replicas of a shard, or all if id is zero.
func (n *NodeAt) Replicas(ctx context.Context, id shard.ID) ([]ReplicaInfo, error) {
	c, err := n.client()
	if err != nil {
		return nil, err
	}
	r, err := invoke(ctx, "ask node "+n.addr, &adminv1.ReplicasRequest{ShardId: uint64(id)}, c.Replicas)
	if err != nil {
		return nil, err
	}
	var out []ReplicaInfo
	for _, p := range r.GetReplicas() {
		i, err := replicaFrom(p)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// TransferLeader asks the node to hand over a leadership.
func (n *NodeAt) TransferLeader(ctx context.Context, id shard.ID, to shard.StoreID) error {
	c, err := n.client()
	if err != nil {
		return err
	}
	_, err = invoke(ctx, "transfer leader at "+n.addr, &adminv1.TransferLeaderRequest{ShardId: uint64(id), ToStoreId: uint64(to)}, c.TransferLeader)
	return err
}

// Change asks the node for a membership step.
func (n *NodeAt) Change(ctx context.Context, id shard.ID, epoch shard.Epoch, ch shard.Change) error {
	c, err := n.client()
	if err != nil {
		return err
	}
	_, err = invoke(ctx, "change membership at "+n.addr, &adminv1.ChangeRequest{ShardId: uint64(id), ConfVer: epoch.ConfVer,
		Version: epoch.Version, Change: ch.Append(nil)}, c.Change)
	return err
}

// Split asks the node to split a shard that it leads, and returns the parts.
func (n *NodeAt) Split(ctx context.Context, id shard.ID, epoch shard.Epoch, at []shard.Key, into int) ([]*shard.Descriptor, error) {
	c, err := n.client()
	if err != nil {
		return nil, err
	}
	r, err := invoke(ctx, "split at "+n.addr, &adminv1.SplitRequest{ShardId: uint64(id), ConfVer: epoch.ConfVer, Version: epoch.Version,
		Keys: convert(at, func(k shard.Key) []byte { return k }), Into: uint32(into)}, c.Split)
	if err != nil {
		return nil, err
	}
	var out []*shard.Descriptor
	for _, b := range r.GetDescriptors() {
		d, err := shard.DecodeDescriptor(b)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}
