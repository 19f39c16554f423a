package raftstore

import (
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Whoever gets no answer from a leader asks another replica, which may not have missed that leader yet: it would send him back
// there, and he would come again, each time after a longer pause, and so find the next leader long after it was elected. So a
// question that names the term of the silent leader waits here: until a leader of a later term is known, or this replica is
// it; or until the store of the silent one is heard from, which then was silent to the asker alone. So do questions, and reads, that
// come between two leaders.

// seeker is a question, or a read, that waits.
type seeker struct {
	call  Call
	since env.Time
	until env.Time // after that it is told what is known
}

// seekTimeouts is how many election timeouts a question waits at most: time for an election that is begun twice.
const seekTimeouts = 3

// seek keeps a Refresh, an Outcome or a read that must wait, and reports whether it did.
func (r *replica) seek(c *Call) bool {
	now := r.w.now
	if !r.seeks(c, now) || len(r.seekers) >= maxWaitingReads {
		return false
	}
	wait := seekTimeouts * r.w.store.opt.electionTimeout()
	if c.Req.Timeout > 0 {
		wait = min(wait, c.Req.Timeout/4*3) // the answer is to find somebody who waits
	}
	r.seekers = append(r.seekers, seeker{call: *c, since: now, until: now.Add(wait)})
	return true
}

// seeks reports whether a question that came at a time has no good answer yet.
func (r *replica) seeks(c *Call, since env.Time) bool {
	switch {
	case r.group.Leading() && !r.group.Muted():
		// A leader knows what was committed before its term only once it has applied its first entry. Who means to write need not wait for that.
		return c.Req.Kind == call.Outcome && c.Req.Term < r.group.Term() && !r.settled()
	case r.between():
		return true
	case c.Req.Term == 0:
		return false
	case r.group.Leader() == 0 || r.group.Term() <= c.Req.Term:
		lead := r.leader()
		return lead.ID == 0 || r.group.Leading() || !r.w.store.live.heardSince(lead.Store, since)
	}
	return false
}

// lookAtSeekers answers those whose wait is over.
func (r *replica) lookAtSeekers() {
	if len(r.seekers) == 0 || r.held {
		return
	}
	waiting := r.seekers
	r.seekers = nil
	for i := range waiting {
		k := &waiting[i]
		switch {
		case k.until < r.w.now:
			r.fail(&k.call, r.notLeader())
		case r.seeks(&k.call, k.since):
			r.seekers = append(r.seekers, *k)
		default:
			r.answerSeeker(&k.call)
		}
	}
}

func (r *replica) answerSeeker(c *Call) {
	switch {
	case !r.group.Leading() || r.group.Muted():
		r.fail(c, r.notLeader())
	case c.Req.Kind == call.Outcome:
		r.answerOutcome(c)
	case c.Req.Kind == call.Refresh:
		r.answerRefresh(c)
	default:
		r.acceptRead(c)
	}
}

// endSeek answers everybody who waits.
func (r *replica) endSeek(err error) {
	waiting := r.seekers
	r.seekers = nil
	for i := range waiting {
		r.fail(&waiting[i].call, err)
	}
}

// heardSince reports whether a heartbeat of a store came after a time.
func (l *liveness) heardSince(id shard.StoreID, at env.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.peers[id]
	return p != nil && p.live && p.heard > at
}

// untilSuspicion is how long it takes until a store that stays silent from now on is suspected: a store that was heard lately is
// looked at again with the next heartbeat.
func (l *liveness) untilSuspicion(now env.Time, most time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait := most
	// in any order: the least is wanted
	for _, p := range l.peers {
		if left := l.store.opt.electionTimeout() - now.Sub(p.heard) + time.Millisecond; p.live && left > 0 {
			wait = min(wait, left)
		}
	}
	return wait
}
