// Package group is one member of a Raft group as a pure machine: inputs in, Effects out.
//
// It exists because etcd/raft's RawNode, correct as it is, leaves a dozen traps to whoever drives it, and each of them
// costs a database its word: vote requests that leave before the vote is on disk, stickiness that a rejected pre-vote
// switches off, reads of a sole voter that are answered before its first entry, messages that panic the process,
// proposals whose index is never told. Here every trap is closed once, beside the code that closes it, so that the shell
// around a group has nothing left to get wrong but moving batches.
//
// The shell drives it like this, always from one goroutine at a time:
//
//	Step, Tick, Propose, ReadIndex, ...      any number of inputs
//	for e, ok := g.Ready(); ok; e, ok = ...  until there is nothing to do:
//	    e.Soft     withdraw what other goroutines may see (view, lease) first
//	    e.Lost     answer their callers: definitely nothing happened
//	    e.Send     may leave at once, before any disk write
//	    e.Append   queue behind earlier appends; when it is synced: send Hold, then Responses in their order, those to
//	               this replica by Deliver
//	    e.Apply    evaluate, make visible, then Deliver(Responses)
//	    e.Reads    may be served once Applied() reaches their index
//
// Appends of one group are done in order, and so are applies; the two lanes are independent, but for one rule: an
// append with a Snapshot waits for the applies before it, and later appends wait for it.
//
// What the group knows about raft's state (term, leader, indexes) is as of the last Ready, because that is when the
// shell learns it too: an input between two Readys never sees a state that the shell has not been told of.
//
// Time is an argument. Nothing here reads a clock, blocks, starts a goroutine or locks.
package group

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/shard"
)

// Instant is a reading of this machine's monotonic clock, in nanoseconds, as the caller took it. An Instant that comes
// with a message must have been read after the message was received: a promise that began too early ends too early.
type Instant int64

// Group is one member of a Raft group. Not safe for concurrent use.
type Group struct {
	// rn is raft's part, nil while it is folded: node() unfolds it, and is how everything but fold.go comes to it.
	rn      *raft.RawNode
	storage raft.Storage
	set     *Settings

	id    shard.ReplicaID
	shard shard.ID
	store shard.StoreID

	// What raft was at the last Ready. While leading, nothing but an accepted proposal can change raft's last index
	// between two Readys; bind relies on it.
	term, vote, commit, last uint64
	applied                  uint64 // the last entry or snapshot whose completion was delivered
	lead                     shard.ReplicaID

	// lastFloor is at most raft's own last index at any moment: last, lowered by appends that were stepped since the
	// last Ready and may have cut the log. Use: heartbeats are checked against it before they are stepped.
	lastFloor uint64

	// ownFirst is the index of the empty entry with which this replica began to lead its term; zero if it does not lead.
	ownFirst uint64

	// roundTerm and round are the term and the highest ReadIndex counter that left in a heartbeat. Use: raft slices its
	// queue of reads by the counter that comes back, so a larger one must not reach it.
	roundTerm, round uint64

	// props are the tokens of proposals accepted since the last Ready, in log order from last+1.
	props []any
	// reads are the ReadIndex rounds under way, oldest first.
	reads []pendingRead

	// voters is the incoming half of the configuration, joint says whether there is an outgoing one.
	voters []uint64

	// heard is when a leader of this term or a newer one was last heard, or when this life began: see promise.go.
	heard    Instant
	lastTick Instant

	outstanding int32 // appends emitted whose own MsgStorageAppendResp was not delivered yet
	sinceHeard  int32 // ticks delivered since heard, at most an election timeout's

	leading      bool
	joint        bool
	transferring bool // a transfer was begun in this term; lasts until the term ends
	muted        bool
}

// New makes the group from what its storage holds. The caller has repaired the commit index (raised to applied and to
// the header of the last entry, capped at the last index); states that contradict themselves are an error here, where
// raft would panic later.
func New(c Config) (*Group, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("group %s %s: %w", c.Shard, c.Replica, err)
	}
	hs, cs, last, err := checkStorage(c.Storage, c.Applied)
	if err != nil {
		return nil, fmt.Errorf("group %s %s: %w", c.Shard, c.Replica, err)
	}
	rn, err := raft.NewRawNode(c.Settings.raft(c.Replica, c.Storage, c.Applied))
	if err != nil {
		return nil, fmt.Errorf("group %s %s: %w", c.Shard, c.Replica, err)
	}
	g := &Group{
		rn: rn, storage: c.Storage, set: c.Settings, id: c.Replica, shard: c.Shard, store: c.Store,
		term: hs.GetTerm(), vote: hs.GetVote(), commit: hs.GetCommit(), last: last, lastFloor: last, applied: c.Applied,
		heard: c.Now, lastTick: c.Now,
	}
	if c.Heard != 0 {
		g.heard = c.Heard
	}
	g.noteConfig(cs)
	return g, nil
}

// noteConfig remembers the parts of a configuration that the group decides by.
func (g *Group) noteConfig(cs *pb.ConfState) {
	g.voters = slices.Clone(cs.GetVoters())
	g.joint = len(cs.GetVotersOutgoing()) > 0
}

// soleVoter reports whether this replica alone is the quorum.
func (g *Group) soleVoter() bool {
	return !g.joint && len(g.voters) == 1 && g.voters[0] == uint64(g.id)
}

// ApplyChange makes a committed and accepted membership change active and returns raft's configuration, which the
// caller compares with the one of the descriptor. Call it before the MsgStorageApplyResp of the batch that holds the
// entry is delivered: raft takes that response as the permission for the next change (F3d). A change that was refused
// at apply must not be passed. raft panics on a change that does not fit its configuration.
func (g *Group) ApplyChange(cc *pb.ConfChangeV2) *pb.ConfState {
	cs := g.node().ApplyConfChange(cc)
	if cs.GetAutoLeave() {
		panic(fmt.Sprintf("group %s: configuration %s leaves by itself", g, raft.DescribeConfState(cs)))
	}
	g.noteConfig(cs)
	return cs
}

// String names the group and this member of it.
func (g *Group) String() string { return fmt.Sprintf("%s %s@%s", g.shard, g.id, g.store) }

// Replica is this member.
func (g *Group) Replica() shard.ReplicaID { return g.id }

// Term is raft's term as of the last Ready.
func (g *Group) Term() uint64 { return g.term }

// TermNow is raft's term, also within a step. It costs a copy of raft's status.
func (g *Group) TermNow() uint64 {
	if g.rn == nil {
		return g.term
	}
	return g.rn.BasicStatus().GetTerm()
}

// Vote is whom this replica voted for in Term, zero for nobody.
func (g *Group) Vote() shard.ReplicaID { return shard.ReplicaID(g.vote) }

// Leading reports whether this replica leads Term.
func (g *Group) Leading() bool { return g.leading }

// Leader is the leader of Term, zero if unknown.
func (g *Group) Leader() shard.ReplicaID { return g.lead }

// Committed is the commit index.
func (g *Group) Committed() uint64 { return g.commit }

// Applied is the index of the last entry or snapshot whose completion was delivered.
func (g *Group) Applied() uint64 { return g.applied }

// LastIndex is the index of the last entry that was handed out for appending, or was in the log at the start.
func (g *Group) LastIndex() uint64 { return g.last }

// OwnTermIndex is the index of the first entry of the term that this replica leads; zero if it does not lead.
func (g *Group) OwnTermIndex() uint64 { return g.ownFirst }

// AppliedOwnTerm reports whether this replica leads and has applied an entry of its own term: only then does it know
// everything that earlier leaders acknowledged.
func (g *Group) AppliedOwnTerm() bool { return g.leading && g.applied >= g.ownFirst }

// Transferring reports whether a transfer of leadership was begun in this term, even if it was given up since.
func (g *Group) Transferring() bool { return g.transferring }

// Joint reports whether the applied configuration is a joint one.
func (g *Group) Joint() bool { return g.joint }

// OutstandingAppends counts the appends with an own MsgStorageAppendResp that was not delivered yet. Entries are never
// applied before that response, so a replica with outstanding appends must not be put to sleep.
func (g *Group) OutstandingAppends() int { return int(g.outstanding) }
