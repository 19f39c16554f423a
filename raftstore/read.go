package raftstore

import (
	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
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

// leaseView is the view under which a read may be answered on the caller's goroutine, nil if the read must go to the
// worker.
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
	return cur != nil && cur.gen == v.gen && now < cur.lease && !r.w.store.hung.Load() && r.w.store.broke.Load() == nil
}

// caughtUp reports whether everything is visible here that may be visible anywhere.
//
// INVARIANT (rule 11): a read under a lease begins only then. A leader applies an entry once it is on its own disk, but
// commits it, and tells so, as soon as it is on the disks of a majority: behind a slow disk it is a follower, by a
// follower read, that shows an entry first, and the leader must not answer from before it. committed is stored before
// the messages that carry it leave, and is loaded before applied.
func (r *replica) caughtUp() bool {
	return r.committed.Load() <= r.applied.Load() || bug.LeaseBehindCommit.On()
}

// acceptRead queues a read that could not be answered from a lease.
func (r *replica) acceptRead(c *Call) {
	if !r.group.Leading() || r.group.Muted() {
		if c.Req.Follower && c.Req.Kind == call.Read {
			r.acceptFollowerRead(c)
			return
		}
		if !r.seek(c) {
			r.fail(c, r.notLeader())
		}
		return
	}
	if c.Req.Kind == call.Read {
		if err := r.checkEpoch(c.Req.Epoch, false); err != nil {
			r.fail(c, err)
			return
		}
	}
	if len(r.reads) >= maxWaitingReads {
		r.fail(c, &shard.ServerBusyError{Store: r.w.store.id, Why: "too many reads wait for " + r.id.String(), Wait: busyWait})
		return
	}
	r.enter(c, call.StageConfirm)
	r.reads = append(r.reads, *c)
	r.mark()
}

// startRound steps one ReadIndex for all waiting reads, or for a woken leader that is not yet confirmed.
//
// INVARIANT (rule 12): only after an entry of the leader's own term was applied here; v3.7.0 answers a sole voter
// without that check. group.ReadIndex refuses earlier, and the reads wait: applying that entry marks the replica.
func (r *replica) startRound() {
	if len(r.reads) == 0 && r.wokenAt == 0 || r.round != nil {
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
	if bug.LeaseFromAnswer.On() {
		round.at = r.w.store.env.Now()
	}
	lease := env.Time(r.group.LeaseUntil(group.Instant(round.at)))
	if r.splitting != nil && !bug.LeaseOverSplit.On() {
		// INVARIANT (rule 11 iv): no renewal while a split is proposed and unapplied. Others may have applied it, elected a
		// leader of the right side when their promise to us was over, and taken writes that are not here yet.
		lease = 0
	}
	r.publish(lease)
	for i := range round.calls {
		r.enter(&round.calls[i], call.StageCatchUp)
	}
	if len(round.calls) > 0 {
		r.confirmed = append(r.confirmed, confirmedReads{index: rd.Index, calls: round.calls})
		r.serveConfirmed()
	}
	if len(r.reads) > 0 {
		r.mark()
	}
}

// serveConfirmed hands the reads whose index is applied to the readers.
//
// INVARIANT (rule 12): applied means visible. machine.Applied runs ahead of that while a pass evaluates entries into a
// batch, and a reader that started then would read before the index that was confirmed for it.
func (r *replica) serveConfirmed() {
	for len(r.confirmed) > 0 && r.confirmed[0].index <= r.applied.Load() {
		for i := range r.confirmed[0].calls {
			c := r.confirmed[0].calls[i]
			if c.Req.Kind == call.Barrier {
				r.answerBarrier(&c)
				continue
			}
			r.enter(&c, call.StageQueue)
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
	r.tell()
	c.reply(&call.Reply{Term: r.group.Term(), Applied: r.group.Committed()})
}

// expireRound forgets a round whose answer may have been lost, and steps another one for its reads.
func (r *replica) expireRound() {
	if r.round == nil || r.w.now.Sub(r.round.at) < r.w.store.opt.electionTimeout()/2 {
		return
	}
	r.reads = append(r.round.calls, r.reads...)
	r.round = nil
	r.mark() // startRound steps the next one
}

// maybeRenew steps a round ahead of the end of a lease that is in use, so that readers do not wait for one.
func (r *replica) maybeRenew() {
	v := r.view.Load()
	if v == nil || r.round != nil || !r.group.Leading() || r.group.Transferring() || r.splitting != nil {
		return // a transfer begun, even if given up, ends leases to the end of the term
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
func (r *replica) awaitClock(c *Call) {
	if !r.group.Leading() || r.group.Muted() {
		r.fail(c, r.notLeader())
		return
	}
	if len(r.clockWaiters) >= maxWaitingReads {
		r.fail(c, &shard.ServerBusyError{Store: r.w.store.id, Why: "too many reads wait for " + r.id.String(), Wait: busyWait})
		return
	}
	r.enter(c, call.StageCatchUp)
	r.clockWaiters = append(r.clockWaiters, *c)
	r.proposeClock(c.due)
}

// proposeClock moves the shard's time to the store's stamp, and at least to atLeast, which was a stamp when a read
// arrived. The stamp of now may be less than that: it is zero while placement was not heard lately.
func (r *replica) proposeClock(atLeast shard.Millis) {
	if r.clockOut {
		return
	}
	r.clockOut = true
	stamp := max(r.w.store.stamp(r.w.now), atLeast)
	r.proposeAdmin(apply.EncodeClock(apply.Header{Eval: r.w.store.evaluation(), Stamp: stamp}), func(_ *apply.Result, err error) {
		waiters := r.clockWaiters
		r.clockWaiters, r.clockOut = nil, false
		for i := range waiters {
			c := &waiters[i]
			c.clock = false
			r.enter(c, call.StageQueue)
			if err != nil {
				r.fail(c, r.notLeader())
				continue
			}
			// A read that joined while the entry was under way may be younger than its commit, and a read under a lease
			// was not confirmed at all: each begins again, on a view in which its key is not due any more.
			r.w.acceptLeasedOrQueued(r, c)
		}
	})
}

// evaluate runs a query against the data of the engine.
// needsClock: the leader must let the shard's time pass first.
func (s *Store) evaluate(r *replica, c *Call, desc *shard.Descriptor) (got raw.Encoded, needsClock bool, err error) {
	if c.txn != nil {
		if c.txn.query.Kind == mvcc.Changes {
			got.Body, err = s.evaluateChanges(r, c, desc)
		} else {
			got.Body, err = s.evaluateTxn(r, c.txn.query, desc)
		}
		return got, false, err
	}
	if got, needsClock, err = s.evaluateRaw(r, c.query, desc, c.due); err == nil && !needsClock {
		r.load.read(c.query, got.Part, len(got.Body))
	}
	return got, needsClock, err
}

func (s *Store) evaluateRaw(r *replica, q *raw.Query, desc *shard.Descriptor, due shard.Millis) (got raw.Encoded, needsClock bool, err error) {
	if q.Kind == raw.Get && len(q.Keys) == 1 {
		got.Body, needsClock, err = s.getOne(r, q, desc, due)
		return got, needsClock, err
	}
	if q.Kind == raw.Get && len(q.Keys) <= maxInlineKeys {
		at := r.moment.now()
		got, needsClock, err = q.RunEncoded(&peeks{e: s.engine}, desc.Range, r.readTime(due), due, &buffer.Frames)
		if r.moment.still(at) {
			return got, needsClock, err
		}
	}
	return s.evaluateView(r, q, desc, due)
}

// readTime is the shard's time for a read whose stamp is due.
func (r *replica) readTime(due shard.Millis) shard.Millis {
	now := shard.Millis(r.time.Load())
	if bug.ExpiryByLocalClock.On() {
		now = max(now, due)
	}
	return now
}

// getOne gets one key as it is now, without a view.
func (s *Store) getOne(r *replica, q *raw.Query, desc *shard.Descriptor, due shard.Millis) (body []byte, needsClock bool, err error) {
	// The time is read before the value, so it is at most that of the value's index: the key as it was at that time,
	// or as it was written since.
	now := r.readTime(due)
	run := func(stored []byte, found bool) { body, needsClock, err = q.RunOne(desc.Range, stored, found, now, due) }
	found, broken := s.engine.Peek(q.Keys[0], func(v []byte) { run(v, true) })
	if broken != nil {
		return nil, false, broken
	}
	if !found {
		run(nil, false)
	}
	return body, needsClock, err
}
