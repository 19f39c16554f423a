package raftstore

import (
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// readRound is one outstanding ReadIndex round; all reads that came before it was stepped share it (rule 12).
type readRound struct {
	ctx   uint64
	at    env.Time // when it was stepped: a confirmed round is a lease from here (rule 11)
	calls []Call
}

// confirmedReads may be served once index is applied.
type confirmedReads struct {
	index uint64
	calls []Call
}

// lease answers a read on the caller's goroutine if this replica leads under a lease. It returns the view to check
// again after the value was read, nil if the read must go to the worker.
//
// INVARIANT (rule 11), the order of a lease read:
//  1. load the view   2. read the data   3. read the clock   4. the view continues and its lease runs still
//
// Whoever takes the leadership away withdraws the view first, so a view that stands after the data was read was right
// when it was read.
func (r *replica) leaseView() *readView {
	v := r.view.Load()
	if v == nil || v.lease == 0 {
		return nil
	}
	return v
}

// holds is step 4.
func (r *replica) holds(v *readView, now env.Time) bool {
	cur := r.view.Load()
	return cur != nil && cur.gen == v.gen && now < cur.lease && !r.w.store.hung.Load()
}

// acceptRead queues a read that could not be answered from a lease.
func (r *replica) acceptRead(c *Call) {
	if !r.group.Leading() || r.group.Muted() {
		if c.Req.Follower && c.Req.Kind == call.Read {
			r.acceptFollowerRead(c)
			return
		}
		r.fail(c, r.notLeader())
		return
	}
	if c.Req.Kind == call.Read {
		if err := r.machine.Desc.CheckEpoch(c.Req.Epoch, false); err != nil {
			r.fail(c, err)
			return
		}
	}
	if len(r.reads) >= maxWaitingReads {
		r.fail(c, &shard.ServerBusyError{Store: r.w.store.id, Why: "too many reads wait for " + r.id.String(), Wait: busyWait})
		return
	}
	r.reads = append(r.reads, *c)
	r.mark()
}

// startRound steps one ReadIndex for all waiting reads.
//
// INVARIANT (rule 12): only after an entry of the leader's own term was applied here; v3.7.0 answers a sole voter
// without that check. group.ReadIndex refuses earlier, and the reads wait: applying that entry marks the replica.
func (r *replica) startRound() {
	if len(r.reads) == 0 || r.round != nil {
		return
	}
	if !r.group.Leading() {
		r.failReads(r.notLeader())
		return
	}
	r.beginRound()
}

func (r *replica) beginRound() {
	s := r.w.store
	at := s.env.Now()
	ctx := s.roundCtx.Add(1)
	if err := r.group.ReadIndex(ctx, group.Instant(at)); err != nil {
		return
	}
	r.round = &readRound{ctx: ctx, at: at, calls: r.reads}
	r.reads = nil
	s.metrics.readRounds.Add(1)
}

// onRound takes the confirmation of a round.
func (r *replica) onRound(rd group.Read) {
	if r.round == nil || r.round.ctx != rd.Ctx {
		return // forgotten: see expireRound
	}
	round := r.round
	r.round = nil
	r.wokenAt = 0
	r.publish(env.Time(r.group.LeaseUntil(group.Instant(round.at))))
	if len(round.calls) > 0 {
		r.confirmed = append(r.confirmed, confirmedReads{index: rd.Index, calls: round.calls})
		r.serveConfirmed()
	}
	if len(r.reads) > 0 {
		r.mark()
	}
}

// serveConfirmed hands the reads whose index is applied to the readers.
func (r *replica) serveConfirmed() {
	for len(r.confirmed) > 0 && r.confirmed[0].index <= r.machine.Applied.Index {
		for i := range r.confirmed[0].calls {
			c := r.confirmed[0].calls[i]
			if c.Req.Kind == call.Barrier {
				r.answerBarrier(&c)
				continue
			}
			r.w.store.readers.submit(readJob{r: r, desc: r.machine.Desc, call: c, leader: true})
		}
		r.confirmed = r.confirmed[1:]
	}
	if len(r.confirmed) == 0 {
		r.confirmed = nil
	}
	r.serveFollower()
}

// answerBarrier tells another store's replica up to where it must have applied (design T5). Leading was confirmed
// after the call came in.
func (r *replica) answerBarrier(c *Call) {
	c.reply(&call.Reply{Term: r.group.Term(), Applied: r.group.Committed()})
}

// expireRound forgets a round whose answer may have been lost, and steps another one for its reads.
func (r *replica) expireRound() {
	if r.round == nil || r.w.now.Sub(r.round.at) < r.w.store.opt.electionTimeout()/2 {
		return
	}
	r.reads = append(r.round.calls, r.reads...)
	r.round = nil
	r.mark()
}

// maybeRenew steps a round ahead of the end of a lease that is in use, so that readers do not wait for one.
func (r *replica) maybeRenew() {
	v := r.view.Load()
	if v == nil || r.round != nil || !r.group.Leading() {
		return
	}
	timeout := r.w.store.opt.electionTimeout()
	if r.w.now.Sub(env.Time(r.lastRead.Load())) > timeout || v.lease.Sub(r.w.now) > timeout/2 {
		return
	}
	r.beginRound()
	r.mark()
}

// failReads answers every read that waits for this replica to lead.
func (r *replica) failReads(err error) {
	calls := r.reads
	if r.round != nil {
		calls = append(calls, r.round.calls...)
	}
	for _, c := range r.confirmed {
		calls = append(calls, c.calls...)
	}
	calls = append(calls, r.clockWaiters...)
	r.reads, r.round, r.confirmed, r.clockWaiters, r.clockOut = nil, nil, nil, nil, false
	for i := range calls {
		r.fail(&calls[i], err)
	}
}

// awaitClock makes a read wait for an entry that moves the shard's time: it met a key that was due when it arrived
// (rule 10). One such entry is outstanding per shard.
func (r *replica) awaitClock(c Call) {
	if !r.group.Leading() {
		r.fail(&c, r.notLeader())
		return
	}
	r.clockWaiters = append(r.clockWaiters, c)
	if r.clockOut {
		return
	}
	r.clockOut = true
	r.proposeAdmin(apply.EncodeClock(apply.Header{Eval: apply.EvalVersion, Stamp: r.w.store.stamp(r.w.now)}), func(_ *apply.Result, err error) {
		waiters := r.clockWaiters
		r.clockWaiters, r.clockOut = nil, false
		for _, c := range waiters {
			if err != nil && err != errNoEffect {
				r.fail(&c, r.notLeader())
				continue
			}
			// The entry was committed after the read arrived, by this leader: its index confirms the read. The batch
			// is visible only at the end of the pass, so the read waits like others for that index.
			r.confirmed = append(r.confirmed, confirmedReads{index: r.machine.Applied.Index, calls: []Call{c}})
		}
	})
}

// evaluate runs a query against the data of the engine.
// needsClock: the leader must let the shard's time pass first.
func (s *Store) evaluate(r *replica, q *raw.Query, desc *shard.Descriptor, due shard.Millis) (body []byte, needsClock bool, err error) {
	var ans raw.Answer
	if q.Kind == raw.Get && len(q.Keys) == 1 {
		ans, needsClock, err = q.Run(latest{s, r}, desc.Range, 0, due)
	} else {
		ans, needsClock, err = s.evaluateView(r, q, desc, due)
	}
	if err != nil || needsClock {
		return nil, needsClock, err
	}
	return ans.Append(nil), false, nil
}
