package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// How a member begins: as one of the first, or later, with a number of its own.

// holding is what a placement directory holds.
type holding struct {
	self shard.StoreID     // 0: it has no number
	desc *shard.Descriptor // shard 1 as it was; nil without data
}

// look reads whose the directory is. One whose member was removed is of no use any more.
func (m *member) look() (holding, error) {
	states, err := m.engine.Replicas()
	if err != nil {
		return holding{}, err
	}
	for _, rs := range states {
		if rs.Shard == shard.MetaID {
			return holding{self: shard.StoreID(rs.Replica), desc: rs.Desc}, nil
		}
	}
	next, removed, err := m.engine.Tombstone(shard.MetaID)
	if err != nil {
		return holding{}, err
	}
	if removed {
		return holding{}, errRemoved(shard.StoreID(next - 1))
	}
	ident, _, err := m.engine.Ident()
	return holding{self: ident.Store}, err
}

// mayBegin decides whether an empty directory may begin as one of the first members. A member that lost its directory must
// not: under the same number it would have forgotten its votes.
//
// INVARIANT: it begins only if a majority of the first members, itself included, answered at the same time that they know
// of no cluster, or if placement's leader let it. Of the majority that agreed on the cluster's id, one at least is in each
// such majority, and remembers it once it has applied that. So a lost directory does not begin again, also while the others
// are away, all or some; the moment before that is the one exception (placement/members.go). A node whose store is of a
// cluster begins none: its member may only be let into that one.
func (m *member) mayBegin(c *PlacementConfig, members map[shard.StoreID]string, beside engine.Ident) (bool, error) {
	fresh := 1
	for _, id := range slices.Sorted(maps.Keys(members)) {
		if id == shard.StoreID(c.ID) {
			continue
		}
		ctx, cancel := m.n.env.WithTimeout(m.n.ctx, callTimeout)
		info, err := m.n.wire.Node(ctx, members[id])
		cancel()
		switch {
		case err != nil:
		case info.Cluster != 0 && beside.Cluster != 0 && info.Cluster != beside.Cluster:
			return false, fault.Errorf(fault.DirCluster, "the store directory belongs to cluster %s, and the member at %s to cluster %s; move the store directory away, or name the members of its cluster", beside.Cluster, members[id], info.Cluster)
		case info.Cluster != 0:
			return true, m.joinLate(c, members, info.Cluster)
		default:
			fresh++
		}
	}
	return beside.Cluster == 0 && fresh > len(members)/2, nil
}

// checkEmpty refuses to begin with an empty directory where that is not wanted. Beside a store that is part of a cluster, a
// member may be one that comes late: its store may have registered while it waited for the others.
func (m *member) checkEmpty(c *PlacementConfig, members map[shard.StoreID]string, beside engine.Ident) error {
	if !c.Bootstrap {
		return fault.New(fault.DirEmpty, "the placement directory is empty: start with --bootstrap to begin a new cluster, or with --join to bring a new member to one; "+
			"a member that lost its directory cannot come back under its id, but as a new one in its place (--join and --replace)")
	}
	if beside.Cluster != 0 && len(members) == 1 {
		return fault.Errorf(fault.DirEmpty, "the placement directory is empty, but the store directory beside it belongs to cluster %s as %s: "+
			"this node must not begin another cluster; bring the placement directory back, move the store directory away, or join as a new member (--join)", beside.Cluster, beside.Store)
	}
	return nil
}

// begin begins as one of the first members, if it may now.
func (m *member) begin(c *PlacementConfig, members map[shard.StoreID]string, beside engine.Ident) (bool, error) {
	ok, err := m.mayBegin(c, members, beside)
	if err != nil || !ok {
		return false, err
	}
	return true, m.open(shard.StoreID(c.ID), metaDescriptor(members))
}

// awaitBegin is begin until it may, or must not.
func (m *member) awaitBegin(c *PlacementConfig, members map[shard.StoreID]string, beside engine.Ident) bool {
	for {
		if m.n.env.Sleep(m.n.ctx, agentPoll) != nil {
			return false
		}
		ok, err := m.begin(c, members, beside)
		switch {
		case err != nil && !transient(err):
			m.n.broken(err)
			return false
		case ok && err == nil:
			return true
		}
		m.waits.info("the member has not begun yet: it waits for a majority of the first members, see --members", "members", len(members), "err", err)
	}
}

// transient reports whether asking again may help: nobody has decided.
func transient(err error) bool {
	var all *searchError
	return errors.As(err, &all)
}

// joinLate asks the cluster that the other members have begun whether this one may still join it: only if it never took
// part. The leader remembers the answer, with the token of this directory, before this member votes for the first time.
func (m *member) joinLate(c *PlacementConfig, members map[shard.StoreID]string, cluster shard.ClusterID) error {
	token, err := tokenOf(m.n.env, m.engine)
	if err != nil {
		return err
	}
	m.n.dir.learn(memberList(members))
	_, err = m.ask(beat.Candidate{Cluster: cluster, Member: shard.StoreID(c.ID), Token: token, Addr: members[shard.StoreID(c.ID)], Versions: version.Ours()})
	if versionRefused(err) {
		return err
	}
	if err != nil {
		return fault.Errorf(fault.MemberLost, "the other members already belong to cluster %s, and this empty directory must not begin another one: %w", cluster, err)
	}
	return nil
}

// ask asks placement's leader whether this member may take part.
func (m *member) ask(c beat.Candidate) (beat.Admission, error) {
	var out beat.Admission
	err := m.n.dir.ask(m.n.ctx, func(ctx context.Context, p rpc.Placement) (err error) {
		out, err = p.JoinMember(ctx, c)
		return err
	})
	return out, err
}

// join asks for a number until there is one, and opens the member under it. From then on it waits for the leader, who adds
// it as a learner, sends it a snapshot, and lets it vote when it has caught up. False: the node ends.
//
// INVARIANT: the directory draws its token before it asks, and writes down its number before anything is done under it. So
// a number belongs to one directory, and a directory that is lost takes its number along.
func (m *member) join(beside engine.Ident) bool {
	n := m.n
	token, err := tokenOf(n.env, m.engine)
	if err != nil {
		n.broken(err)
		return false
	}
	for {
		a, err := m.ask(beat.Candidate{Cluster: beside.Cluster, Token: token, Addr: m.addr(), Versions: version.Ours(), Replace: shard.StoreID(n.cfg.Placement.Replace)})
		if err == nil {
			if err = m.admitted(a); err != nil {
				n.broken(fmt.Errorf("join placement as member %d: %w", uint64(a.Member), err))
			}
			return err == nil
		}
		if _, wrong := wrongCluster(err); wrong || invalid(err) {
			n.broken(fmt.Errorf("join placement: %w", err))
			return false
		}
		m.waits.info("the member has not joined yet: placement does not answer; see --join, and the placement members' logs", "err", err)
		if n.env.Sleep(n.ctx, agentPoll) != nil {
			return false
		}
	}
}

// admitted writes down who this member is, and opens it.
func (m *member) admitted(a beat.Admission) error {
	m.take(a.Members)
	if err := m.save(); err != nil {
		return err
	}
	if err := m.engine.SetIdent(engine.Ident{Cluster: a.Cluster, Store: a.Member, Format: engine.FormatVersion}); err != nil {
		return err
	}
	m.n.log.Info("joins placement as a new member", "member", uint64(a.Member), "cluster", a.Cluster)
	return m.open(a.Member, nil)
}
