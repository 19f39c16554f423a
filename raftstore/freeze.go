package raftstore

import (
	"bytes"
	"errors"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/raftstore/load"
	"github.com/skerrydb/skerry/shard"
)

// Before the right side of a split is born its shard id is frozen on the worker that will drive it, which need not be
// left's: no replica of it is born by a message or buried, and messages for it are kept.
//
//	left's worker                          right's worker
//	apply: the next entry is a split
//	  left is held  ------ freeze ------>  dying? wait. absent, uninitialised, removed, newer: see freeze
//	  <------ term, vote, heard ---------  frozen: messages are kept
//	stageSplit; the batch is visible
//	onSplit       ------ adoptRight ---->  the replica is there; kept messages are stepped; perhaps forced to elect
//
// The same worker does all of it in one pass, and left is not held.

// right is a right side of a split on its way to be born on this store.
type right struct {
	w    *worker // that will drive it
	desc *shard.Descriptor
	self shard.ReplicaID
	// dead: the replica was removed here, or a newer one is here; it is not born.
	dead bool
	// Of the uninitialised replica that was frozen; zero if there was none.
	hard  engine.HardState
	heard group.Instant
	life  lifeState

	state engine.ReplicaState // as staged
	force bool                // left's replica here leads: right campaigns at once
	load  *load.Meter         // what is known of left's load, where it is led
}

// maxFrozenMessages bounds what is kept for one shard between freeze and adoptRight, which is two passes of a worker:
// a vote request of each other replica and what a leader sends at first. Raft sends again what is lost.
const maxFrozenMessages = 64

// frozen is a shard id whose replica is about to be born.
type frozen struct{ kept []message }

func (f *frozen) keep(m message) {
	if len(f.kept) < maxFrozenMessages {
		f.kept = append(f.kept, m)
	}
}

// freezeRights freezes the right sides of a split that is left's next entry, and calls done on this worker when all are.
// That is at once if their ids fall to this worker and none is being buried; otherwise in a later pass, and it reports
// false.
func (w *worker) freezeRights(ev *apply.Split, heard group.Instant, done func([]*right)) bool {
	rights := make([]*right, len(ev.Right))
	left := len(rights)
	inline := true
	arrived := func() {
		if left--; left == 0 {
			done(rights)
		}
	}
	for i, d := range ev.Right {
		self, _ := d.ReplicaOn(w.store.id)
		rt := &right{w: w.store.worker(d.ID), desc: d, self: self.ID, heard: heard}
		rights[i] = rt
		if rt.w == w {
			w.freeze(rt, arrived)
		} else {
			rt.w.task(func() { rt.w.freeze(rt, func() { w.task(arrived) }) })
		}
	}
	inline = left == 0
	return inline
}

// freeze takes the shard id of a right side out of circulation.
//
//	being buried      wait for its tombstone, then look again
//	absent            frozen
//	removed           its tombstone forbids this id: dead
//	newer             an uninitialised replica with a newer id waits here for its snapshot: dead
//	uninitialised     its group is taken out; its appends are written; its term, vote and promise are kept
//	initialised       impossible: its range lies in left's
func (w *worker) freeze(rt *right, done func()) {
	s, id := w.store, rt.desc.ID
	if b := w.dying[id]; b != nil {
		b.then = append(b.then, func() { w.freeze(rt, done) })
		return
	}
	next, buried, err := s.engine.Tombstone(id)
	if err != nil {
		s.broken("read the tombstone of "+id.String(), err)
		return
	}
	r := w.replicas[id]
	switch {
	case r != nil && (r.born() || r.held):
		s.broken("split into "+rt.desc.String(), errors.New("it has data here, in a range that the split takes it from"))
		return
	case buried && rt.self < next, r != nil && r.self > rt.self:
		rt.dead = true
		done()
		return
	}
	f := &frozen{}
	if r != nil {
		w.takeOut(r, rt, f)
	}
	w.frozen[id] = f
	done()
}

// takeOut ends an uninitialised replica so that a born one can take its place.
//
// INVARIANT (rule 14): its appends are written before left's batch is, so that the last writer of its hard state is the
// split; nothing of the old group is written or answered any more, by generation. What it promised is carried over: term
// and vote as last written, and how long it keeps still for a leader that it heard.
func (w *worker) takeOut(r *replica, rt *right, f *frozen) {
	w.commitLogs()
	if r.self == rt.self {
		r.turn(lifeFreeze)
		rt.life = r.life
		rt.hard = r.hard
		rt.heard = max(rt.heard, r.group.Heard())
	} else {
		r.turn(lifeOutlive)
	}
	if r.self == rt.self && r.earlyVote != nil {
		f.keep(*r.earlyVote)
	}
	if r.early != nil {
		f.keep(*r.early)
		r.dropEarly()
	}
	r.gen, r.held = 0, true
	w.rest(r)
	w.front.drop(r.id)
	delete(w.replicas, r.id) // s.replicas still finds it: its promised answers need to know where to go
}

// adoptRight gives birth to the right side of a split whose batch is visible.
//
// INVARIANT (rule 11, 14): it is forced to elect only where left's replica leads, whose view is withdrawn by now, so
// that nobody holds a lease over its keys; and only in its first term, because in a later one somebody else may have been
// elected meanwhile, whose voters' promises the transfer context would break.
func (w *worker) adoptRight(rt *right) {
	s := w.store
	f := w.frozen[rt.desc.ID]
	delete(w.frozen, rt.desc.ID)
	r, err := s.newReplica(rt.state, group.Instant(s.env.Now()), rt.heard)
	if err != nil {
		s.broken("give birth to "+rt.desc.String(), err)
		return
	}
	r.life = rt.life
	r.load.meter = rt.load
	r.turn(lifeSplit)
	s.adopt(r)
	w.rouse(r)
	r.activeAt = w.now
	if rt.force && rt.state.Hard.Term == initialTerm {
		r.group.ForceCampaign()
		r.betweenUntil = w.now.Add(s.opt.electionTimeout())
	}
	r.mark()
	if f != nil {
		for _, m := range f.kept {
			w.step(m)
		}
	}
}

// maxEarlyMessages bounds the messages that uninitialised replicas of one worker keep, one each: a message pins the frame
// that it came in, up to maxFrameBytes.
const maxEarlyMessages = 64

// keepEarly keeps an append that continues the first state of a new shard, instead of letting an uninitialised replica
// refuse it: such a replica is most likely the right side of a split that its left here has not applied yet. A refusal
// would make the leader send a snapshot, which its range forbids until the split is applied and which nobody needs
// afterwards. One message is enough, because a leader that has no answer sends nothing else; the newest counts.
//
// After one election timeout it is refused after all: left may be gone, or wait for a snapshot itself.
func (w *worker) keepEarly(r *replica, m message) bool {
	if m.msg.GetType() != raftpb.MsgApp || m.msg.GetIndex() != initialIndex || m.msg.GetLogTerm() != initialTerm {
		return false
	}
	if r.earlyAt == 0 {
		r.earlyAt = max(w.now, 1)
	}
	if w.now.Sub(r.earlyAt) > w.store.opt.electionTimeout() || r.early == nil && w.early >= maxEarlyMessages {
		r.dropEarly()
		return false
	}
	if r.early == nil {
		w.early++
	}
	r.early = &m
	return true
}

// keepVote remembers a vote request that an uninitialised replica stepped. If its birth comes before the answer went out,
// which is usual where left's leader sends the end of the split and its request for votes together, the born replica is asked
// again: it answers as the first did, or as it would have. Without that the right side waits for an election timeout.
func (r *replica) keepVote(m message) {
	if m.msg.GetType() == raftpb.MsgVote {
		// A copy, which does not keep the frame that it came in.
		m.msg = &raftpb.Message{Type: raftpb.MsgVote.Enum(), To: new(m.msg.GetTo()), From: new(m.msg.GetFrom()), Term: new(m.msg.GetTerm()),
			LogTerm: new(m.msg.GetLogTerm()), Index: new(m.msg.GetIndex()), Context: bytes.Clone(m.msg.GetContext())}
		r.earlyVote = &m
	}
}

// dropEarly forgets the kept message.
func (r *replica) dropEarly() {
	if r.early != nil {
		r.early = nil
		r.w.early--
	}
}

// burial is a shard whose replica is being destroyed on this worker; then runs when that is done.
type burial struct{ then []func() }
