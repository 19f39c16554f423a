package sim

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// lease is what a leader may answer reads by, alone.
type lease struct {
	machine *world.Machine
	term    uint64
	until   env.Time // of its machine
}

// heard is when a replica last heard a leader.
type heard struct {
	by   *observer // of the life that heard it
	term uint64
	at   env.Time // of its machine
	// still is, in the world's time, until when it has promised at least not to elect another one: its clock is as fast as
	// clocks may be.
	still time.Duration
}

// entryAt is a place in a log.
type entryAt struct{ index, term uint64 }

// Heard implements raftstore.Observer.
func (o *observer) Heard(id shard.ID, rep shard.ReplicaID, term uint64, at env.Time) {
	m := o.m
	left := at.Add(m.election(1)).Sub(o.machine.Env().Now())
	m.heard[replicaKey{id, rep}] = heard{o, term, at, m.c.w.Now() + time.Duration(float64(left)/(1+m.c.knobs.Drift))}
}

// Leased implements raftstore.Observer.
func (o *observer) Leased(id shard.ID, rep shard.ReplicaID, term uint64, until env.Time, d *shard.Descriptor) {
	m, k := o.m, replicaKey{id, rep}
	if until == 0 {
		delete(m.leases, k)
		return
	}
	was := m.leases[k]
	m.leases[k] = lease{o.machine, term, until}
	left := until.Sub(o.machine.Env().Now())
	if left <= 0 {
		return
	}
	m.seen["quorum"]++
	ends := m.c.w.Now() + time.Duration(float64(left)/(1-m.c.knobs.Drift))
	if still := m.quorumStill(id, rep, term, d); ends > still {
		m.violated("lease", "%s of %s may answer alone in term %d for %s longer than a quorum has promised to be still", rep, id, term, ends-still)
	}
	if m.handed[k] >= term {
		m.violated("lease", "%s of %s may answer alone in term %d, and has handed it over", rep, id, term)
	}
	if at := m.splits[id]; at.term == term && o.applied[k] < at.index && (was.term != term || until > was.until) {
		m.violated("lease", "%s of %s renews its lease of term %d before it has applied the split at %d", rep, id, term, at.index)
	}
}

// quorumStill is until when, in the world's time, a quorum of every half of a configuration elects nobody else.
func (m *monitors) quorumStill(id shard.ID, leader shard.ReplicaID, term uint64, d *shard.Descriptor) time.Duration {
	still := time.Duration(1<<63 - 1)
	for _, half := range [][2]shard.Role{{shard.Voter, shard.IncomingVoter}, {shard.Voter, shard.DemotingVoter}} {
		var ends []time.Duration
		for _, r := range d.Replicas {
			if r.Role != half[0] && r.Role != half[1] {
				continue
			}
			end := time.Duration(1<<63 - 1)
			if r.ID != leader {
				end = 0
				if h := m.heard[replicaKey{id, r.ID}]; h.term == term {
					end = h.still
				}
			}
			ends = append(ends, end)
		}
		slices.Sort(ends)
		// Of n voters a quorum is n/2+1: the last of the longest that many.
		if n := len(ends); n > 0 {
			still = min(still, ends[n-n/2-1])
		}
	}
	return still
}

// Led implements raftstore.Observer.
func (o *observer) Led(id shard.ID, rep shard.ReplicaID, term uint64) {
	m, l := o.m, leadership{id, term}
	m.seen["leader"]++
	if was, ok := m.leaders[l]; ok && was != rep {
		m.violated("leader", "%s and %s both lead term %d of %s", was, rep, term, id)
	}
	m.leaders[l] = rep
	m.c.ambush.met(hasWon, o)
	m.present[id] = o.machine
	// in any order: a broken lease ends the world, whichever is met first
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
	// in any order: counted
	for _, l := range m.present {
		if l == machine {
			n++
		}
	}
	return n
}

// campaignTransfer is the context of a vote request that a leader asked for.
const campaignTransfer = "CampaignTransfer"

// still demands that nobody votes within an election timeout of hearing a leader of an earlier term, or of the start of
// its process, unless that leader asked for it (rule 11).
func (m *monitors) still(k replicaKey, msg *raftpb.Message) {
	term := msg.GetTerm()
	candidacy := leadership{k.shard, term}
	switch {
	case msg.GetType() == raftpb.MsgVote && string(msg.GetContext()) == campaignTransfer:
		m.forced[candidacy] = append(m.forced[candidacy], msg.GetFrom())
		return
	case msg.GetType() == raftpb.MsgVote:
	case msg.GetType() != raftpb.MsgVoteResp || msg.GetReject():
		return
	case slices.Contains(m.forced[candidacy], msg.GetTo()):
		m.unleased(k, msg)
		return
	}
	o := m.lives[k]
	if o == nil {
		return
	}
	m.seen["still"]++
	now := o.machine.Env().Now()
	if h := m.heard[k]; h.by == o && h.term < term && now < h.at.Add(m.election(1)) {
		m.violated("vote", "%s of %s votes in term %d, and heard the leader of term %d only %s ago", k.replica, k.shard, term, h.term, now.Sub(h.at))
	}
	if o.again[k] && now < o.began.Add(m.election(1)) {
		m.violated("vote", "%s of %s votes in term %d, %s after its process began", k.replica, k.shard, term, now.Sub(o.began))
	}
}

// unleased demands that a vote which a leader asked for breaks no lease: whoever hands over has given his up.
func (m *monitors) unleased(k replicaKey, msg *raftpb.Message) {
	m.seen["forced"]++
	// in any order: a broken lease ends the world, whichever is met first
	for l, lease := range m.leases {
		if l.shard == k.shard && lease.term < msg.GetTerm() && !lease.machine.Dead() && lease.machine.Env().Now() < lease.until {
			m.violated("lease", "%s of %s votes in term %d for r%d, which was told to ask, and %s may answer alone in term %d",
				k.replica, k.shard, msg.GetTerm(), msg.GetTo(), l.replica, lease.term)
		}
	}
}

// hands notes that a leader told another replica to take over: from here on it answers nothing alone.
func (m *monitors) hands(k replicaKey, msg *raftpb.Message) {
	if msg.GetType() != raftpb.MsgTimeoutNow {
		return
	}
	m.seen["handover"]++
	if o := m.lives[k]; o != nil {
		m.c.ambush.met(hasHanded, o)
	}
	m.handed[k] = max(m.handed[k], msg.GetTerm())
	if l, ok := m.leases[k]; ok && l.term == msg.GetTerm() && l.machine.Env().Now() < l.until {
		m.violated("lease", "%s of %s hands over in term %d, and may answer alone", k.replica, k.shard, l.term)
	}
}

// proposes notes the splits that a leader sends to others.
func (m *monitors) proposes(id shard.ID, msg *raftpb.Message) {
	if msg.GetType() != raftpb.MsgApp {
		return
	}
	for _, e := range msg.GetEntries() {
		if e.GetType() == raftpb.EntryNormal && e.GetTerm() == msg.GetTerm() && apply.KindOf(e.GetData()) == apply.KindSplit {
			if at := m.splits[id]; at.term < e.GetTerm() || at.index < e.GetIndex() {
				m.splits[id] = entryAt{e.GetIndex(), e.GetTerm()}
			}
		}
	}
}
