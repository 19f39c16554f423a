package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// Bound says where in the log a proposal landed. It is applied if the entry at Index still has Term when it is applied
// here; an entry of another term in its place means that nothing happened. A membership change that raft refused is
// bound like any other, and its entry is a normal one without data.
type Bound struct {
	Token       any
	Index, Term uint64
}

// Lost is a proposal that reached neither a disk nor another replica: definitely, nothing happened.
type Lost struct{ Token any }

// Propose puts one entry into the log of the group that this replica leads. The token comes back in exactly one of
// Append.Bound and Lost, with the next Ready. data is copied.
func (g *Group) Propose(data []byte, token any) error {
	if len(data) == 0 {
		return ErrEmpty
	}
	if !g.leading {
		return ErrNotLeader
	}
	if err := g.node().Propose(data); err != nil {
		return g.refusal(err)
	}
	g.props = append(g.props, token)
	return nil
}

// ProposeChange is Propose for a membership change. Everything but adding or removing one learner is joint, explicitly;
// the change travels in cc's Context too. Raft allows one change at a time, and replaces another by an empty entry.
func (g *Group) ProposeChange(cc *pb.ConfChangeV2, token any) error {
	if !g.leading {
		return ErrNotLeader
	}
	// INVARIANT: raft proposes nothing by itself but the empty entry of a new leader, else the indexes of bind shift.
	if autoLeave, _ := cc.EnterJoint(); autoLeave {
		return ErrAutoLeave
	}
	if err := g.node().ProposeConfChange(cc); err != nil {
		return g.refusal(err)
	}
	g.props = append(g.props, token)
	return nil
}

// refusal says why raft dropped a proposal.
func (g *Group) refusal(err error) error {
	if !errors.Is(err, raft.ErrProposalDropped) {
		return err
	}
	switch s := g.node().BasicStatus(); {
	case s.RaftState != raft.StateLeader:
		return ErrNotLeader
	case s.LeadTransferee != raft.None:
		return ErrTransferring
	}
	return ErrBusy
}

// bind matches the proposals accepted since the last Ready with the entries of this one. It must see last and term as
// they were at the last Ready.
//
// Raft does not tell the index of a proposal, but it follows: a replica that leads appends to its log nothing but
// proposals, one entry each, and can neither lose nor win a term unnoticed and go on leading, because winning takes a
// vote that only a Ready sends out. So the proposals stand at last+1, last+2, ... with the term of the last Ready. What
// comes out there with that term is theirs: nobody else makes entries of it.
//
// If leadership ended within the pass, the log may have been cut by the next leader's messages. A proposal that was cut
// was never handed out for appending, and the messages that carried it are dropped with all others of the ended
// leadership (see ended), so it exists nowhere: it is Lost, and that is a definite answer.
func (g *Group) bind(entries []*pb.Entry) ([]Bound, []Lost) {
	if len(g.props) == 0 {
		return nil, nil
	}
	var bound []Bound
	for _, e := range entries {
		if i := e.GetIndex() - g.last - 1; e.GetTerm() == g.term && e.GetIndex() > g.last && i < uint64(len(g.props)) {
			bound = append(bound, Bound{Token: g.props[i], Index: e.GetIndex(), Term: g.term})
		}
	}
	var lost []Lost
	for _, token := range g.props[len(bound):] {
		lost = append(lost, Lost{Token: token})
	}
	g.props = recycle(g.props)
	return bound, lost
}

// recycle empties a queue, and frees it if it grew beyond what a usual pass needs.
func recycle[T any](q []T) []T {
	const keep = 8
	if cap(q) > keep {
		return nil
	}
	clear(q)
	return q[:0]
}

// Read is a confirmed ReadIndex round.
type Read struct {
	Ctx   uint64  // as given to ReadIndex
	Index uint64  // a read that waited for this round may be served once this index is applied
	At    Instant // as given to ReadIndex: when the round began, see LeaseUntil
}

type pendingRead struct {
	ctx uint64
	at  Instant
}

// ReadIndex begins a round that asks a quorum whether this replica still leads. It comes back in Effects.Reads, or never
// if leadership is lost or messages are: the caller forgets a round after a while and begins another. One round serves
// all reads that arrived before it.
//
// INVARIANT: it is begun only after an entry of the leader's own term was applied. v3.7.0 answers a sole voter at once
// with its commit index, which after a restart may lie below what was acknowledged before (F5).
func (g *Group) ReadIndex(ctx uint64, now Instant) error {
	if !g.leading {
		return ErrNotLeader
	}
	if !g.AppliedOwnTerm() && !bug.ReadIndexTooEarly.On() {
		return ErrNotReady
	}
	g.reads = append(g.reads, pendingRead{ctx: ctx, at: now})
	g.node().ReadIndex(binary.BigEndian.AppendUint64(nil, ctx))
	return nil
}

// takeReads turns raft's confirmed rounds into Reads. Raft confirms in order; rounds that it skipped are lost.
func (g *Group) takeReads(states []raft.ReadState) []Read {
	var out []Read
	for _, s := range states {
		ctx := binary.BigEndian.Uint64(s.RequestCtx)
		i := slices.IndexFunc(g.reads, func(p pendingRead) bool { return p.ctx == ctx })
		if i < 0 {
			panic(fmt.Sprintf("group %s: raft confirmed round %d, which was not begun", g, ctx))
		}
		out = append(out, Read{Ctx: ctx, Index: s.Index, At: g.reads[i].at})
		g.reads = append(g.reads[:0], g.reads[i+1:]...)
	}
	if len(g.reads) == 0 {
		g.reads = recycle(g.reads)
	}
	return out
}

// TransferLeader begins to hand leadership to a voter. Proposals are refused until it is done or one election timeout
// has passed; leases end now and do not come back in this term.
func (g *Group) TransferLeader(to shard.ReplicaID) error {
	if !g.leading {
		return ErrNotLeader
	}
	// Raft itself would accept a voter that the joint configuration is about to demote (F18).
	if to == g.id || !slices.Contains(g.voters, uint64(to)) {
		return fmt.Errorf("transfer leadership to %s: %w", to, ErrNotVoter)
	}
	g.transferring = true
	g.node().TransferLeader(uint64(to))
	return nil
}
