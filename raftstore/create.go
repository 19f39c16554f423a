package raftstore

import (
	"fmt"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// CreateShards writes this store's replicas of brand-new shards, in one synced batch per worker. Every replica of a
// shard is created with the same initial state, so that none has to send it to the others. Done again it does nothing.
// Placement asks for it only while the shards' bootstrap is not finished; a tombstone or another replica refuses.
func (s *Store) CreateShards(ds []*shard.Descriptor) error {
	lots := make([][]*shard.Descriptor, len(s.workers))
	for _, d := range ds {
		if err := d.Validate(); err != nil {
			return err
		}
		w := s.worker(d.ID).index
		lots[w] = append(lots[w], d)
	}
	for i, lot := range lots {
		if len(lot) == 0 {
			continue
		}
		w := s.workers[i]
		if err := w.call(s.ctx, func(done func(error)) { done(w.create(lot)) }); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) create(ds []*shard.Descriptor) error {
	s := w.store
	w.commitLogs() // what this pass staged for replicas that are replaced below is written first
	b := s.engine.NewStateBatch()
	var states []engine.ReplicaState
	for _, d := range ds {
		rs, ok, err := w.planCreate(d)
		if err != nil {
			b.Close()
			return err
		}
		if ok {
			b.CreateReplica(rs)
			states = append(states, rs)
		}
	}
	if len(states) == 0 {
		b.Close()
		return nil
	}
	err := b.Commit(true)
	b.Close()
	if err != nil {
		s.broken("create shards", err)
		return err
	}
	for _, rs := range states {
		// heard lies in the past: a replica that never was has promised nothing to anyone, so it may elect at once.
		//
		// INVARIANT (rule 11): one that a message gave birth to has answered it, perhaps, and keeps its promise.
		heard, old := group.Instant(1), w.replicas[rs.Shard]
		if old != nil {
			heard = max(heard, old.group.Heard())
		}
		r, err := s.newReplica(rs, group.Instant(s.env.Now()), heard)
		if err != nil {
			return err
		}
		if old != nil {
			// Nothing of the old group may be written any more: it may be marked, with messages of this pass in it.
			old.turn(lifeCreate)
			r.life = old.life // the same id: one life goes on
			old.gen, old.held = 0, true
			old.dropEarly()
			w.rest(old)
		} else {
			r.turn(lifeCreate)
		}
		s.adopt(r)
		// One of a shard's replicas elects first, a different one from shard to shard, so that the stores lead alike from the
		// beginning, whichever of them creates its replicas first. The others sleep until it asks for their votes; see also
		// sweepSleepers.
		if r.preferred() {
			s.live.queueWake(r.id) // paced: thousands of first elections at once would starve each other
		}
	}
	return nil
}

// planCreate says what to write for one shard; ok is false if it is here already.
func (w *worker) planCreate(d *shard.Descriptor) (rs engine.ReplicaState, ok bool, err error) {
	s := w.store
	self, here := d.ReplicaOn(s.id)
	if !here {
		return rs, false, &shard.InvalidError{Why: fmt.Sprintf("%s has no replica on %s", d, s.id)}
	}
	rs = InitialState(d, self.ID)
	if r := w.replicas[d.ID]; r != nil {
		if r.born() || r.self != self.ID || r.held {
			return rs, false, nil
		}
		if s.overlaps(d) {
			return rs, false, nil // what it became was split, and a part of that is here: it gets a snapshot
		}
		// A message of an earlier created replica gave birth to this one. Its term and vote are promises.
		if r.hard.Term >= rs.Hard.Term {
			rs.Hard.Term, rs.Hard.Vote = r.hard.Term, r.hard.Vote
		}
		return rs, true, nil
	}
	if _, dying := w.dying[d.ID]; dying {
		return rs, false, &shard.ServerBusyError{Store: s.id, Why: "the last replica of " + d.ID.String() + " is being destroyed", Wait: busyWait}
	}
	next, dead, err := s.engine.Tombstone(d.ID)
	if err != nil {
		return rs, false, err
	}
	if dead && self.ID < next {
		return rs, false, &shard.InvalidError{Why: fmt.Sprintf("%s of %s was removed from %s and must not come back", self.ID, d.ID, s.id)}
	}
	if w.frozen[d.ID] != nil || s.overlaps(d) {
		return rs, false, &shard.InvalidError{Why: fmt.Sprintf("%s overlaps another shard on %s", d, s.id)}
	}
	return rs, true, nil
}

// overlaps reports whether another shard with data, or a placeholder, lies in a descriptor's range.
func (s *Store) overlaps(d *shard.Descriptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, overlap := s.overlapLocked(d.ID, d.Range)
	return overlap
}
