package raftstore

import (
	"sync/atomic"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// replica is one copy of a shard on this store: its group, its log, its applied state and whoever waits for it.
// Only its worker touches it, except for the fields of the read side, which are atomic.
type replica struct {
	id   shard.ID
	self shard.ReplicaID
	w    *worker

	life lifeState // see lifeTable
	// dirty: in worker.dirty. held: an install or a destruction runs outside the worker, or the right sides of a split
	// are being frozen on other workers; the group's Readys wait.
	dirty, held bool
	// freezing: it is held for a split, which takes two passes of other workers, or for a view of its data, within a pass:
	// requests need not be refused.
	freezing   bool
	unreported bool // in worker.unreported
	counted    bool // in worker.leaders
	expiring   bool // known to the reclaimer
	clockOut   bool // a clock entry is proposed and not applied; clockWaiters run again when it is
	// gen tells lives apart: a response that was made for an earlier group of this shard is dropped.
	gen     uint64
	group   *group.Group
	log     *engine.Log
	machine apply.Machine
	hard    engine.HardState // as last written

	// early is what an uninitialised replica keeps for the time after its birth, earlyAt when the first came; see freeze.go.
	// earlyVote is the vote request that it stepped last.
	early     *message
	earlyAt   env.Time
	earlyVote *message
	// awakeAt is the position in worker.awake, -1 while asleep.
	awakeAt int

	// --- writes, see propose.go

	waiting       []Call               // not yet proposed
	betweenUntil  env.Time             // when a transfer, or the first election of a split, is over, one way or the other; see between
	ledTerm       uint64               // in which it leads, as of the last onSoftState; 0: it does not
	inflight      int64                // bytes of calls from admission to reply
	queued        int64                // of those, of the backlog
	proposals     map[uint64]*proposal // by log index
	cancelled     map[call.OpID]struct{}
	cancelledTerm uint64 // the term in which those of cancelled were answered "never"
	outcomes      outcomes
	logBytes      int64  // about what the log holds after its truncated index
	trimAt        uint64 // the applied index at which to look again at what of the log is in memory, see trim.go

	seekers []seeker // see seek.go

	// --- what followers hear later, see untold.go

	untold      []*raftpb.Message // one per follower
	untoldSince env.Time
	promptly    uint64 // up to here commits are told at once

	// lot is what is committed and not yet applied, see lot.go; nil: nothing.
	lot *group.Apply

	// --- reads, see read.go

	reads        []Call // waiting for a round
	round        *readRound
	confirmed    []confirmedReads
	clockWaiters []Call         // see clockOut
	follower     *followerReads // nil: none since it slept last

	// --- transactions, see txn.go, guard.go

	guard        atomic.Pointer[guard]   // of this leadership; nil while there is no need. Readers use it as well
	lockWaits    lockWaits               // of this leadership
	safeProposed uint64                  // the largest safe point that was proposed here, see adoptSafePoint
	watched      atomic.Pointer[watched] // nil while nobody watches; see watched.go

	// --- admin, see admin.go

	changing  *proposal       // the one membership change in flight
	splitting *proposal       // the one split in flight
	removed   []shard.Replica // told to destroy themselves until they say they have
	truncated uint64          // a truncation up to here is proposed; 0: none
	snapshots int             // being sent from here
	minPinned uint64          // the log is not cut above this while snapshots > 0
	staged    *staged         // received, not yet taken by raft
	sleep     sleepState
	size      shardSize
	load      shardLoad // its reads are any goroutine's
	askedAt   env.Time  // see maybeAsk
	asked     int       // stores passed over in the next question, see whomToAsk
	nudgedAt  env.Time  // see findLeader
	activeAt  env.Time  // of the last thing that kept it awake
	// wokenAt is when a sleeping leader woke and stepped the round that must confirm it; 0 once confirmed.
	wokenAt env.Time

	// --- the read side: any goroutine

	view    atomic.Pointer[readView]
	moment  moment
	led     atomic.Pointer[shard.Replica] // who leads
	applied atomic.Uint64
	// committed is the commit index that other replicas may have heard of from this one. See caughtUp.
	committed atomic.Uint64
	desc      atomic.Pointer[shard.Descriptor] // nil while there is no data to read; a new pointer at each change
	peers     atomic.Pointer[[]shard.Replica]  // where the other replicas are, as far as is known
	time      atomic.Uint64                    // shard time, Millis
	locks     atomic.Uint64                    // how many there are, as of applied or later; see evaluateOne
	safe      atomic.Uint64                    // the safe point, see hideBelow
	closed    atomic.Uint64                    // reads up to this timestamp are answered here, see closed.go
	summed    atomic.Pointer[replicaSum]       // the last sum of its data, see sum.go
	lastRead  atomic.Int64                     // env.Time, so that a lease in use is renewed before it ends
}

// readView is what lets a leader answer reads on the caller's goroutine. It is immutable; the pointer to it is the
// single word that a read checks before and after.
//
// INVARIANT (rule 11): the view is withdrawn before any message or batch of the step that ends it is released: loss
// of the term, change of the descriptor, install, destroy.
type readView struct {
	desc *shard.Descriptor
	gen  uint64 // differs between any two views that do not continue each other
	term uint64
	// lease is the time until which the leader may answer alone; a view without a lease has zero.
	lease env.Time
}

// mark puts the replica on its worker's list for this pass.
func (r *replica) mark() {
	if !r.dirty {
		r.dirty = true
		r.w.dirty = append(r.w.dirty, r)
	}
}

// born reports whether the replica holds data (it was created whole, or has installed its first snapshot).
func (r *replica) born() bool { return r.machine.Desc != nil }

// withdraw takes the read view away. See readView.
func (r *replica) withdraw() {
	r.view.Store(nil)
	r.observeLease(0, 0)
}

// publish makes the read view say what the replica knows now, if it may serve at all.
// A lease that still runs is kept when the view continues the last one.
func (r *replica) publish(lease env.Time) {
	if !r.group.Leading() || !r.group.AppliedOwnTerm() || r.held && !r.freezing || r.group.Muted() {
		r.withdraw()
		return
	}
	if r.desc.Load() != r.machine.Desc {
		return // a change of it is evaluated and not yet visible; onApplied publishes then
	}
	old := r.view.Load()
	if old != nil && old.term == r.group.Term() && old.desc == r.machine.Desc {
		if lease <= old.lease {
			return
		}
		r.view.Store(&readView{desc: old.desc, gen: old.gen, term: old.term, lease: lease})
		r.observeLease(old.term, lease)
		return
	}
	r.view.Store(&readView{desc: r.machine.Desc, gen: r.w.newViewGen(), term: r.group.Term(), lease: lease})
	r.w.store.views.Add(1)
	r.observeLease(r.group.Term(), lease)
}

// leader is the replica that leads, as far as is known here; zero otherwise.
func (r *replica) leader() shard.Replica {
	id := r.group.Leader()
	if id == 0 || r.machine.Desc == nil {
		return shard.Replica{}
	}
	rep, _ := r.machine.Desc.Replica(id)
	return rep
}

func (r *replica) notLeader() error {
	return &shard.NotLeaderError{Shard: r.id, Leader: r.leader(), Term: r.group.Term()}
}

// canServe reports whether the replica leads and knows everything that was committed before its term.
func (r *replica) canServe() bool {
	return r.group.Leading() && !r.group.Muted() && r.group.AppliedOwnTerm()
}

// reply completes a call and gives back what it was admitted with.
func (r *replica) reply(c *Call, rep *call.Reply) {
	r.release(c)
	c.spent.stop(r.w.seen)
	if rep.Err != nil {
		rep.Err = r.w.store.withCurrent(rep.Err)
	}
	if rep.Err == nil || rep.Term == 0 {
		rep.Term, rep.Applied = r.group.Term(), r.machine.Applied.Index
	}
	c.reply(rep)
}

func (r *replica) fail(c *Call, err error) {
	r.release(c)
	c.spent.stop(r.w.seen)
	c.fail(err)
}

// enter notes what a call waits for from now on.
func (r *replica) enter(c *Call, st call.Stage) { c.spent.enter(st, r.w.seen) }

func (r *replica) release(c *Call) {
	if c.bytes != 0 {
		r.inflight -= c.bytes
		r.queued -= c.queued
		c.bytes = 0
	}
}

// first and last bound the log. Reading them costs no I/O and cannot fail.
func (r *replica) first() uint64 {
	i, _ := r.log.FirstIndex()
	return i
}

func (r *replica) last() uint64 {
	i, _ := r.log.LastIndex()
	return i
}
