package group

import (
	"time"

	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/bug"
)

// A lease is a remembered ReadIndex: the acknowledgements of a round are promises of its voters not to elect another
// leader for one election timeout. This file keeps the promise; LeaseUntil is what a leader may build on it.
//
//	voter   heard the round at h (its clock)   votes again, for itself too, at h + E*tick
//	leader  began the round at t (its clock)   may count on it until t + (E-1)*tick*(1-drift)
//
// The round reached the voter after the leader began it, so the voter's time ends later even if its clock is the faster
// one by drift; the tick of difference pays for the first tick after contact, which may follow at once.
//
// Raft has a promise of its own (a follower that knows a leader ignores vote requests for E ticks), but forgets it with
// the leader: the rejection of a pre-vote, or any other response of a higher term, is enough (G2). So the promise is
// kept here, by the clock:
//
//   - vote requests without transfer context are dropped before raft sees them;
//   - Campaign and ForgetLeader are refused;
//   - raft's own timer cannot run out: the tick that could begin an election is held back until the promise is over.
//
// Exceptions are a leader's transfer, after which it does not use its lease for the rest of its term, and a sole voter,
// whose lease nobody else can break. A leader makes no promise to anybody: what it heard lies before its own election,
// so its gate opens within one election timeout of it, and whether it answers vote requests is up to raft, which
// ignores them until CheckQuorum ends the leadership. A sleeping leader gets no ticks, hence no CheckQuorum: the shell
// wakes a group for every message, before the message is stepped.

// campaignTransfer is the context of vote requests that a leader asked for; raft does not export it.
const campaignTransfer = "CampaignTransfer"

// leaseSpan is (election ticks - 1) * tick * (1 - max drift).
func leaseSpan(electionTicks int, tick time.Duration, drift float64) Instant {
	return Instant(float64(electionTicks-1) * float64(tick) * (1 - drift))
}

// LeaseUntil is the end of the lease that a confirmed ReadIndex round begun at t gives, zero if it gives none because
// this replica does not lead, or has begun a transfer in this term.
//
// INVARIANT: once a transfer was begun, the leader neither uses nor renews a lease until its term ends, even if the
// transfer is given up: the MsgTimeoutNow, or a vote request made of it, may arrive at any time, and ignores promises.
func (g *Group) LeaseUntil(t Instant) Instant {
	if bug.LeaseOverTransfer.On() && g.leading {
		return t + g.set.lease
	}
	if !g.leading || g.transferring {
		return 0
	}
	return t + g.set.lease
}

// Heard is when a leader of this term or a newer one was last heard.
func (g *Group) Heard() Instant { return g.heard }

// promised reports whether this replica still owes its leader stillness.
func (g *Group) promised(now Instant) bool { return now < g.heard+g.set.promise }

// noteHeard begins the promise anew. Use: with every MsgApp, MsgHeartbeat and MsgSnap of the present term or a newer
// one. It may be called for a message that raft then drops; that only keeps the replica still for longer.
func (g *Group) noteHeard(now Instant) {
	g.heard = max(g.heard, now)
	g.sinceHeard = 0
}

// Tick delivers one tick to raft if at least one tick has passed since the last delivered one, and says whether it did.
// It never makes up for ticks that were missed.
//
// INVARIANT: delivered ticks are at least one tick apart, so that E of them span at least (E-1) ticks of time, and the
// E-th after hearing a leader comes no sooner than the promise to that leader ends. Raft's timer is reset by the same
// messages as sinceHeard, and it never campaigns on fewer than E ticks.
func (g *Group) Tick(now Instant) bool {
	if bug.BunchedTicks.On() {
		g.node().Tick()
		return true
	}
	if now < g.lastTick+g.set.tick {
		return false
	}
	if !g.leading && int(g.sinceHeard)+1 >= g.set.ElectionTicks && g.promised(now) && !g.soleVoter() {
		return false
	}
	g.lastTick = now
	g.sinceHeard = min(g.sinceHeard+1, int32(g.set.ElectionTicks))
	g.node().Tick()
	return true
}

// Campaign asks for votes at once instead of waiting for the timer. It is refused with ErrPromised while a leader was
// heard less than one election timeout ago, except for a sole voter. Raft ignores it where this replica leads, may not
// lead, or has a membership change committed and not applied.
func (g *Group) Campaign(now Instant) error {
	if g.promised(now) && !g.soleVoter() {
		return ErrPromised
	}
	return g.node().Campaign()
}

// ForgetLeader makes this replica ready to vote without waiting for its timer, for use when its leader's store is
// believed dead. It is refused with ErrPromised while the leader was heard less than one election timeout ago.
func (g *Group) ForgetLeader(now Instant) error {
	if g.promised(now) {
		return ErrPromised
	}
	return g.node().ForgetLeader()
}

// ForceCampaign begins an election that ignores every promise, as if the leader had asked for it. Use: the right side
// of a split, on the store whose left replica leads and has withdrawn its view; nobody else can hold a lease there.
func (g *Group) ForceCampaign() {
	// A message without a term is local to raft; with this type it has no way to fail.
	_ = g.node().Step(&pb.Message{Type: pb.MsgTimeoutNow.Enum(), From: new(uint64(g.id)), To: new(uint64(g.id))})
}
