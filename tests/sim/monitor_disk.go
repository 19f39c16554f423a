package sim

import (
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// Durable implements raftstore.Observer.
func (o *observer) Durable(id shard.ID, rep shard.ReplicaID, d raftstore.Durable) {
	k := replicaKey{id, rep}
	d.Commit = max(d.Commit, o.disk[k].Commit)
	in := o.installed[k] // a snapshot does not wait for the log's syncs to be told of
	if d.Last = max(d.Last, in.Last); d.Term < in.Term {
		d.Term, d.Vote = in.Term, in.Vote
	}
	o.disk[k] = d
	o.m.durable[k] = d
}

// LogWritten implements raftstore.Observer.
func (o *observer) LogWritten() { o.written = append(o.written, o.m.c.w.Now()) }

// LogSynced implements raftstore.Observer.
func (o *observer) LogSynced(n int) { o.written = o.written[n:] }

// startsWith compares what a replica starts with and what it once had on its disk.
//
// The end of a log may be overwritten within a term, so of the log only what was acknowledged counts: see Started.
func (m *monitors) startsWith(k replicaKey, rs *engine.ReplicaState) {
	d, ok := m.durable[k]
	if !ok {
		return
	}
	m.seen["durable"]++
	switch {
	case rs.Hard.Term < d.Term:
		m.violated("durable", "%s of %s starts in term %d, and had synced term %d", k.replica, k.shard, rs.Hard.Term, d.Term)
	case rs.Hard.Term == d.Term && d.Vote != 0 && rs.Hard.Vote != d.Vote:
		m.violated("durable", "%s of %s starts with a vote for r%d in term %d, and had synced one for r%d", k.replica, k.shard, rs.Hard.Vote, d.Term, d.Vote)
	case rs.Hard.Commit < min(d.Commit, rs.LastIndex):
		m.violated("durable", "%s of %s starts with commit %d of %d, and had synced commit %d", k.replica, k.shard, rs.Hard.Commit, rs.LastIndex, d.Commit)
	}
}

// holds demands that what a replica says is on its disk already (rule 1).
func (m *monitors) holds(k replicaKey, msg *raftpb.Message) {
	o := m.lives[k]
	if o == nil {
		return
	}
	d, term := o.disk[k], msg.GetTerm()
	vote := uint64(0)
	switch msg.GetType() {
	case raftpb.MsgVote:
		vote = msg.GetFrom()
	case raftpb.MsgVoteResp:
		if msg.GetReject() {
			return
		}
		vote = msg.GetTo()
	case raftpb.MsgAppResp:
		if msg.GetReject() {
			return
		}
		if d.Term == term && d.Last < msg.GetIndex() {
			m.violated("unsynced", "%s of %s acknowledges %d in term %d, and %d is on its disk", k.replica, k.shard, msg.GetIndex(), term, d.Last)
		}
	case raftpb.MsgApp, raftpb.MsgHeartbeat:
	default:
		return
	}
	m.seen["unsynced"]++
	switch {
	case d.Term < term:
		m.violated("unsynced", "%s of %s sends %s in term %d, and term %d is on its disk", k.replica, k.shard, msg.GetType(), term, d.Term)
	case d.Term == term && vote != 0 && d.Vote != vote:
		m.violated("unsynced", "%s of %s votes for r%d in term %d, and a vote for r%d is on its disk", k.replica, k.shard, vote, term, d.Vote)
	}
}

// hung demands that a store whose disk owes it a sync for longer than an election timeout is silent (rule 5). It finds
// out once per tick, so it has some ticks more, also after its process stood still.
func (m *monitors) hung(k replicaKey, machine *world.Machine, msg *raftpb.Message) {
	o := m.lives[k]
	if msg.GetType() != raftpb.MsgHeartbeat || o == nil || len(o.written) == 0 {
		return
	}
	m.seen["hung"]++
	limit := m.election(1+m.c.knobs.Drift) + 4*m.c.knobs.Tick
	now := m.c.w.Now()
	if age := now - o.written[0]; age > limit && now-machine.Resumed() > limit {
		m.violated("hung", "%s of %s sends a heartbeat, and its disk owes it a sync for %s", k.replica, k.shard, age)
	}
}

// election is an election timeout, times f.
func (m *monitors) election(f float64) time.Duration {
	return time.Duration(f * raftstore.DefaultElectionTicks * float64(m.c.knobs.Tick))
}
