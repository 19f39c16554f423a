package raftstore

import (
	"fmt"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// recover takes up every replica that the engine remembers. There is no replay code: committed entries after the
// applied index come out of the group's first Ready and go through the ordinary lane.
func (s *Store) recover() error {
	states, err := s.engine.Replicas()
	if err != nil {
		return err
	}
	now := s.env.Now()
	for _, rs := range states {
		if rs.Desc != nil {
			if id, ok := s.overlapLocked(rs.Shard, rs.Desc.Range); ok {
				return fmt.Errorf("recover %s: its range %s overlaps %s on this store; the directory is damaged: "+
					"keep it, and bring the store back under a new id", rs.Shard, rs.Desc.Range, id)
			}
		}
		heard := group.Instant(0)
		if bug.VoteAtOnceAfterStart.On() {
			heard = 1
		}
		r, err := s.newReplica(rs, group.Instant(now), heard)
		if err != nil {
			return fmt.Errorf("recover %s: %w", rs.Shard, err)
		}
		on := lifeRecover
		if !r.born() {
			on = lifeRecoverEmpty
		}
		r.turn(on)
		s.adopt(r)
		if _, member := r.member(); r.born() && !member {
			// It applied its own removal, and the store lost power before its destruction was on disk (rule 16). Nobody else
			// would tell it: those who remain know no newer membership than it does.
			w := r.w
			w.task(func() {
				if !r.held {
					w.destroy(r, r.self+1)
				}
			})
			continue
		}
		// Started replicas have no leader: they join the wake queue rather than all electing at once (rule 19).
		s.live.queueWake(r.id)
	}
	return nil
}

// member is this replica in its own descriptor. A replica that has data and is not there was removed, for ever.
func (r *replica) member() (shard.Replica, bool) {
	if r.machine.Desc == nil {
		return shard.Replica{}, false
	}
	return r.machine.Desc.Replica(r.self)
}

// newReplica builds the replica that a state describes. heard is inherited by the right side of a split.
func (s *Store) newReplica(rs engine.ReplicaState, now, heard group.Instant) (*replica, error) {
	w := s.worker(rs.Shard)
	r := &replica{id: rs.Shard, self: rs.Replica, w: w, gen: s.gens.Add(1), awakeAt: -1, hard: rs.Hard}
	r.machine = apply.Machine{Desc: rs.Desc, Applied: rs.Applied, Scratch: &w.scratch}
	r.outcomes.from = rs.Applied.Index
	r.log = s.engine.OpenLog(rs)
	g, err := group.New(group.Config{
		Shard: rs.Shard, Replica: rs.Replica, Store: s.id, Storage: r.log, Applied: rs.Applied.Index,
		Settings: s.groups, Now: now, Heard: heard,
	})
	if err != nil {
		return nil, err
	}
	g.Fold() // nobody may ever speak to it
	r.group = g
	r.sleep.since = env.Time(now)
	if o := s.opt.Observer; o != nil {
		o.Started(&rs)
	}
	r.showTxn(rs.Applied)
	r.applied.Store(rs.Applied.Index)
	r.time.Store(uint64(rs.Applied.Time))
	return r, nil
}

// adopt makes a replica known to its worker and to everyone else. Called by its worker, or before the workers run.
func (s *Store) adopt(r *replica) {
	r.w.front.drop(r.id)
	s.front.drop(r.id)
	r.w.replicas[r.id] = r
	r.w.maxID = max(r.w.maxID, uint64(r.id), uint64(r.self))
	s.replicas.Store(r.id, r)
	if r.born() {
		s.setDescriptor(r, r.machine.Desc)
		r.noteExpiring()
	}
}

// The index and term at which every replica of a new shard begins: a non-zero truncated index keeps a replica that was
// created whole apart from one that was born empty and waits for a snapshot (TiKV does the same with 5).
const (
	initialIndex = 5
	initialTerm  = 5
)

// InitialState is what a replica of a new shard begins with. A pure function of its arguments.
func InitialState(d *shard.Descriptor, id shard.ReplicaID) engine.ReplicaState {
	return engine.ReplicaState{
		Shard: d.ID, Replica: id, Desc: d,
		Hard:      engine.HardState{Term: initialTerm, Commit: initialIndex},
		Applied:   shard.Applied{Index: initialIndex, Term: initialTerm, TruncIndex: initialIndex, TruncTerm: initialTerm},
		LastIndex: initialIndex, LastTerm: initialTerm,
	}
}
