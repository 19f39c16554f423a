package sim

import (
	"fmt"
	"time"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
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
//	unsynced    a replica says nothing in a term, and acknowledges nothing, that is not on its disk
//	durable     term, vote and commit index that were synced are there after any crash
//	hung        a store whose disk does not answer is silent
//	vote        nobody votes within an election timeout of hearing a leader, or of the start of its process
//	lease       a lease ends before the stillness that a quorum has promised; nobody begins to lead while a leader of an
//	            earlier term may still answer alone; none is used after a handover, none renewed over a split
//	read        a read shows everything that any replica had applied when it began
//	once        an attempt is executed at one place, and never after its client was told "never"
//	range       a command is executed under the version that it was cut for, on keys of the range
//	overlap     the replicas of a store have no key in common
//	ingest      a store's log is synced before tables become part of it, or are cut out
//	member      a number of a placement member lives in one directory
//	compare     replicas that sum up their data at one applied index come to the same
//	tombstone   a replica that was removed for good does not come back
//
// and those of monitor_txn.go, about transactions.
type monitors struct {
	c        *cluster
	leaders  map[leadership]shard.ReplicaID
	entries  map[shard.ID]map[uint64]appliedEntry
	furthest map[shard.ID]uint64 // the largest index that any replica has applied
	votes    map[voteKey]uint64
	promises map[replicaKey]*promise
	durable  map[replicaKey]raftstore.Durable
	lives    map[replicaKey]*observer // of the process that a replica lives in
	heard    map[replicaKey]heard
	forced   map[leadership][]uint64 // candidates that a leader asked to be
	handed   map[replicaKey]uint64   // the last term that a leader handed over in
	splits   map[shard.ID]entryAt    // the last that a leader sent to others
	leases   map[replicaKey]lease
	present  map[shard.ID]*world.Machine // who led last
	executed map[call.OpID]place
	never    map[call.OpID]bool
	dead     map[replicaKey]bool
	homes    map[shard.ReplicaID]string // of placement's members
	tx       *txnMonitor
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

func newMonitors(c *cluster) *monitors {
	return &monitors{c: c, leaders: make(map[leadership]shard.ReplicaID), entries: make(map[shard.ID]map[uint64]appliedEntry),
		furthest: make(map[shard.ID]uint64), votes: make(map[voteKey]uint64), promises: make(map[replicaKey]*promise),
		durable: make(map[replicaKey]raftstore.Durable), lives: make(map[replicaKey]*observer), heard: make(map[replicaKey]heard),
		forced: make(map[leadership][]uint64), handed: make(map[replicaKey]uint64), splits: make(map[shard.ID]entryAt),
		leases: make(map[replicaKey]lease), present: make(map[shard.ID]*world.Machine), executed: make(map[call.OpID]place),
		never: make(map[call.OpID]bool), dead: make(map[replicaKey]bool), homes: make(map[shard.ReplicaID]string), tx: newTxnMonitor(), seen: make(map[string]int)}
}

func (m *monitors) violated(monitor, format string, args ...any) {
	err := fmt.Errorf("%s: %s", monitor, fmt.Sprintf(format, args...))
	m.c.main.Log("VIOLATED %v", err)
	m.c.w.Fail(err)
}

// observer is the monitors as one part of one process feeds them.
type observer struct {
	m         *monitors
	machine   *world.Machine
	home      string   // the directory of placement
	began     env.Time // of the machine
	applied   map[replicaKey]uint64
	disk      map[replicaKey]raftstore.Durable // what is synced
	installed map[replicaKey]raftstore.Durable // what the last snapshot left
	again     map[replicaKey]bool              // lived in a process before
	ranges    map[shard.ID]shard.Range
	epochs    map[shard.ID]shard.Epoch
	written   []time.Duration // when the log batches were written that are not synced
}

var _ raftstore.Observer = (*observer)(nil)

// observer makes the observers of a process that begins now, one for each part of it.
func (m *monitors) observer(machine *world.Machine, home string) func(part string) raftstore.Observer {
	began := machine.Env().Now()
	return func(string) raftstore.Observer {
		return &observer{m: m, machine: machine, home: home, began: began, applied: make(map[replicaKey]uint64),
			disk: make(map[replicaKey]raftstore.Durable), again: make(map[replicaKey]bool), installed: make(map[replicaKey]raftstore.Durable), ranges: make(map[shard.ID]shard.Range), epochs: make(map[shard.ID]shard.Epoch)}
	}
}

// Started implements raftstore.Observer.
func (o *observer) Started(rs *engine.ReplicaState) {
	m, k := o.m, replicaKey{rs.Shard, rs.Replica}
	o.applied[k] = rs.Applied.Index
	m.furthest[k.shard] = max(m.furthest[k.shard], rs.Applied.Index)
	o.disk[k] = raftstore.Durable{Term: rs.Hard.Term, Vote: rs.Hard.Vote, Last: rs.LastIndex, Commit: rs.Hard.Commit}
	if before := m.lives[k]; before != nil && before != o {
		o.again[k] = true
	}
	m.lives[k] = o
	m.startsWith(k, rs)
	m.seen["order"]++
	if m.dead[k] {
		m.violated("tombstone", "%s of %s is back on %s", k.replica, k.shard, o.machine.Name())
	}
	if k.shard == shard.MetaID {
		m.seen["member"]++
		if was := m.homes[k.replica]; was != "" && was != o.home {
			m.violated("member", "number %d lives on %s, and has lived on %s", k.replica, o.home, was)
		}
		m.homes[k.replica] = o.home
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
	m.furthest[id] = max(m.furthest[id], index)
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
func (o *observer) Installed(id shard.ID, rep shard.ReplicaID, d raftstore.Durable, term uint64) {
	k, index := replicaKey{id, rep}, d.Last
	if index < o.applied[k] {
		o.m.violated("order", "%s of %s takes a snapshot of %d at %d", rep, id, index, o.applied[k])
	}
	o.m.c.ambush.met(hasInstalled, o)
	o.applied[k] = index
	o.m.furthest[id] = max(o.m.furthest[id], index)
	d.Commit = max(d.Commit, o.disk[k].Commit)
	o.disk[k], o.installed[k], o.m.durable[k] = d, d, d
	if was, ok := o.m.entries[id][index]; ok && was.term != term {
		o.m.violated("log", "%s of %s takes a snapshot of %d of term %d, the entry there is of term %d", rep, id, index, term, was.term)
	}
}

// Destroyed implements raftstore.Observer. The mark is not on disk yet: it counts from when the store says so to others,
// see frame.
func (o *observer) Destroyed(id shard.ID, _ shard.ReplicaID) { delete(o.ranges, id) }

// frame looks at what one store says to another.
func (m *monitors) frame(h *simnet.Host, _, to shard.StoreID, frame []byte) {
	raftstore.Inspect(frame, func(id shard.ID, msg *raftpb.Message) {
		k := replicaKey{id, shard.ReplicaID(msg.GetFrom())}
		m.holds(k, msg)
		m.hung(k, h.Machine(), msg)
		m.still(k, msg)
		m.hands(k, msg)
		m.proposes(id, msg)
		m.message(k, msg)
		if m.c.frames {
			h.Machine().Log("to %s %s: %s", to, id, raft.DescribeMessage(msg, nil))
		}
	}, func(id shard.ID, gone shard.ReplicaID) {
		m.seen["tombstone"]++
		m.dead[replicaKey{id, gone}] = true
	})
}

func (m *monitors) message(k replicaKey, msg *raftpb.Message) {
	switch msg.GetType() {
	case raftpb.MsgVote, raftpb.MsgVoteResp, raftpb.MsgAppResp, raftpb.MsgApp, raftpb.MsgHeartbeat:
	default:
		return
	}
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
