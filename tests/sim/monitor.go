package sim

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// monitors watch all replicas of a world from outside, over the lives of their processes. Each states an invariant, and
// ends the world when it does not hold:
//
//	leader      one replica leads a term of a shard
//	log         all replicas apply the same entry at an index, and the same comes out of it
//	order       a replica applies every index once, in order, within a life
//	promise     what a replica said in a term (a vote, an acknowledgement) is on its disk after any crash
//	lease       nobody begins to lead while a leader of an earlier term may still answer reads alone
//	tombstone   a replica that was removed for good does not come back
type monitors struct {
	c        *cluster
	leaders  map[leadership]shard.ReplicaID
	entries  map[shard.ID]map[uint64]appliedEntry
	votes    map[voteKey]uint64
	promises map[replicaKey]*promise
	leases   map[replicaKey]lease
	present  map[shard.ID]*world.Machine // who led last
	dead     map[replicaKey]bool
	seen     map[string]int // how often each monitor had something to look at
}

type leadership struct {
	shard shard.ID
	term  uint64
}

type replicaKey struct {
	shard   shard.ID
	replica shard.ReplicaID
}

type voteKey struct {
	replicaKey
	term uint64
}

type appliedEntry struct{ term, entry, effect uint64 }

// promise is the most that a replica has said to others.
type promise struct {
	term  uint64 // it was in this term
	acked uint64 // and had everything up to this index, as of ackTerm
	acks  uint64 // the term of acked
}

type lease struct {
	machine *world.Machine
	term    uint64
	until   env.Time
}

func newMonitors(c *cluster) *monitors {
	return &monitors{c: c, leaders: make(map[leadership]shard.ReplicaID), entries: make(map[shard.ID]map[uint64]appliedEntry),
		votes: make(map[voteKey]uint64), promises: make(map[replicaKey]*promise), leases: make(map[replicaKey]lease), present: make(map[shard.ID]*world.Machine),
		dead: make(map[replicaKey]bool), seen: make(map[string]int)}
}

func (m *monitors) violated(monitor, format string, args ...any) {
	err := fmt.Errorf("%s: %s", monitor, fmt.Sprintf(format, args...))
	m.c.main.Log("VIOLATED %v", err)
	m.c.w.Fail(err)
}

// observer is the monitors as one life of one process feeds them.
type observer struct {
	m       *monitors
	machine *world.Machine
	applied map[replicaKey]uint64
}

var _ raftstore.Observer = (*observer)(nil)

func (m *monitors) observer(machine *world.Machine) *observer {
	return &observer{m: m, machine: machine, applied: make(map[replicaKey]uint64)}
}

// Started implements raftstore.Observer.
func (o *observer) Started(rs *engine.ReplicaState) {
	m, k := o.m, replicaKey{rs.Shard, rs.Replica}
	o.applied[k] = rs.Applied.Index
	m.seen["order"]++
	if m.dead[k] {
		m.violated("tombstone", "%s of %s is back on %s", k.replica, k.shard, o.machine.Name())
	}
	p := m.promises[k]
	if p == nil {
		return
	}
	m.seen["promise"]++
	if rs.Hard.Term < p.term {
		m.violated("promise", "%s of %s starts in term %d, but has spoken in term %d", k.replica, k.shard, rs.Hard.Term, p.term)
	}
	if rs.Hard.Term == p.acks && rs.LastIndex < p.acked {
		m.violated("promise", "%s of %s starts with a log up to %d in term %d, but has acknowledged %d in it",
			k.replica, k.shard, rs.LastIndex, rs.Hard.Term, p.acked)
	}
}

// Applied implements raftstore.Observer.
func (o *observer) Applied(id shard.ID, rep shard.ReplicaID, index, term, entry, effect uint64) {
	m, k := o.m, replicaKey{id, rep}
	if o.applied[k]+1 != index {
		m.violated("order", "%s of %s applies %d after %d", rep, id, index, o.applied[k])
	}
	o.applied[k] = index
	log := m.entries[id]
	if log == nil {
		log = make(map[uint64]appliedEntry)
		m.entries[id] = log
	}
	is := appliedEntry{term, entry, effect}
	was, ok := log[index]
	if !ok {
		log[index] = is
		return
	}
	m.seen["log"]++
	switch {
	case was.term != term || was.entry != entry:
		m.violated("log", "%s applies at %d of %s an entry of term %d, another one was applied there in term %d", rep, index, id, term, was.term)
	case was.effect != effect:
		m.violated("log", "%s applies entry %d of %s with another outcome than a replica before it", rep, index, id)
	}
}

// Installed implements raftstore.Observer.
func (o *observer) Installed(id shard.ID, rep shard.ReplicaID, index, term uint64) {
	k := replicaKey{id, rep}
	if index < o.applied[k] {
		o.m.violated("order", "%s of %s takes a snapshot of %d at %d", rep, id, index, o.applied[k])
	}
	o.applied[k] = index
	if was, ok := o.m.entries[id][index]; ok && was.term != term {
		o.m.violated("log", "%s of %s takes a snapshot of %d of term %d, the entry there is of term %d", rep, id, index, term, was.term)
	}
}

// Led implements raftstore.Observer.
func (o *observer) Led(id shard.ID, rep shard.ReplicaID, term uint64) {
	m, l := o.m, leadership{id, term}
	m.seen["leader"]++
	if was, ok := m.leaders[l]; ok && was != rep {
		m.violated("leader", "%s and %s both lead term %d of %s", was, rep, term, id)
	}
	m.leaders[l] = rep
	m.present[id] = o.machine
	for k, other := range m.leases {
		if k.shard != id || k.replica == rep || other.term >= term || other.machine.Dead() {
			continue
		}
		m.seen["lease"]++
		if now := other.machine.Env().Now(); now < other.until {
			m.violated("lease", "%s leads term %d of %s while %s may answer alone in term %d for another %s",
				rep, term, id, k.replica, other.term, other.until.Sub(now))
		}
	}
}

// leading counts the shards that a machine was the last to lead.
func (m *monitors) leading(machine *world.Machine) int {
	n := 0
	for _, l := range m.present {
		if l == machine {
			n++
		}
	}
	return n
}

// Leased implements raftstore.Observer.
func (o *observer) Leased(id shard.ID, rep shard.ReplicaID, term uint64, until env.Time) {
	k := replicaKey{id, rep}
	if until == 0 {
		delete(o.m.leases, k)
		return
	}
	o.m.leases[k] = lease{o.machine, term, until}
}

// Destroyed implements raftstore.Observer. The mark is not on disk yet: it counts from when the store says so to others,
// see frame.
func (o *observer) Destroyed(id shard.ID, rep shard.ReplicaID) {}

// frame looks at what one store says to another.
func (m *monitors) frame(h *simnet.Host, _, to shard.StoreID, frame []byte) {
	raftstore.Inspect(frame, func(id shard.ID, msg *raftpb.Message) {
		m.message(id, msg)
		if m.c.frames {
			h.Machine().Log("to %s %s: %s", to, id, raft.DescribeMessage(msg, nil))
		}
	}, func(id shard.ID, gone shard.ReplicaID) {
		m.seen["tombstone"]++
		m.dead[replicaKey{id, gone}] = true
	})
}

func (m *monitors) message(id shard.ID, msg *raftpb.Message) {
	switch msg.GetType() {
	case raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgAppResp, raftpb.MsgApp, raftpb.MsgHeartbeat:
	default:
		return
	}
	k := replicaKey{id, shard.ReplicaID(msg.GetFrom())}
	p := m.promises[k]
	if p == nil {
		p = &promise{}
		m.promises[k] = p
	}
	p.term = max(p.term, msg.GetTerm())
	switch msg.GetType() {
	case raftpb.MsgVote:
		m.vote(voteKey{k, msg.GetTerm()}, msg.GetFrom())
	case raftpb.MsgVoteResp:
		if !msg.GetReject() {
			m.vote(voteKey{k, msg.GetTerm()}, msg.GetTo())
		}
	case raftpb.MsgAppResp:
		if msg.GetReject() {
			return
		}
		if p.acks != msg.GetTerm() {
			p.acks, p.acked = msg.GetTerm(), 0
		}
		p.acked = max(p.acked, msg.GetIndex())
	}
}

// vote notes whom a replica has voted for in a term.
func (m *monitors) vote(k voteKey, candidate uint64) {
	m.seen["vote"]++
	if was, ok := m.votes[k]; ok && was != candidate {
		m.violated("promise", "%s of %s votes in term %d for r%d, and has voted for r%d", k.replica, k.shard, k.term, candidate, was)
	}
	m.votes[k] = candidate
}
