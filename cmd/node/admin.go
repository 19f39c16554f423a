package node

import (
	"context"

	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

var _ rpc.Node = (*Node)(nil)

// Info says who this node is and where placement is, without asking anybody.
func (n *Node) Info() rpc.NodeInfo {
	info := rpc.NodeInfo{Version: n.cfg.Version, Versions: version.Ours(), Addr: n.addr, Members: n.dir.all()}
	if n.member != nil {
		info.Cluster, info.Member, info.Active = n.member.knownCluster(), n.member.number(), n.member.engine.Version()
	}
	if a := n.store; a != nil {
		if s := a.open(); s != nil {
			info.Cluster = a.ident.Cluster
			info.Stores = append(info.Stores, s.ID())
		}
	}
	return info
}

// askProgram asks the node at an address which member is there and what its program knows; see placement.Options.
func (n *Node) askProgram(ctx context.Context, addr string) (beat.NodeVersion, error) {
	info, err := n.wire.Node(ctx, addr)
	return beat.NodeVersion{Role: "member", ID: info.Member, Addr: addr, Program: info.Version, Versions: info.Versions, Active: info.Active}, err
}

// allStores are the user stores and, last, the placement member's.
func (n *Node) allStores() []*raftstore.Store {
	out := n.stores()
	if n.member != nil {
		if s, _ := n.member.parts(); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// Replicas describes this node's replicas of a shard, or all if id is zero.
func (n *Node) Replicas(ctx context.Context, id shard.ID) ([]rpc.ReplicaInfo, error) {
	var out []rpc.ReplicaInfo
	for _, s := range n.allStores() {
		sts, err := s.Status(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, st := range sts {
			out = append(out, replicaInfo(s.ID(), st))
		}
	}
	return out, nil
}

func replicaInfo(store shard.StoreID, st raftstore.ReplicaStatus) rpc.ReplicaInfo {
	i := rpc.ReplicaInfo{Store: store, Desc: st.Desc, Replica: st.Replica, Leader: st.Leader, Term: st.Term,
		Applied: st.Applied.Index, Committed: st.Committed, Last: st.Last, Truncated: st.Applied.TruncIndex,
		Leading: st.Leading, Asleep: st.Asleep, LogBytes: st.LogBytes}
	for _, f := range st.Followers {
		i.Followers = append(i.Followers, rpc.FollowerInfo(f))
	}
	return i
}

// leading finds the store of this node that leads a shard.
func (n *Node) leading(id shard.ID) *raftstore.Store {
	stores := n.allStores()
	for _, s := range stores {
		if s.Leading(id) != 0 {
			return s
		}
	}
	for _, s := range stores {
		if l := s.Leader(id); l.ID != 0 {
			return s // asleep, or a follower that knows who leads
		}
	}
	return nil
}

// TransferLeader hands over a leadership that is on this node.
func (n *Node) TransferLeader(ctx context.Context, id shard.ID, to shard.StoreID) error {
	s := n.leading(id)
	if s == nil {
		return &shard.NotFoundError{Shard: id}
	}
	return s.TransferLeader(ctx, id, to)
}

// Change does one step of membership of a shard that is led on this node.
func (n *Node) Change(ctx context.Context, id shard.ID, epoch shard.Epoch, c shard.Change) error {
	if id == shard.MetaID {
		// A number that is not on record could come back.
		return &shard.InvalidError{Why: "the members of placement change by placement's own records: see 'skerry ctl member'"}
	}
	s := n.leading(id)
	if s == nil {
		return &shard.NotFoundError{Shard: id}
	}
	return s.Change(ctx, id, epoch, c)
}
