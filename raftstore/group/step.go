package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/invariant"
	"github.com/skerrydb/skerry/shard"
)

// maxField bounds ids, terms and indexes from the network. Nothing honest comes near it, and raft adds to them.
const maxField = 1 << 62

// Step takes a message from the network. An error says why it was dropped; dropping is always safe. m and what it
// refers to must not change afterwards: raft keeps its entries.
//
// A MsgSnap may be stepped only when the data it names is staged. Call Ready next: raft has taken the snapshot if that
// Ready's Append carries it, and otherwise has ignored it and will not ask for it.
//
// Wake a sleeping group before stepping anything into it.
//
// INVARIANT: raft sees from the network only types that replicas send each other, with fields checked: v3.7.0 panics on
// some malformed ones, forwards proposals and transfers of others, and takes a message without a term for a local one.
func (g *Group) Step(m *pb.Message, now Instant) error {
	if err := g.checkEnvelope(m); err != nil {
		return err
	}
	switch m.GetType() {
	case pb.MsgApp, pb.MsgHeartbeat, pb.MsgSnap:
		return g.stepLeaderMessage(m, now)
	case pb.MsgVote, pb.MsgPreVote:
		return g.stepVoteRequest(m, now)
	case pb.MsgAppResp, pb.MsgHeartbeatResp, pb.MsgVoteResp, pb.MsgPreVoteResp:
		if err := g.checkResponse(m); err != nil {
			return err
		}
	case pb.MsgTimeoutNow:
		// Only the leader of a follower's own term has reason to send it: it knows that the follower's log is its own.
		if m.GetTerm() > g.term {
			return malformed(m, "term %d is ahead of %d", m.GetTerm(), g.term)
		}
	default:
		return fmt.Errorf("%w: %s", ErrUnexpected, m.GetType())
	}
	return g.stepRaft(m)
}

// stepRaft is the only way of a checked message into raft.
func (g *Group) stepRaft(m *pb.Message) error {
	err := g.node().Step(m)
	if errors.Is(err, raft.ErrStepPeerNotFound) {
		return ErrStranger
	}
	return err
}

// stepLeaderMessage takes what a leader sends to its followers, and remembers that it was heard.
func (g *Group) stepLeaderMessage(m *pb.Message, now Instant) error {
	var err error
	switch m.GetType() {
	case pb.MsgApp:
		err = checkEntries(m)
	case pb.MsgHeartbeat:
		err = g.checkHeartbeat(m)
	case pb.MsgSnap:
		err = checkSnapshot(m)
	}
	if err != nil {
		return err
	}
	if m.GetTerm() >= g.term {
		g.noteHeard(now)
		if n := len(m.GetEntries()); n > 0 {
			g.lastFloor = min(g.lastFloor, m.GetIndex()+uint64(n))
		}
		if s := m.GetSnapshot(); s != nil {
			g.lastFloor = min(g.lastFloor, s.GetMetadata().GetIndex())
		}
	}
	return g.stepRaft(m)
}

// stepVoteRequest keeps the promise to the present leader, and once it is over makes raft forget that leader: raft's own
// stickiness counts ticks, which a sleeping replica does not get.
//
// INVARIANT: no vote is given, and no vote request reaches raft, within one election timeout of hearing a leader, unless
// a leader asked for the vote itself (G2).
func (g *Group) stepVoteRequest(m *pb.Message, now Instant) error {
	switch ctx := string(m.GetContext()); {
	case ctx == campaignTransfer && m.GetType() == pb.MsgVote:
		return g.stepRaft(m)
	case ctx != "":
		return malformed(m, "context %q", ctx)
	}
	if bug.GateLeftToRaft.On() || bug.BunchedTicks.On() {
		return g.stepRaft(m)
	}
	if g.promised(now) {
		return ErrPromised
	}
	if m.GetTerm() >= g.term { // an older request is answered or ignored whoever leads
		if err := g.node().ForgetLeader(); err != nil {
			return err
		}
	}
	return g.stepRaft(m)
}

// Deliver takes the responses of local storage: those of Append.Responses whose To is this replica, and Apply.Responses.
// They must come in the order of their batches, none left out, and after the batch is synced (append) or visible
// (apply). An error says that m is no such response.
func (g *Group) Deliver(m *pb.Message) error {
	if m.GetTo() != uint64(g.id) {
		return malformed(m, "delivered to replica %d", g.id)
	}
	switch m.GetType() {
	case pb.MsgStorageAppendResp:
		g.outstanding--
		invariant.Check(g.outstanding >= 0, "group %s: an append was acknowledged twice", g)
		g.applied = max(g.applied, m.GetSnapshot().GetMetadata().GetIndex())
	case pb.MsgStorageApplyResp:
		if n := len(m.GetEntries()); n > 0 {
			g.applied = max(g.applied, m.GetEntries()[n-1].GetIndex())
		}
	case pb.MsgAppResp, pb.MsgVoteResp, pb.MsgPreVoteResp:
		if m.GetFrom() != uint64(g.id) {
			return malformed(m, "delivered from replica %d", m.GetFrom())
		}
	default:
		return fmt.Errorf("%w: %s delivered", ErrUnexpected, m.GetType())
	}
	if err := g.node().Step(m); err != nil && !errors.Is(err, raft.ErrStepPeerNotFound) {
		return err
	}
	return nil // a replica that was removed since it voted or appended is not in its own configuration any more
}

// ReportUnreachable says that a message to another replica was lost, so that raft probes before it streams again. Call
// it once when a stream breaks, not for every message.
func (g *Group) ReportUnreachable(id shard.ReplicaID) {
	if g.rn != nil { // who is folded sends to nobody
		g.rn.ReportUnreachable(uint64(id))
	}
}

// ReportSnapshot says how a MsgSnap ended. Every MsgSnap needs it: until then raft sends that replica nothing.
func (g *Group) ReportSnapshot(id shard.ReplicaID, ok bool) {
	status := raft.SnapshotFinish
	if !ok {
		status = raft.SnapshotFailure
	}
	g.node().ReportSnapshot(uint64(id), status)
}

func malformed(m *pb.Message, why string, args ...any) error {
	return fmt.Errorf("%w: %s from %d: %s", ErrMalformed, m.GetType(), m.GetFrom(), fmt.Sprintf(why, args...))
}

// checkEnvelope checks what all messages from the network have in common.
func (g *Group) checkEnvelope(m *pb.Message) error {
	self := uint64(g.id)
	switch {
	case m.GetTo() != self:
		return malformed(m, "addressed to %d, not %d", m.GetTo(), self)
	case m.GetFrom() == 0 || m.GetFrom() == self || m.GetFrom() > maxField:
		return malformed(m, "impossible sender")
	case m.GetTerm() == 0 || m.GetTerm() > maxField:
		return malformed(m, "impossible term %d", m.GetTerm())
	case max(m.GetIndex(), m.GetLogTerm(), m.GetCommit(), m.GetRejectHint()) > maxField:
		return malformed(m, "index or log term out of range")
	case len(m.GetEntries()) > 0 && m.GetType() != pb.MsgApp:
		return malformed(m, "has entries")
	case m.GetSnapshot() != nil && m.GetType() != pb.MsgSnap:
		return malformed(m, "has a snapshot")
	case len(m.GetResponses()) > 0 || m.GetVote() != 0:
		return malformed(m, "has fields of local messages")
	}
	return nil
}

// checkEntries wants the entries of a MsgApp to continue the entry that it names.
func checkEntries(m *pb.Message) error {
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		if e.GetIndex() != index+1 || e.GetTerm() < term || e.GetTerm() == 0 || e.GetTerm() > m.GetTerm() {
			return malformed(m, "entry %d of term %d after %d of %d", e.GetIndex(), e.GetTerm(), index, term)
		}
		if t := e.GetType(); t != pb.EntryNormal && t != pb.EntryConfChangeV2 {
			return malformed(m, "entry %d has type %d", e.GetIndex(), t)
		}
		index, term = e.GetIndex(), e.GetTerm()
	}
	return nil
}

// checkHeartbeat keeps a commit index from raft that it would panic on.
func (g *Group) checkHeartbeat(m *pb.Message) error {
	if n := len(m.GetContext()); n != 0 && n != 8 {
		return malformed(m, "context of %d bytes", n)
	}
	if m.GetTerm() >= g.term && m.GetCommit() > g.lastFloor {
		return fmt.Errorf("%w: heartbeat from %d commits %d, last entry is %d",
			ErrBeyondLog, m.GetFrom(), m.GetCommit(), g.lastFloor)
	}
	return nil
}

// checkResponse keeps acknowledgements from raft of what was never sent.
func (g *Group) checkResponse(m *pb.Message) error {
	switch m.GetType() {
	case pb.MsgAppResp:
		if g.leading && m.GetTerm() == g.term && !m.GetReject() && m.GetIndex() > g.last {
			return malformed(m, "acknowledges %d, last entry is %d", m.GetIndex(), g.last)
		}
	case pb.MsgHeartbeatResp:
		switch ctx := m.GetContext(); {
		case len(ctx) == 0:
		case len(ctx) != 8:
			return malformed(m, "context of %d bytes", len(ctx))
		case m.GetTerm() != g.roundTerm || binary.LittleEndian.Uint64(ctx) > g.round:
			return malformed(m, "confirms a round that was not sent in term %d", m.GetTerm())
		}
	}
	return nil
}

// checkSnapshot wants a snapshot that raft can restore.
func checkSnapshot(m *pb.Message) error {
	md := m.GetSnapshot().GetMetadata()
	switch {
	case md.GetIndex() == 0 || md.GetIndex() > maxField || md.GetTerm() == 0 || md.GetTerm() > m.GetTerm():
		return malformed(m, "snapshot at %d of term %d", md.GetIndex(), md.GetTerm())
	case md.GetConfState() == nil:
		return malformed(m, "snapshot without a configuration")
	}
	if why := confStateFault(md.GetConfState()); why != "" {
		return malformed(m, "snapshot with configuration %s: %s", raft.DescribeConfState(md.GetConfState()), why)
	}
	return nil
}

// confStateFault says why raft could not restore a configuration, or could only to something else; empty if it can.
func confStateFault(cs *pb.ConfState) string {
	if cs.GetAutoLeave() {
		return "leaves by itself"
	}
	voters, outgoing := cs.GetVoters(), cs.GetVotersOutgoing()
	learners, next := cs.GetLearners(), cs.GetLearnersNext()
	for _, ids := range [][]uint64{voters, outgoing, learners, next} {
		for i, id := range ids {
			if id == 0 || id > maxField || slices.Contains(ids[:i], id) {
				return "an id is impossible or named twice"
			}
		}
	}
	for _, id := range learners {
		if slices.Contains(voters, id) || slices.Contains(outgoing, id) || slices.Contains(next, id) {
			return "a learner is also something else"
		}
	}
	for _, id := range next {
		if slices.Contains(voters, id) || !slices.Contains(outgoing, id) {
			return "a demoted voter must be in the outgoing half only"
		}
	}
	if len(voters) == 0 && len(outgoing)+len(learners) > 0 {
		return "no voters"
	}
	return ""
}
