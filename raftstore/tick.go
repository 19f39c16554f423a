package raftstore

import (
	"time"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// tickSlack is the part of a tick that workers may be late by without losing one.
const tickSlack = 10

// runTicker lets time pass for all workers: one goroutine, whatever the number of shards. A worker whose replicas all
// sleep is not woken, and if all of them do, the ticker waits until one is roused. It runs a little slower than the tick,
// because group lets a tick through only when a whole one has passed since the last: at the interval itself, jitter
// would cost many of them. (Polling faster instead would double what an idle store costs.)
func (s *Store) runTicker() {
	awake := true
	for {
		if awake {
			if s.env.Sleep(s.ctx, s.opt.Tick+s.opt.Tick/tickSlack) != nil {
				return
			}
		} else if err := s.roused.Wait(s.ctx, s.opt.electionTimeout()/2); err != nil && s.ctx.Err() != nil {
			return
		}
		s.watchDisk()
		s.backlog.look(s.env.Now())
		awake = false
		for _, w := range s.workers {
			if w.ticking.Load() {
				awake = true
				w.post(func(in *input) { in.tick = true })
			}
		}
	}
}

// watchDisk mutes the store while the disk owes it a sync, and gives up when that lasts.
//
// INVARIANT (rule 5): a store whose oldest unsynced log batch is older than one election timeout sends no raft and no
// store heartbeats and uses no lease, so that others lead its shards. Heartbeats need no disk, so without this a leader
// with a hung disk would keep its shards for ever.
func (s *Store) watchDisk() {
	since := s.sync.stalledSince()
	for _, w := range s.workers {
		if at := env.Time(w.writing.Load()); at != 0 && (since == 0 || at < since) {
			since = at
		}
	}
	if since == 0 || bug.HungDiskLeads.On() {
		s.hung.Store(false)
		return
	}
	now := s.env.Now()
	age := now.Sub(since)
	hung := age > s.opt.electionTimeout()
	if hung != s.hung.Swap(hung) && hung {
		s.logger.Warn("disk does not finish a sync; giving up leadership", "for", age)
	}
	if seen := s.stall.look(since, now, s.opt.electionTimeout()); seen > s.opt.HungDiskExit {
		s.broken("sync the log", errHungDisk{seen})
	}
}

// stall is how long the ticker has seen one sync not come back. The clock goes on while a machine is suspended or a process
// stopped, and the disk is no more to blame for that time than the store is: it would end all stores of a cluster at the
// moment in which their machines come back. The zero value has seen nothing.
type stall struct {
	since, at env.Time // the sync's beginning, and the last look
	seen      time.Duration
}

// look counts the time since the last look, but never more than most: whoever runs looks more often than that.
func (st *stall) look(since, now env.Time, most time.Duration) time.Duration {
	if since != st.since {
		*st = stall{since: since, at: since}
	}
	st.seen += min(now.Sub(st.at), most)
	st.at = now
	return st.seen
}

type errHungDisk struct{ age time.Duration }

func (e errHungDisk) Error() string {
	return "the disk has not finished a sync for " + e.age.Round(time.Second).String()
}

// onTick is what a replica does beside raft once per tick while awake.
func (r *replica) onTick() {
	r.expireRound()
	r.expireCalls()
	r.lookAtSeekers()
	if len(r.waiting) > 0 {
		r.mark() // for a transfer that came to nothing, or a leader that nobody became
	}
	if r.group.Leading() {
		if r.view.Load() == nil {
			// A transfer that came to nothing, for instance: it leads, and whoever asks (placement) must hear it.
			r.publish(0)
		}
		r.maybeRenew()
		r.maybeTruncate()
		r.maybeMute()
		r.tellRemoved()
	} else {
		r.maybeAsk()
	}
	r.maybeSleep()
}

// onSoftState takes a change of leader, role or term.
func (r *replica) onSoftState(st *group.SoftState) {
	s := r.w.store
	// INVARIANT (rule 11): the view goes before any message of the step that ends the term is released; handle calls
	// this before it looks at what to send.
	if v := r.view.Load(); v != nil && (!st.Leading || v.term != st.Term) {
		r.withdraw()
	}
	r.forgetCancelled(st.Term)
	r.endLockWaits(r.notLeader()) // also if it leads again: who gave keys back meanwhile was not looked at
	r.wokenAt = 0
	if goesOn := st.Leading && st.Term == r.ledTerm; !goesOn && (st.Leading || !r.between()) {
		r.refuseWaiting(r.notLeader())
	}
	r.ledTerm = 0
	if st.Leading {
		r.ledTerm = st.Term
	}
	if !st.Leading {
		r.abandon()
		r.failReads(r.notLeader())
		r.changing, r.splitting, r.truncated = nil, nil, 0
	}
	if v := r.view.Load(); v == nil {
		r.endGuard(r.notLeader())
	}
	r.safeProposed = 0
	if st.Leading {
		r.promptly = r.group.LastIndex()
	}
	if o := s.opt.Observer; o != nil && st.Leading {
		o.Led(r.id, r.self, st.Term)
	}
	if !st.Leading && r.counted {
		r.load.forget()
	}
	r.countLeading(st.Leading)
	r.keepAwake()
	r.noteLeader()
	r.lookAtSeekers()
	s.metrics.leaderChanges.Add(1)
	s.logger.Debug("leader", "shard", r.id, "replica", r.self, "leader", st.Leader, "term", st.Term)
}

// noteLeader tells other goroutines who leads.
func (r *replica) noteLeader() {
	lead := r.leader()
	r.led.Store(&lead)
}

// expireCalls drops calls for which nobody waits any more, so that a shard without a quorum gives its memory back. They
// never reached the log, and the answer says so, should it still be heard.
func (r *replica) expireCalls() {
	now := int64(r.w.now)
	kept := r.waiting[:0]
	for i := range r.waiting {
		if c := &r.waiting[i]; c.expire != 0 && c.expire < now {
			r.fail(c, &shard.ServerBusyError{Store: r.w.store.id, Why: "the log of " + r.id.String() + " did not move in time", Wait: busyWait})
			continue
		}
		kept = append(kept, r.waiting[i])
	}
	clear(r.waiting[len(kept):])
	r.waiting = kept
	r.expireGuard()
	r.expireLockWaits()
	r.expireFollower()
	r.expireWatch()
}
