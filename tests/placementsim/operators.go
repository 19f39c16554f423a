package placementsim

import (
	"container/heap"
	"slices"

	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
)

// ending is an operator under way, until the heartbeat after its end.
type ending struct {
	at    int // seconds
	seq   int // of its beginning: no two end in doubt
	p     schedule.Proposal
	fails int // 0: it does not; 1: before anything; 2: it leaves a learner; 3: it leaves a joint configuration
}

type endings []ending

func (e endings) Len() int { return len(e) }
func (e endings) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e endings) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *endings) Push(x any)   { *e = append(*e, x.(ending)) }
func (e *endings) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// Step lets a second pass: heartbeats arrive, and placement asks its scheduler once.
func (w *World) Step() (begun int) {
	w.now++
	for len(w.ends) > 0 && w.ends[0].at <= w.now {
		w.end(heap.Pop(&w.ends).(ending))
	}
	v := w.View()
	began := cpuTime()
	ps := w.sched.Propose(v, beginsPerCall)
	w.Tally.called(cpuTime() - began)
	for _, p := range ps {
		w.begin(p)
	}
	return len(ps)
}

// copies are the stores that a goal has and the shard has not yet.
func copies(sh *schedule.Shard, goal []shard.StoreID) []shard.StoreID {
	return slices.DeleteFunc(slices.Clone(goal), func(id shard.StoreID) bool {
		_, ok := sh.Desc.ReplicaOn(id)
		return ok
	})
}

func (w *World) begin(p schedule.Proposal) {
	sh := w.shard(p.Shard)
	w.judge.begin(sh, p)
	e := ending{at: w.now + reportSeconds + leaderSeconds, seq: w.Tally.Begun, p: p}
	added := copies(sh, p.Goal.Voters)
	for _, id := range added {
		w.store(id).Receiving++
		w.store(sh.Leader).Sending++
		e.at += int(sh.Bytes / bandwidthBytes)
	}
	if len(p.Goal.Voters) > 0 {
		e.at += stepSeconds
	}
	if w.rand.IntN(100) < w.cfg.FailurePercent {
		e.fails = 1 + w.rand.IntN(3)
	}
	w.count(sh, -1)
	goal := p.Goal
	sh.Pending = &goal
	w.count(sh, 1)
	w.Tally.begun(p)
	heap.Push(&w.ends, e)
}

func (w *World) end(e ending) {
	sh := w.shard(e.p.Shard)
	added := copies(sh, e.p.Goal.Voters)
	for _, id := range added {
		w.store(id).Receiving--
	}
	w.unsend(e, len(added))
	w.count(sh, -1)
	sh.Pending = nil
	lost := slices.ContainsFunc(e.p.Goal.Voters, func(id shard.StoreID) bool { return !alive(w.store(id)) })
	switch {
	case lost && len(added) > 0 || e.fails == 1:
		w.Tally.Failed++
	case e.fails >= 2 && len(added) > 0:
		w.Tally.Failed++
		w.leaveHalfDone(sh, e, added)
	default:
		w.Tally.Finished++
		w.apply(sh, e.p.Goal.Voters, e.p.Goal.Leader)
	}
	w.count(sh, 1)
	w.judge.end(sh, e.p)
	w.sched.Touch(sh.Desc.ID)
}

// unsend gives back the slots of the store that led when the operator began.
func (w *World) unsend(e ending, n int) {
	if n > 0 {
		sender := w.judge.senders[e.seq]
		w.store(sender).Sending -= n
		delete(w.judge.senders, e.seq)
	}
}

// apply makes the voters (empty: as they are) the only replicas.
func (w *World) apply(sh *schedule.Shard, goal []shard.StoreID, leader shard.StoreID) {
	if len(goal) > 0 {
		d := w.next(sh)
		for _, r := range sh.Desc.Replicas {
			if slices.Contains(goal, r.Store) {
				d.Replicas = append(d.Replicas, shard.Replica{ID: r.ID, Store: r.Store, Role: shard.Voter})
			} else {
				w.store(r.Store).Free += sh.Bytes
			}
		}
		for _, id := range copies(sh, goal) {
			d.Replicas = append(d.Replicas, w.replica(sh, id, shard.Voter))
		}
		sh.Desc = d
	}
	if leader != 0 && alive(w.store(leader)) {
		sh.Leader = leader
	}
	if _, ok := sh.Desc.ReplicaOn(sh.Leader); !ok {
		for _, r := range sh.Desc.Replicas {
			if alive(w.store(r.Store)) {
				sh.Leader = r.Store
			}
		}
	}
}

func (w *World) next(sh *schedule.Shard) *shard.Descriptor {
	d := &shard.Descriptor{ID: sh.Desc.ID, Range: sh.Desc.Range, Epoch: sh.Desc.Epoch}
	d.Epoch.ConfVer++
	return d
}

func (w *World) replica(sh *schedule.Shard, id shard.StoreID, role shard.Role) shard.Replica {
	w.nextID++
	w.store(id).Free -= min(w.store(id).Free, sh.Bytes)
	return shard.Replica{ID: w.nextID, Store: id, Role: role}
}

// leaveHalfDone ends an operator between its steps: the copy is made, and is a learner still, or a joint configuration
// is entered and not left.
func (w *World) leaveHalfDone(sh *schedule.Shard, e ending, added []shard.StoreID) {
	d := w.next(sh)
	role := shard.Learner
	d.Replicas = slices.Clone(sh.Desc.Replicas)
	if e.fails == 3 {
		role = shard.IncomingVoter
		for i, r := range d.Replicas {
			if r.Role == shard.Voter && !slices.Contains(e.p.Goal.Voters, r.Store) {
				d.Replicas[i].Role = shard.DemotingVoter
			}
		}
	}
	for _, id := range added {
		d.Replicas = append(d.Replicas, w.replica(sh, id, role))
	}
	sh.Desc = d
}
