package raftstore

import (
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// Idle shards sleep (rule 19): no ticks, no raft heartbeats, no lease. A leader offers sleep at an exact state; a
// follower accepts only in exactly that state and while its store holds the leader's store live, in the incarnation
// that the offer names. The leader sleeps after all live replicas have accepted.

// electTicks is how many ticks an election is given before another one is begun for a suspected leader.
const electTicks = 3

// sleepAfterTimeouts is how many election timeouts without a request make a shard idle.
const sleepAfterTimeouts = 3

type wakeReason uint8

const (
	wakeMessage wakeReason = iota // a raft message
	wakeRequest                   // a client's request
	wakeQueue                     // its leader's store is suspected, or the backstop
)

// sleepState is the leader's side of the hand-shake, and since when a replica sleeps.
type sleepState struct {
	since      env.Time // asleep since; meaningful while asleep
	offeredAt  env.Time // 0: no offer is out
	term, last uint64   // of the offer
	waiting    []shard.ReplicaID
	without    []shard.StoreID // stores that were not live when the leader went to sleep
	// electing: the leader is suspected; tried at each few ticks until there is another.
	electing bool
	triedAt  env.Time
}

func (r *replica) asleep() bool { return r.awakeAt < 0 }

// keepAwake notes that there is something to do.
func (r *replica) keepAwake() {
	r.activeAt = r.w.now
	r.sleep.offeredAt = 0
}

// wakeUp puts a sleeping replica back to work.
func (r *replica) wakeUp(why wakeReason) {
	if why == wakeRequest {
		r.keepAwake()
	}
	if !r.asleep() {
		return
	}
	r.w.rouse(r)
	r.activeAt = r.w.now
	r.sleep = sleepState{}
	if r.group.Leading() {
		// A woken leader may have been replaced while it slept: it asks a quorum first, and gives way if there is none.
		r.wokenAt = r.w.now
		if r.round == nil {
			r.beginRound()
		}
		r.mark()
		return
	}
	r.group.WakeFollower(group.Instant(r.w.now))
	r.mark()
	if lead := r.leader(); why != wakeMessage && lead.ID != 0 {
		// The leader may just be asleep as well: nudge it before timing out on it.
		r.sendControl(lead, control{kind: controlNudge})
	}
}

// findLeader asks whoever may lead to say so, now and then: a replica that starts again beside a sleeping leader would not hear of
// it before its own timer runs out.
func (r *replica) findLeader() {
	if r.group.Leader() != 0 || !r.born() || r.w.now < r.nudgedAt.Add(electTicks*r.w.store.opt.Tick) {
		return
	}
	r.nudgedAt = r.w.now
	for _, p := range r.machine.Desc.Replicas {
		if p.ID != r.self && p.Role != shard.Learner {
			r.sendControl(p, control{kind: controlNudge})
		}
	}
}

// maybeMute silences a woken leader that no quorum confirmed: its heartbeats must not keep the others from electing.
func (r *replica) maybeMute() {
	if r.wokenAt != 0 && !r.group.Muted() && r.w.now.Sub(r.wokenAt) > r.w.store.opt.electionTimeout() {
		r.group.Mute(true)
		r.withdraw()
	}
}

// maybeElect lets one replica of a shard campaign as soon as its leader's store is suspected, instead of all of them
// when their timers run out. The gate in group still keeps every promise made to the old leader.
func (r *replica) maybeElect() {
	if r.group.Leading() || !r.born() || r.held || r.asleep() {
		r.sleep.electing = false
		return
	}
	lead := r.leader()
	if live, _ := r.w.store.live.isLive(lead.Store); lead.ID != 0 && live {
		r.sleep.electing = false
		return
	}
	r.sleep.electing, r.sleep.triedAt = true, r.w.now
	now := group.Instant(r.w.now)
	if lead.ID != 0 && r.group.ForgetLeader(now) != nil {
		r.sleep.triedAt = r.w.now.Add(-electTicks * r.w.store.opt.Tick)
		return // too early to break the promise; tried again by the next onTick
	}
	if r.preferred() && r.group.Campaign(now) == nil {
		r.mark()
	}
}

// preferred chooses one live voter of a shard, the same on every store: different shards choose different stores.
func (r *replica) preferred() bool {
	var live []shard.ReplicaID
	for _, p := range r.machine.Desc.Replicas {
		if ok, _ := r.w.store.live.isLive(p.Store); ok && p.Role != shard.Learner {
			live = append(live, p.ID)
		}
	}
	return len(live) > 0 && live[uint64(r.id)%uint64(len(live))] == r.self
}

// maybeSleep offers sleep when the shard has been idle, and goes on electing while the leader is suspected.
func (r *replica) maybeSleep() {
	s := r.w.store
	if r.sleep.electing && r.w.now.Sub(r.sleep.triedAt) >= electTicks*s.opt.Tick {
		r.maybeElect()
	}
	if s.opt.NoSleep || !r.group.Leading() || !r.idle() {
		return
	}
	if r.sleep.offeredAt != 0 {
		if r.w.now.Sub(r.sleep.offeredAt) > s.opt.electionTimeout() {
			r.sleep.offeredAt = 0 // someone did not answer: begin again
		}
		return
	}
	live := func(id shard.ReplicaID) bool {
		p, ok := r.machine.Desc.Replica(id)
		alive, _ := s.live.isLive(p.Store)
		return ok && alive
	}
	if q, ok := r.group.CanSleep(live); ok {
		r.offerSleep(q, live)
	}
}

// idle reports whether nothing needs this leader awake. Removed replicas are told again and again that they are, but
// those on a store that is not live cannot hear it: they count among those without, and wake the leader when they are
// back.
func (r *replica) idle() bool {
	s := r.w.store
	for _, p := range r.removed {
		if live, _ := s.live.isLive(p.Store); live {
			return false
		}
	}
	return r.w.now.Sub(r.activeAt) > sleepAfterTimeouts*s.opt.electionTimeout() &&
		r.w.now.Sub(env.Time(r.lastRead.Load())) > sleepAfterTimeouts*s.opt.electionTimeout() &&
		len(r.waiting)+len(r.reads)+len(r.confirmed)+len(r.clockWaiters)+len(r.proposals) == 0 &&
		r.round == nil && r.snapshots == 0 && r.changing == nil && r.splitting == nil && r.truncated == 0 && !r.held && r.wokenAt == 0 &&
		r.follower.idle() && !r.clockOut && r.guardIdle() && r.lockWaits.n == 0 && r.watchIdle()
}

func (r *replica) offerSleep(q group.Quiescent, live func(shard.ReplicaID) bool) {
	st := sleepState{offeredAt: r.w.now, term: q.Term, last: q.Last}
	for _, p := range r.machine.Desc.Replicas {
		switch {
		case p.ID == r.self:
		case live(p.ID):
			st.waiting = append(st.waiting, p.ID)
		default:
			st.without = append(st.without, p.Store)
		}
	}
	for _, p := range r.removed {
		st.without = append(st.without, p.Store)
	}
	r.sleep = st
	if len(st.waiting) == 0 {
		r.fallAsleep()
		return
	}
	for _, p := range r.machine.Desc.Replicas {
		if slices.Contains(st.waiting, p.ID) {
			r.sendControl(p, control{kind: controlOffer, term: st.term, last: st.last, incarnation: r.w.store.live.incarnation})
		}
	}
}

// onOffer is the follower's side: it accepts only in exactly the offered state.
//
// INVARIANT (rule 19): the leader's store must be live here, in the incarnation of the offer, now: a level, not an
// edge. An offer that arrives after its sender was suspected would otherwise put the shard to sleep for good.
func (r *replica) onOffer(from shard.StoreID, c *control) {
	live, inc := r.w.store.live.isLive(from)
	if !live || inc != c.incarnation || r.held || !r.born() || !r.follower.idle() || !r.watchIdle() ||
		r.machine.Desc.Joint() || !r.group.CanAcceptSleep(c.term, c.last) {
		return
	}
	lead := r.leader()
	if lead.ID != c.from {
		return
	}
	r.sendControl(lead, control{kind: controlAccept, term: c.term, last: c.last})
	r.fallAsleep()
}

// onAccept counts the followers that sleep; the leader follows the last one.
func (r *replica) onAccept(c *control) {
	st := &r.sleep
	if st.offeredAt == 0 || c.term != st.term || c.last != st.last || !r.group.Leading() {
		return
	}
	st.waiting = slices.DeleteFunc(st.waiting, func(id shard.ReplicaID) bool { return id == c.from })
	if len(st.waiting) > 0 || !r.idle() || r.group.LastIndex() != st.last || r.group.Term() != st.term {
		return
	}
	r.fallAsleep()
}

func (r *replica) fallAsleep() {
	if !r.turn(lifeSleep) {
		return
	}
	if v := r.view.Load(); bug.SleepKeepsLease.On() && v != nil {
		r.publish(r.w.now.Add(10 * r.w.store.opt.electionTimeout()))
	} else {
		r.withdraw()
	}
	r.endGuard(r.notLeader())
	r.endLockWaits(r.notLeader())
	r.endSeek(r.notLeader())
	r.endWatch()
	r.forgetWritten()
	r.follower = nil
	r.sleep.since, r.sleep.offeredAt = r.w.now, 0
	if r.group.Leading() {
		r.dropLoad()
	}
	r.w.rest(r)
	r.log.Shrink()
	r.group.Fold()
	r.outcomes.shrink()
}

// sweepSleepers queues those that have slept for so long that a missed edge may be the reason.
func (w *worker) sweepSleepers() {
	for _, id := range slices.Sorted(maps.Keys(w.replicas)) {
		r := w.replicas[id]
		if !r.asleep() {
			continue
		}
		limit := backstopFollower
		switch {
		case r.group.Leading():
			limit = backstopLeader
		case r.group.Leader() == 0:
			limit = backstopLeaderless * w.store.opt.electionTimeout()
		}
		// Spread by id, so that shards that fell asleep together do not wake together.
		if w.now.Sub(r.sleep.since) > limit-limit/400*time.Duration(uint64(id)*0x9e3779b97f4a7c15>>57*100>>7) {
			w.store.live.queueWake(id)
		}
	}
}
