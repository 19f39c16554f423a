package group

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// Effects is what has to happen because of the inputs since the last Ready.
type Effects struct {
	// Send may leave at once, before any disk write: MsgApp, MsgHeartbeat and its response, MsgPreVote, MsgSnap,
	// MsgTimeoutNow. INVARIANT: that is sound only because nobody leads a term that is not on its disk; see Append.Hold.
	Send   []*pb.Message
	Append *Append // nil if there is none
	Apply  *Apply  // nil if there is none
	Reads  []Read  // confirmed ReadIndex rounds, oldest first
	Lost   []Lost  // proposals that exist nowhere
	// Soft is set when leader, role or term changed. Whatever other goroutines see of the old state (view, lease) is
	// withdrawn before anything else of these Effects is released.
	Soft *SoftState
}

// SoftState says who leads.
type SoftState struct {
	Leader  shard.ReplicaID // zero if unknown
	Leading bool            // this replica leads Term
	Term    uint64
}

// Append is one write to the log. Appends of a group are written in order.
type Append struct {
	// Snapshot, if there is one, is installed first: what was staged for its index and term. It waits for earlier
	// applies of this group; later appends wait for it.
	Snapshot *pb.Snapshot
	// Entries replace everything from their first index on. They must not be changed.
	Entries []*pb.Entry
	// Term, Vote and Commit are always filled in. Term and Vote must be written if StateChanged; Commit goes into the
	// header of each entry and needs no write of its own.
	Term, Vote, Commit uint64
	StateChanged       bool // Term or Vote differ from those of the append before
	// Hold leaves once this append is synced, before Responses.
	//
	// INVARIANT: a MsgVote is a promise as well, namely not to vote for another in its term; raft emits it at once.
	// With it, two foreign votes can make a leader of a term that is not on the leader's disk; after a crash it can win
	// the same term again and write other entries under the same index and term (F1).
	Hold []*pb.Message
	// Responses are for when this append and all before it are synced: To == this replica by Deliver, others are sent.
	Responses []*pb.Message
	// MustSync says that this append needs a sync of its own; without it, it only needs order behind earlier ones.
	MustSync bool
	Bound    []Bound // our proposals among Entries, in order
}

// Apply is one batch of committed entries, which are all synced here. Applies of a group are done in order.
type Apply struct {
	Entries   []*pb.Entry   // must not be changed
	Responses []*pb.Message // for Deliver, once the effects are visible
}

// Ready takes the outstanding work, all of which the caller must do; false if there is none. Doing it may make more:
// call again until false. Effects may come out empty, where only raft's inner state moved.
func (g *Group) Ready() (Effects, bool) {
	if g.rn == nil || !g.rn.HasReady() {
		return Effects{}, false
	}
	rd := g.rn.Ready()
	network, appendMsg, applyMsg := splitMessages(rd.Messages)
	bound, lost := g.bind(appendMsg.GetEntries())
	was := g.softState()
	stateChanged := g.noteHardState(rd.HardState)
	g.noteLog(appendMsg)
	g.noteSoftState(rd.SoftState, was, appendMsg.GetEntries())
	if g.leading && g.term == was.Term && len(lost) > 0 {
		panic(fmt.Sprintf("group %s: leader of term %d lost %d of its own proposals", g, g.term, len(lost)))
	}

	e := Effects{Lost: lost, Reads: g.takeReads(rd.ReadStates)}
	if now := g.softState(); now != was {
		e.Soft = &now
	}
	if !g.leading {
		g.reads = nil
	}
	if g.muted && (!g.leading || len(e.Reads) > 0) {
		g.muted = false
	}
	var hold []*pb.Message
	e.Send, hold = g.release(network)
	e.Append = g.makeAppend(appendMsg, stateChanged, hold, bound)
	if applyMsg != nil {
		e.Apply = &Apply{Entries: applyMsg.Entries, Responses: applyMsg.Responses}
	}
	return e, true
}

func (g *Group) softState() SoftState {
	return SoftState{Leader: g.lead, Leading: g.leading, Term: g.term}
}

// splitMessages takes the two messages for local storage, nil if absent, off the end of raft's list.
func splitMessages(msgs []*pb.Message) (network []*pb.Message, appendMsg, applyMsg *pb.Message) {
	if n := len(msgs); n > 0 && msgs[n-1].GetType() == pb.MsgStorageApply {
		applyMsg, msgs = msgs[n-1], msgs[:n-1]
	}
	if n := len(msgs); n > 0 && msgs[n-1].GetType() == pb.MsgStorageAppend {
		appendMsg, msgs = msgs[n-1], msgs[:n-1]
	}
	return msgs, appendMsg, applyMsg
}

// noteHardState follows term, vote and commit, and reports whether one of the first two changed. hs is nil if nothing
// did.
func (g *Group) noteHardState(hs *pb.HardState) bool {
	if raft.IsEmptyHardState(hs) {
		return false
	}
	changed := hs.GetTerm() != g.term || hs.GetVote() != g.vote
	g.term, g.vote, g.commit = hs.GetTerm(), hs.GetVote(), hs.GetCommit()
	return changed
}

// noteLog follows the last index, and the configuration of an installed snapshot.
func (g *Group) noteLog(m *pb.Message) {
	if s := m.GetSnapshot(); s != nil {
		g.last = s.GetMetadata().GetIndex()
		g.noteConfig(s.GetMetadata().GetConfState())
	}
	if n := len(m.GetEntries()); n > 0 {
		g.last = m.GetEntries()[n-1].GetIndex()
	}
	g.lastFloor = g.last
}

// noteSoftState follows leader and role; s is nil if neither changed. On the way into a leadership it finds the empty
// entry that begins it: it is the first of its term anywhere, and is appended in the same step.
func (g *Group) noteSoftState(s *raft.SoftState, was SoftState, entries []*pb.Entry) {
	if s != nil {
		g.lead = shard.ReplicaID(s.Lead)
		g.leading = s.RaftState == raft.StateLeader
	}
	if g.leading && was.Leading && g.term == was.Term {
		return
	}
	g.ownFirst = 0
	g.transferring = g.transferring && g.term == was.Term
	if !g.leading {
		return
	}
	for _, e := range entries {
		if e.GetTerm() == g.term {
			g.ownFirst = e.GetIndex()
			return
		}
	}
	panic(fmt.Sprintf("group %s: leads term %d without an entry of it", g, g.term))
}

// release sorts raft's messages into those that may leave at once and those that wait for the append of this Ready.
func (g *Group) release(msgs []*pb.Message) (send, hold []*pb.Message) {
	send = msgs[:0]
	for _, m := range msgs {
		switch m.GetType() {
		case pb.MsgVote:
			if bug.VoteBeforeSync.On() {
				send = append(send, m)
				continue
			}
			hold = append(hold, m)
			continue
		case pb.MsgApp, pb.MsgHeartbeat, pb.MsgSnap, pb.MsgTimeoutNow:
			if g.ended(m) || g.mute(m) {
				continue
			}
			g.noteRound(m)
		case pb.MsgPreVote, pb.MsgHeartbeatResp:
		default:
			continue // what a follower forwards to its leader (MsgReadIndex, MsgTransferLeader): not between stores
		}
		send = append(send, m)
	}
	if len(send) == 0 {
		send = nil
	}
	return send, hold
}

// ended reports whether a leader's message belongs to a leadership that ended in the same pass. Such messages must not
// leave: they may carry proposals that were cut from the log since and are reported as Lost.
func (g *Group) ended(m *pb.Message) bool { return !g.leading || m.GetTerm() != g.term }

// mute drops a leader's message if the leader is muted. A dropped MsgSnap is reported, since nobody else will.
func (g *Group) mute(m *pb.Message) bool {
	if g.muted && m.GetType() == pb.MsgSnap {
		g.ReportSnapshot(shard.ReplicaID(m.GetTo()), false)
	}
	return g.muted
}

// noteRound remembers the highest ReadIndex counter that was sent in this term.
func (g *Group) noteRound(m *pb.Message) {
	if m.GetType() != pb.MsgHeartbeat || len(m.GetContext()) == 0 {
		return
	}
	if g.roundTerm != m.GetTerm() {
		g.roundTerm, g.round = m.GetTerm(), 0
	}
	g.round = max(g.round, binary.LittleEndian.Uint64(m.GetContext()))
}

// makeAppend builds the Append, or nil if raft's message says nothing that must be written or waited for: a commit index
// alone, which the header of the next entry carries.
//
// A MsgVote always comes with a MsgStorageAppend, as campaigning changes term and vote in the same step and both leave
// with the next Ready. Should raft ever emit one alone, it waits in an Append of its own behind those before.
func (g *Group) makeAppend(m *pb.Message, stateChanged bool, hold []*pb.Message, bound []Bound) *Append {
	if len(m.GetEntries()) == 0 && m.GetSnapshot() == nil && !stateChanged && len(hold) == 0 && len(m.GetResponses()) == 0 {
		return nil
	}
	a := &Append{
		Snapshot: m.GetSnapshot(), Entries: m.GetEntries(),
		Term: g.term, Vote: g.vote, Commit: g.commit, StateChanged: stateChanged,
		Hold: hold, Responses: m.GetResponses(), Bound: bound,
	}
	a.MustSync = len(a.Entries) > 0 || a.Snapshot != nil || stateChanged
	if n := len(a.Responses); n > 0 && a.Responses[n-1].GetType() == pb.MsgStorageAppendResp {
		g.outstanding++
	}
	return a
}
