package group

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"github.com/skerrydb/skerry/shard"
)

// Progress is what a leader knows about one replica of its group, itself included.
type Progress struct {
	Replica shard.ReplicaID
	Match   uint64 // the log is known to be the same up to here
	Next    uint64 // the next entry to send
	State   ProgressState
	// RecentActive: heard since the last CheckQuorum, which comes once per election timeout of ticks.
	RecentActive bool
	Learner      bool
	// PendingSnapshot is the index of the snapshot under way; zero if there is none.
	PendingSnapshot uint64
}

// ProgressState says how a leader sends to a replica.
type ProgressState uint8

// The states of raft's progress: one message at a time, a stream, waiting for a snapshot.
const (
	Probing ProgressState = iota
	Streaming
	Snapshotting
)

func (s ProgressState) String() string {
	switch s {
	case Probing:
		return "probing"
	case Streaming:
		return "streaming"
	}
	return "snapshotting"
}

// Progress calls f for every replica of the configuration, by id. What it says is meaningful only while leading.
func (g *Group) Progress(f func(Progress)) {
	if g.rn == nil {
		return
	}
	g.rn.WithProgress(func(id uint64, typ raft.ProgressType, p tracker.Progress) {
		state := Probing
		switch p.State {
		case tracker.StateReplicate:
			state = Streaming
		case tracker.StateSnapshot:
			state = Snapshotting
		}
		f(Progress{Replica: shard.ReplicaID(id), Match: p.Match, Next: p.Next, State: state,
			RecentActive: p.RecentActive, Learner: typ == raft.ProgressTypeLearner, PendingSnapshot: p.PendingSnapshot})
	})
}

// Quiescent is the state in which a group may sleep: everything up to Last, the last entry of all, is committed and
// applied.
type Quiescent struct{ Term, Last uint64 }

// CanSleep reports whether this replica leads a group that has nothing left to do, and the state to offer to the others:
// all replicas on live stores, among them a quorum, have the whole log, and nothing is under way here. The leader
// sleeps once all of those accepted the offer.
func (g *Group) CanSleep(live func(shard.ReplicaID) bool) (Quiescent, bool) {
	if !g.leading || g.joint || g.muted || !g.settled() || len(g.reads) > 0 {
		return Quiescent{}, false
	}
	if g.rn.BasicStatus().LeadTransferee != raft.None {
		return Quiescent{}, false
	}
	behind, liveVoters := false, 0
	g.Progress(func(p Progress) {
		if p.Replica != g.id && !live(p.Replica) {
			return // a dead store's replica has no veto
		}
		behind = behind || p.Match != g.last
		if !p.Learner {
			liveVoters++
		}
	})
	if behind || liveVoters <= len(g.voters)/2 {
		return Quiescent{}, false
	}
	return Quiescent{Term: g.term, Last: g.last}, true
}

// CanAcceptSleep reports whether this replica follows the leader of term and has exactly the state that the leader
// offers (Quiescent). The caller checks that the leader's store is live, in the incarnation that the offer names.
func (g *Group) CanAcceptSleep(term, last uint64) bool {
	return !g.leading && g.lead != 0 && g.term == term && g.last == last && g.settled()
}

// settled reports whether nothing is on its way to disk, state or network.
func (g *Group) settled() bool {
	return g.last == g.commit && g.commit == g.applied && g.outstanding == 0 && len(g.props) == 0 && (g.rn == nil || !g.rn.HasReady())
}

// WakeFollower starts the election timer of a follower that begins to get ticks again at zero, and makes it nudge its
// leader. Without it a follower that fell asleep shortly before its timer ran out would begin an election at once
// against a healthy, sleeping leader. It does nothing where no leader is known, and must not be called repeatedly: each
// call puts the election off.
//
// Raft has no call for it, so the group steps a heartbeat of its leader's, see fold.go.
func (g *Group) WakeFollower(now Instant) {
	g.lastTick = now
	if g.lead == 0 || g.leading {
		return
	}
	g.node()
	g.stepOwnHeartbeat()
}

// Mute keeps everything of a leader's from leaving, so that its followers elect another: for a leader that woke, began a
// ReadIndex round, and was not confirmed within one election timeout; raft's own check passes at first, on what it heard
// before it slept. It ends by itself when the leader is confirmed after all or steps down, which CheckQuorum makes
// happen within two election timeouts of ticks.
func (g *Group) Mute(muted bool) { g.muted = muted && g.leading }

// Muted reports whether this leader's messages are dropped.
func (g *Group) Muted() bool { return g.muted }
