package raftstore

import (
	"context"
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// followerReads are reads on a replica that does not lead: one question to the leader answers for all of them.
type followerReads struct {
	waiting []Call         // not yet asked for
	asked   []Call         // the leader is being asked for these
	at      mvcc.Timestamp // by a barrier at this timestamp; zero: at none
	since   env.Time
	cancel  context.CancelFunc // ends the question; nil: none is out
	told    []toldReads
}

// idle may be asked of nil.
func (f *followerReads) idle() bool {
	return f == nil || len(f.waiting)+len(f.told) == 0 && f.cancel == nil
}

// toldReads may run once index is applied. term is the leader's that said so: if an entry of a later term is applied
// first, index may never come, and the leader is asked again (design T5). at is the timestamp of the barrier.
type toldReads struct {
	term, index uint64
	at          mvcc.Timestamp
	calls       []Call
}

// acceptFollowerRead queues a read and asks the leader for its index.
func (r *replica) acceptFollowerRead(c *Call) {
	if !r.born() {
		r.fail(c, &shard.NotReadyError{Shard: r.id, Why: "this replica has no data yet"})
		return
	}
	if err := r.checkEpoch(c.Req.Epoch, false); err != nil {
		r.fail(c, err)
		return
	}
	if r.follower == nil {
		r.follower = new(followerReads)
	}
	if len(r.follower.waiting) >= maxWaitingReads || len(r.follower.told) >= maxWaitingReads {
		r.fail(c, &shard.ServerBusyError{Store: r.w.store.id, Why: "too many reads wait for " + r.id.String(), Wait: busyWait})
		return
	}
	if bug.FollowerReadsAlone.On() {
		r.w.store.readers.submit(readJob{r: r, desc: r.machine.Desc, call: *c})
		return
	}
	r.enter(c, call.StageConfirm)
	r.follower.waiting = append(r.follower.waiting, *c)
	r.askLeader()
}

// askLeader asks for one barrier for every read that waits. Follower reads do not use raft's forwarded MsgReadIndex:
// v3.7.0 loses it silently, and the same barrier serves stale reads, watches and backups later.
func (r *replica) askLeader() {
	f := r.follower
	if f.cancel != nil || len(f.waiting) == 0 {
		return
	}
	lead := r.leader()
	if lead.ID == 0 || lead.ID == r.self {
		calls := f.waiting
		f.waiting = nil
		for i := range calls {
			r.fail(&calls[i], r.notLeader())
		}
		return
	}
	s, gen := r.w.store, r.gen
	ctx, cancel := context.WithCancel(s.ctx)
	f.asked, f.waiting = f.waiting, nil
	f.since, f.cancel, f.at = r.w.now, cancel, r.barrierTS(f.asked)
	req := &call.Request{Kind: call.Barrier, Shard: r.id, Timeout: s.opt.electionTimeout(), Body: barrierBody(f.at)}
	ok := s.goTask("barrier", func() {
		rep := s.transport.Call(ctx, lead.Store, req)
		cancel()
		r.w.task(func() { r.onBarrier(gen, &rep) })
	})
	if !ok {
		cancel() // closing: the worker answers what is in asked
	}
}

func (r *replica) onBarrier(gen uint64, rep *call.Reply) {
	f := r.follower
	if gen != r.gen || f == nil || f.cancel == nil {
		return // destroyed: they were answered
	}
	calls := f.asked
	f.asked, f.cancel = nil, nil
	if rep.Err != nil {
		for i := range calls {
			r.fail(&calls[i], r.notLeader())
		}
	} else {
		for i := range calls {
			r.enter(&calls[i], call.StageCatchUp)
		}
		f.told = append(f.told, toldReads{term: rep.Term, index: rep.Applied, at: f.at, calls: calls})
		if bug.StaleBeforeApplied.On() {
			r.closeUpTo(f.at)
		}
		r.w.endLot(r) // the index may be in it
		r.serveFollower()
	}
	r.askLeader()
}

// failFollower answers every follower read that waits here.
func (r *replica) failFollower(err error) {
	f := r.follower
	if f == nil {
		return
	}
	calls := append(f.waiting, f.asked...)
	for _, t := range f.told {
		calls = append(calls, t.calls...)
	}
	if f.cancel != nil {
		f.cancel()
	}
	r.follower = nil
	for i := range calls {
		r.fail(&calls[i], err)
	}
}

// serveFollower runs the reads whose index is applied.
func (r *replica) serveFollower() {
	if r.follower == nil || len(r.follower.told) == 0 {
		return
	}
	told := r.follower.told
	r.follower.told = nil
	for _, t := range told {
		switch {
		case t.index <= r.applied.Load() && !r.held:
			r.closeUpTo(t.at)
			for _, c := range t.calls {
				r.enter(&c, call.StageQueue)
				r.w.store.readers.submit(readJob{r: r, desc: r.machine.Desc, call: c})
			}
		case t.term < r.machine.Applied.Term && !r.held:
			for i := range t.calls {
				r.enter(&t.calls[i], call.StageConfirm)
			}
			r.follower.waiting = append(r.follower.waiting, t.calls...)
			r.askLeader()
		default:
			r.follower.told = append(r.follower.told, t)
		}
	}
}

// expireFollower drops reads for which nobody waits any more, and a question that the leader does not answer.
func (r *replica) expireFollower() {
	f := r.follower
	if f == nil {
		return
	}
	if f.cancel != nil && r.w.now.Sub(f.since) > r.w.store.opt.electionTimeout() {
		f.cancel() // the call returns, then onBarrier runs
	}
	now := int64(r.w.now)
	for i := range f.told {
		t := &f.told[i]
		kept := t.calls[:0]
		for _, c := range t.calls {
			if c.expire != 0 && c.expire < now {
				r.fail(&c, shard.ErrUnavailable)
				continue
			}
			kept = append(kept, c)
		}
		t.calls = kept
	}
	f.told = slices.DeleteFunc(f.told, func(t toldReads) bool { return len(t.calls) == 0 })
}
