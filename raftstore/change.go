package raftstore

import (
	"context"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// Change proposes one step of membership and waits until it is applied (rule 15): a learner is added or removed
// alone, everything else goes through an explicit joint configuration. One change at a time.
func (s *Store) Change(ctx context.Context, id shard.ID, epoch shard.Epoch, ch shard.Change) error {
	w := s.worker(id)
	return w.call(ctx, func(done func(error)) {
		r := w.replicas[id]
		if r == nil {
			done(&shard.NotFoundError{Shard: id, Store: s.id})
			return
		}
		r.wakeUp(wakeRequest)
		r.change(epoch, ch, done)
	})
}

func (r *replica) change(epoch shard.Epoch, ch shard.Change, done func(error)) {
	if !r.canServe() {
		done(r.notLeader())
		return
	}
	if err := r.checkEpoch(epoch, true); err != nil {
		done(err)
		return
	}
	next, err := r.machine.Desc.Apply(ch)
	if err != nil {
		done(err)
		return
	}
	if r.changing != nil || r.splitting != nil {
		done(&shard.ServerBusyError{Store: r.w.store.id, Why: "another change of " + r.id.String() + " is in flight", Wait: busyWait})
		return
	}
	if self, ok := next.Replica(r.self); !next.Joint() && (!ok || self.Role != shard.Voter) {
		done(&shard.InvalidError{Why: "the leader would leave: transfer leadership first"})
		return
	}
	if err := r.checkCaughtUp(ch); err != nil {
		done(err)
		return
	}
	cc := group.ChangeOf(ch, apply.EncodeChange(apply.Header{Eval: r.w.store.evaluation(), Epoch: r.machine.Desc.Epoch}, ch))
	p := &proposal{term: r.group.Term()}
	p.done = func(_ *apply.Result, err error) {
		r.changing = nil
		if err == nil && ch.Kind == shard.LeaveJoint {
			r.seal(done)
			return
		}
		done(err)
	}
	if err := r.group.ProposeChange(cc, p); err != nil {
		done(r.proposeError(err))
		return
	}
	r.changing = p
	r.mark()
}

// seal puts an entry behind the end of a joint change, and calls done once it is applied.
//
// INVARIANT: who is told that a joint change is over can count on the new members alone. That its end is committed is known to the
// leader at first, and to nobody for good: a commit index is on disk only with a later entry (rule 6). Until then a loss of the leader
// leaves others who still need a majority of those before; with the entry behind it, a majority of the new members has both.
func (r *replica) seal(done func(error)) {
	clock := apply.EncodeClock(apply.Header{Eval: r.w.store.evaluation(), Stamp: r.w.store.stamp(r.w.now)})
	// Without it the change is over as well: then there is another leader, whose first entry does the same.
	r.proposeAdmin(clock, func(*apply.Result, error) { done(nil) })
}

// maxPromoteLag is how many entries a learner may lack when it becomes a voter: one that is far behind would make the
// new half unable to commit until it has caught up.
const maxPromoteLag = 256

func (r *replica) checkCaughtUp(ch shard.Change) error {
	var err error
	r.group.Progress(func(p group.Progress) {
		// Without any match it has not even its snapshot, however short the log is.
		if slices.Contains(ch.Promote, p.Replica) && (p.Match == 0 || p.Match+maxPromoteLag < r.group.Committed()) {
			err = &shard.ServerBusyError{Store: r.w.store.id, Wait: busyWait,
				Why: fmt.Sprintf("learner %s of %s has %d of %d entries; promote it when it has caught up", p.Replica, r.id, p.Match, r.group.Committed())}
		}
	})
	return err
}

// onChanged follows a membership change in memory: those that were removed are told, and one's own removal destroys.
func (r *replica) onChanged(d *shard.Descriptor) {
	r.keepAwake()
	r.tellPlacement()
	if _, ok := d.Replica(r.self); !ok {
		r.w.destroy(r, r.self+1)
		return
	}
}

// noteRemoved remembers whom the leader must tell that they were removed (rules.md calls them replicas that never
// learn): a removed replica is sent nothing by raft any more.
func (r *replica) noteRemoved(old, d *shard.Descriptor) {
	if !r.group.Leading() {
		return
	}
	for _, p := range old.Replicas {
		if _, ok := d.Replica(p.ID); !ok {
			r.removed = append(r.removed, p)
		}
	}
}

// tellRemoved repeats the word to the removed until they have acknowledged it.
func (r *replica) tellRemoved() {
	for _, p := range r.removed {
		r.sendControl(p, control{kind: controlDestroy, term: r.group.Term()})
	}
}

func (r *replica) onDestroyed(id shard.ReplicaID) {
	r.removed = slices.DeleteFunc(r.removed, func(p shard.Replica) bool { return p.ID == id })
}

// askTimeouts is how many election timeouts a replica hears no leader before it asks whether it was removed, and between
// two questions.
const askTimeouts = 10

// maxAsked bounds how many stores one question goes to: those of the descriptor, and others in turn.
const maxAsked = 16

// maybeAsk asks whether this replica is still a member: those that it knows, and other stores, because by now all of its
// shard may be elsewhere. The leader that removed it tells it so (tellRemoved), but forgets that with its term, and a
// removed replica is sent nothing and may not elect.
func (r *replica) maybeAsk() {
	pause := askTimeouts * r.w.store.opt.electionTimeout()
	if r.held || r.w.now.Sub(env.Time(r.group.Heard())) < pause || r.w.now.Sub(r.askedAt) < pause {
		return
	}
	r.askedAt = r.w.now
	ask := control{kind: controlAsk, term: r.group.TermNow()}
	if r.born() {
		ask.last = r.machine.Desc.Epoch.ConfVer
	}
	for _, st := range r.whomToAsk() {
		r.sendControl(shard.Replica{Store: st}, ask)
	}
}

// whomToAsk are the stores of the replicas that it knows, and others of those that this store knows: another part of
// them each time.
func (r *replica) whomToAsk() []shard.StoreID {
	var out []shard.StoreID
	add := func(st shard.StoreID) {
		if st != r.w.store.id && len(out) < maxAsked && !slices.Contains(out, st) {
			out = append(out, st)
		}
	}
	if known := r.peers.Load(); known != nil {
		for _, p := range *known {
			add(p.Store)
		}
	}
	others := r.w.store.live.known()
	for i := range others {
		add(others[(r.asked+i)%len(others)])
	}
	r.asked += maxAsked / 2
	return out
}

// onAsk answers a replica that was removed. A sleeper need not wake for it.
//
// INVARIANT (rule 16): only with newer knowledge: a replica that is behind does not know those that were added since.
//
//   - One that has data was a member at its own ConfVer; if it is none at a later one, it was removed between, for ever.
//   - One that has none knows only the term of a leader who spoke to it, and who had applied its addition before: that
//     was committed. A leader of that term or a later one that has applied an entry of its own has applied it as well.
func (r *replica) onAsk(from shard.StoreID, c *control) {
	switch {
	case !r.born() || !plausible(uint64(c.from)):
		return
	case c.last > 0 && r.machine.Desc.Epoch.ConfVer <= c.last:
		return
	case c.last == 0 && (c.term == 0 || !r.group.Leading() || r.group.Term() < c.term || !r.group.AppliedOwnTerm()):
		return
	}
	if _, member := r.machine.Desc.Replica(c.from); !member {
		r.sendControl(shard.Replica{ID: c.from, Store: from}, control{kind: controlDestroy, term: r.group.Term()})
	}
}

// onDestroy takes the word of a leader that a replica of this store was removed. It is answered only once that is true
// for ever: the leader forgets the replica then, and nobody else would tell it.
func (w *worker) onDestroy(from shard.StoreID, r *replica, c *control) {
	s := w.store
	_, dying := w.dying[c.shard]
	switch {
	case !plausible(uint64(c.to)), dying, w.frozen[c.shard] != nil:
	case r != nil && r.self > c.to:
		s.sendDestroyed(from, c.shard, c.to) // an older id never comes back beside a newer one
	case r != nil && !r.held:
		w.destroy(r, c.to+1) // or an older one: it was removed before c.to was made
	case r == nil:
		next, ok, err := s.engine.Tombstone(c.shard)
		switch {
		case err != nil:
			s.broken("read the tombstone of "+c.shard.String(), err)
		case ok && next > c.to:
			s.sendDestroyed(from, c.shard, c.to)
		default:
			// It was never born here, and a message that is still under way must not bring it to life.
			w.bury(c.shard, c.to+1, nil, lifeAbsent)
		}
	}
}

// destroy removes a replica from this store for good.
//
//	held, view withdrawn, range held by a placeholder       memory
//	synced: tombstone, destroying mark, raft state deleted   one batch
//	the data, then the mark                                  engine.FinishDestroy; redone at start if cut short
//
// INVARIANT (rule 16): the tombstone is synced before anything of the replica is gone, and outlives everything.
func (w *worker) destroy(r *replica, next shard.ReplicaID) {
	s := w.store
	if !r.turn(lifeRemove) {
		return
	}
	r.withdraw()
	r.dropEarly()
	r.desc.Store(nil)
	r.held = true
	r.gen = 0 // INVARIANT (rule 3): responses to this group are dropped
	r.failAll(&shard.NotFoundError{Shard: r.id, Store: s.id})
	s.cancelled.Add(-int64(len(r.cancelled)))
	r.cancelled = nil
	w.rest(r)
	w.front.drop(r.id)
	delete(w.replicas, r.id)
	r.countLeading(false)
	s.front.drop(r.id)
	s.replicas.Delete(r.id)
	s.reclaimer.forget(r.id)
	if o := s.opt.Observer; o != nil {
		o.Destroyed(r.id, r.self)
	}
	var span *shard.Range
	if r.born() {
		span = &r.machine.Desc.Range
		s.mu.Lock()
		s.placeholders[r.id] = placeholder{Range: *span}
		s.shards.Delete(r.id)
		s.mu.Unlock()
	}
	// INVARIANT (rule 3): both lanes are drained: what this pass staged for the replica is written first, and nothing of
	// it can be staged later, because it is held.
	w.commitLogs()
	w.commitStates()
	r.log.Shrink()
	s.logger.Info("replica destroyed", "shard", r.id, "replica", r.self)
	if r.checkLife("after it is", lifeRemove) {
		w.bury(r.id, next, span, r.life)
	}
}

// bury writes a shard's tombstone, and removes the data of span, off the worker; life ends with that. Until it is done
// no replica of the shard is born here, because the tombstone is what would forbid it.
func (w *worker) bury(id shard.ID, next shard.ReplicaID, span *shard.Range, life lifeState) {
	s := w.store
	if life == lifeAbsent && !s.turnLife(id, &life, lifeRemove) {
		return
	}
	grave := &burial{}
	w.dying[id] = grave
	s.goTask("destroy", func() {
		b := s.engine.NewStateBatch()
		defer b.Close()
		b.DestroyReplica(id, next, span)
		var err error
		s.env.Call("bury replica", func() { err = b.Commit(true) })
		if err == nil && span != nil {
			s.env.Call("destroy data", func() { err = s.engine.FinishDestroy(id, *span) })
		}
		if err != nil {
			s.broken("destroy "+id.String(), err)
			return
		}
		if span != nil {
			s.unhold(id)
		}
		w.task(func() {
			s.turnLife(id, &life, lifeDestroy)
			delete(w.dying, id)
			for _, f := range grave.then {
				f()
			}
		})
	})
}

// unhold gives up the placeholder of a shard.
func (s *Store) unhold(id shard.ID) {
	s.mu.Lock()
	delete(s.placeholders, id)
	s.mu.Unlock()
}

// equivalent compares two configurations as sets.
func equivalent(a, b *raftpb.ConfState) error {
	same := func(x, y []uint64) bool {
		x, y = slices.Clone(x), slices.Clone(y)
		slices.Sort(x)
		slices.Sort(y)
		return slices.Equal(x, y)
	}
	if same(a.GetVoters(), b.GetVoters()) && same(a.GetLearners(), b.GetLearners()) &&
		same(a.GetVotersOutgoing(), b.GetVotersOutgoing()) && same(a.GetLearnersNext(), b.GetLearnersNext()) {
		return nil
	}
	return fmt.Errorf("%v against %v", a, b)
}
