package group

import (
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/shard"
)

// A group that sleeps and does not lead has no raft in memory: what raft keeps of one, some 27 objects, is a function of what its
// storage and the group beside it hold, and Go's collector would look at all of them in each of its cycles. It is folded when it falls
// asleep, and unfolded by the first input after that. A leader is not: what it knows about its followers is written nowhere.
//
// INVARIANT: to fold and unfold a group is less than to restart its replica. Nothing was under way, so nothing is lost; term, vote and
// log are those on the disk; the commit index, the leader and the promise to it, which a restart forgets or guesses, are the group's
// own, and are kept. What begins anew is raft's election timer, as WakeFollower makes it begin, and a campaign for a pre-vote.

// Fold drops raft's part of this group until the next input, and reports whether it is gone. It stays where this replica leads,
// campaigns, or has something under way to disk, state or network.
func (g *Group) Fold() bool {
	if g.rn == nil {
		return true
	}
	if g.leading || !g.settled() || g.rn.BasicStatus().RaftState != raft.StateFollower || g.storageFault() != "" {
		return false
	}
	g.rn = nil
	return true
}

// Folded reports whether raft's part is not in memory.
func (g *Group) Folded() bool { return g.rn == nil }

// storageFault says in what storage and group differ about what raft would be made of; nothing if they agree.
func (g *Group) storageFault() string {
	hs, _, last, err := checkStorage((*memory)(g), g.applied)
	switch {
	case err != nil:
		return err.Error()
	case hs.GetTerm() != g.term || hs.GetVote() != g.vote || last != g.last:
		return fmt.Sprintf("storage has term %d, vote %d, last entry %d; the group %d, %d, %d", hs.GetTerm(), hs.GetVote(), last, g.term, g.vote, g.last)
	}
	return ""
}

// node is raft's part of the group, made again if it is folded.
func (g *Group) node() *raft.RawNode {
	if g.rn == nil {
		g.unfold()
	}
	return g.rn
}

func (g *Group) unfold() {
	if why := g.storageFault(); why != "" {
		panic(fmt.Sprintf("group %s: changed while it was folded: %s", g, why))
	}
	rn, err := raft.NewRawNode(g.set.raft(g.id, (*memory)(g), g.applied))
	if err != nil {
		panic(fmt.Sprintf("group %s: unfold: %v", g, err))
	}
	g.rn = rn
	if g.lead == 0 {
		return
	}
	// Raft tells changes of its leader: it must know this one, and that it was told, or the group would never hear of its end.
	g.stepOwnHeartbeat()
	rd := rn.Ready()
	if len(rd.Messages) != 1 || rd.Messages[0].GetType() != pb.MsgHeartbeatResp || shard.ReplicaID(rd.SoftState.Lead) != g.lead || !raft.IsEmptyHardState(rd.HardState) {
		panic(fmt.Sprintf("group %s: unfolded with more to do than to answer its leader: %+v", g, rd))
	}
}

// stepOwnHeartbeat steps the heartbeat that this follower has not received: from its leader, of its term, with nothing to commit and no
// round to confirm. That is sound because it is a message that the leader has sent before and that the network might deliver twice; its
// only effects are the leader known to raft, a timer at zero and a MsgHeartbeatResp, which wakes the leader, if it leaves, and confirms
// nothing. The promise is not renewed, as nobody was heard.
func (g *Group) stepOwnHeartbeat() {
	_ = g.rn.Step(&pb.Message{Type: pb.MsgHeartbeat.Enum(), To: new(uint64(g.id)), From: new(uint64(g.lead)),
		Term: new(g.term), Commit: new(uint64(0))})
}

// memory is what raft reads once it is unfolded: the storage, and the commit index of the group, behind which the one on the disk may be.
type memory Group

var _ raft.Storage = (*memory)(nil)

func (m *memory) InitialState() (*pb.HardState, *pb.ConfState, error) {
	hs, cs, err := m.storage.InitialState()
	if err == nil {
		hs.Commit = new(m.commit)
	}
	return hs, cs, err
}

func (m *memory) Entries(lo, hi, maxSize uint64) ([]*pb.Entry, error) {
	return m.storage.Entries(lo, hi, maxSize)
}
func (m *memory) Term(i uint64) (uint64, error)   { return m.storage.Term(i) }
func (m *memory) LastIndex() (uint64, error)      { return m.storage.LastIndex() }
func (m *memory) FirstIndex() (uint64, error)     { return m.storage.FirstIndex() }
func (m *memory) Snapshot() (*pb.Snapshot, error) { return m.storage.Snapshot() }
