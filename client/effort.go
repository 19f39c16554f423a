package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

const (
	// attemptTimeout bounds one request, so that a store that hangs does not eat the whole budget. It is above an
	// election timeout, so that a leader that is slow only because its followers are is waited for.
	attemptTimeout = 5 * time.Second
	// askTimeout bounds one question about an attempt: there are other replicas to ask.
	askTimeout = 2 * time.Second
	// shortestAttempt is below what a request that is served well may take.
	shortestAttempt = 100 * time.Millisecond
	// keptReasons of an effort stand in its error.
	keptReasons = 4
)

// errBudget ends an effort whose time is over.
var errBudget = errors.New("the retry budget is used up")

// effort is the work on one part of a call (the keys of one shard, one page of a scan): attempts, and waits between
// them, within one budget of time. Used by one task.
type effort struct {
	db   *DB
	ctx  context.Context // the caller's
	what string
	key  shard.Key // the part's first; nil: none
	// trace is told the steps; nil: nobody wants to know.
	trace *Trace

	began env.Time
	end   env.Time      // INVARIANT: nothing is sent, and no wait begins, from here on
	byCtx bool          // end is the context's deadline
	limit time.Duration // of one attempt

	now      env.Time // the clock, as of the last look
	fresh    bool     // now was just read
	attempts int
	turn     int             // next replica to try where the leader is not known; drawn at random first
	avoid    shard.ReplicaID // did not answer as the leader just now
	silent   silence         // others are asked for a later leader, see seek
	seen     [reasonCount]uint16
	last     [keptReasons]happened // a ring
	lasts    int
	shard    shard.ID      // of the last attempt
	store    shard.StoreID // of the last attempt
}

// silence is the term of a shard whose leader gave no answer; zero: none.
type silence struct {
	shard shard.ID
	term  uint64
}

// happened is one attempt that was not the last one.
type happened struct {
	store shard.StoreID
	err   error
}

// begin starts an effort. The deadline of ctx is read as a value, because only env knows the time.
func (db *DB) begin(ctx context.Context, what string, key shard.Key) effort {
	now := db.env.Now()
	e := effort{db: db, ctx: ctx, what: what, key: key, began: now, now: now, fresh: true, end: now.Add(db.budget), limit: attemptTimeout, trace: traceOf(ctx, now)}
	if at, ok := ctx.Deadline(); ok {
		if left := at.Sub(db.env.Wall()); left < db.budget {
			e.end, e.byCtx = now.Add(left), true
		}
	}
	return e
}

// over returns why the effort must end now, or nil: ErrClosed, the context's error, or errBudget.
func (e *effort) over() error {
	if e.db.closed.Load() {
		return ErrClosed
	}
	if err := e.ctx.Err(); err != nil {
		return err
	}
	if !e.fresh {
		e.now = e.db.env.Now()
	}
	e.fresh = false
	if e.now < e.end {
		return nil
	}
	if e.byCtx {
		return context.DeadlineExceeded
	}
	return errBudget
}

// share is how long a request that should be answered within limit is waited for: near the end of the time at most half
// of what is left, so that a store that hangs leaves some of it for another one.
func (e *effort) share(limit time.Duration) time.Duration {
	left := e.end.Sub(e.now)
	if limit > attemptTimeout {
		return min(limit, left) // nobody else would be faster
	}
	return min(limit, left, max(left/2, shortestAttempt))
}

// call sends one request and waits for its reply, at most for timeout.
func (e *effort) call(to shard.Replica, addr string, req *call.Request, timeout time.Duration) call.Reply {
	req.Timeout, req.Trace = timeout, e.trace != nil
	e.attempted(req.Shard, to)
	ctx, sc := e.db.scopes.enter(e.ctx, e.now.Add(req.Timeout))
	at := e.traceNow()
	rep := e.db.conn.Call(ctx, addr, to.Store, req)
	e.db.scopes.leave(sc)
	e.took(at, to, addr, req, &rep)
	return rep
}

// attempted counts an attempt.
func (e *effort) attempted(id shard.ID, to shard.Replica) {
	e.attempts++
	e.shard, e.store = id, to.Store
}

// took takes what the reply to a request, which was sent at a time, says to the whole client.
func (e *effort) took(at env.Time, to shard.Replica, addr string, req *call.Request, rep *call.Reply) {
	if rep.Term != 0 || rep.Applied != 0 {
		e.db.routes.heard(req.Shard, to, rep.Term, rep.Applied)
	}
	if rep.Err == nil {
		e.db.tokens.earn()
	} else if isContext(rep.Err) && e.ctx.Err() == nil {
		rep.Err = fmt.Errorf("no answer in %s: %w", req.Timeout.Round(time.Millisecond), shard.ErrUnavailable)
	}
	e.tracedAttempt(at, to, addr, req, rep)
}

// errLane is why a write waits that was not sent yet.
var errLane = errors.New("as much as may be is under way to the store from this client")

// wait takes room in a lane, which the caller gives back. It returns why the effort must end instead, or nil.
func (e *effort) wait(l *lane, room *slot, command int) error {
	l.take(room, command, e.began, e.now, e.end)
	if room.turn == nil {
		return nil
	}
	ctx, sc := e.db.scopes.enter(e.ctx, e.end)
	at := e.traceNow()
	_ = room.turn.Wait(ctx, 0)
	e.db.scopes.leave(sc)
	e.traced(at, TraceStep{Kind: TracePause, Err: errLane})
	given := l.leave(room, e.db.env.Now())
	e.fresh = false
	stop := e.over()
	if stop == nil && !given {
		stop = errBudget // its scope ended a moment before its time
	}
	if stop != nil {
		e.note(errLane)
		if given {
			l.give(room, e.db.env.Now(), false)
		}
	}
	return stop
}

// pick chooses the replica to send to: the leader if it is known, else one after the other. A follower read goes to
// those that do not lead.
func (e *effort) pick(rt *route, follower bool) shard.Replica {
	if !follower && rt.leader.ID != 0 {
		return rt.leader
	}
	reps := rt.desc.Replicas
	if len(reps) == 0 {
		return shard.Replica{}
	}
	if e.turn == 0 {
		e.turn = int(e.db.env.Rand() % uint64(len(reps)))
	}
	for range reps {
		rep := reps[e.turn%len(reps)]
		e.turn++
		switch {
		case rep.ID == e.avoid, rep.Role == shard.Learner && !follower, follower && rep.ID == rt.leader.ID:
			continue
		}
		return rep
	}
	return reps[e.turn%len(reps)]
}

// reach finds the address of a replica's store. If there is none, it pauses and returns false.
func (e *effort) reach(to shard.Replica) (addr string, ok bool, stop error) {
	if addr, ok := e.db.routes.address(to.Store); ok && to.ID != 0 {
		return addr, true, nil
	}
	return "", false, e.pause(noAddress, fmt.Errorf("the address of %s is not known", to.Store), 0)
}

// learn takes the lesson of a refusal, or of silence, for all and for rt, and pauses. It returns why the effort must end, or nil.
func (e *effort) learn(rt *route, to shard.Replica, err error) error {
	if e.ctx.Err() != nil {
		e.note(err)
		return e.over() // who was not waited for is not to blame
	}
	why, floor := classify(err), time.Duration(0)
	r := e.db.routes
	e.avoid = 0
	id := rt.desc.ID
	switch why {
	case noLeader:
		e.avoid = to.ID
		var nl *shard.NotLeaderError
		errors.As(err, &nl)
		r.notLeader(id, to, nl)
		rt.leader = shard.Replica{}
		if nl.Leader.ID != 0 && nl.Leader.ID != to.ID {
			why, rt.leader = movedLeader, nl.Leader
		}
	case staleRoute:
		var stale *shard.StaleEpochError
		errors.As(err, &stale)
		from := shard.StoreID(0)
		if rt.leader.ID == to.ID {
			from = to.Store
		}
		r.insert(stale.Current, from)
	case busy:
		var b *shard.ServerBusyError
		errors.As(err, &b)
		floor = max(0, b.Wait)
	case outdated:
		var ref *shard.RefreshError
		errors.As(err, &ref)
		e.refreshed(id, rt, to, ref)
	case noReason, unanswered, stoppedStore, notThere:
		e.avoid = to.ID
		if why != notThere && rt.leader.ID == to.ID {
			e.silent = silence{rt.desc.ID, rt.term}
		}
		r.forgetLeader(id, to)
		rt.leader = shard.Replica{}
	}
	return e.pause(why, err, floor)
}

// refreshed believes the leader's own term, unless it is an old leader's; if nobody else shows up, also then.
func (e *effort) refreshed(id shard.ID, rt *route, to shard.Replica, ref *shard.RefreshError) {
	if ref.Term < rt.term && e.seen[outdated] < reloadingAfter {
		e.db.routes.forgetLeader(id, to)
		return
	}
	e.db.routes.resetTerm(id, to, ref.Term, ref.Applied)
}

// pause notes why the last attempt was not the last one, and waits as that reason asks for. It returns why the effort
// must end, or nil.
func (e *effort) pause(why reason, err error, floor time.Duration) error {
	e.note(err)
	n := int(e.seen[why])
	e.seen[why]++
	if stop := e.over(); stop != nil {
		return stop
	}
	wait := floor + e.jitter(why, n)
	if why != lockedOut && why != conflicted {
		wait = max(wait, e.db.tokens.take(e.now)) // those two are other callers' doing, and no outage
	}
	if wait > 0 {
		ctx, sc := e.db.scopes.enter(e.ctx, 0)
		at := e.traceNow()
		_ = e.db.env.Sleep(ctx, min(wait, e.end.Sub(e.now)))
		e.traced(at, TraceStep{Kind: TracePause, Err: err})
		e.db.scopes.leave(sc)
	}
	if why.reloads() && (n+1)%reloadingAfter == 0 && e.key != nil {
		_ = e.load(e.key) // a hint: without it the next attempt goes by what is known
	}
	return e.over()
}

// note keeps why an attempt was not the last one.
func (e *effort) note(err error) {
	e.last[e.lasts%keptReasons] = happened{store: e.store, err: err}
	e.lasts++
}

// jitter draws the wait before attempt n of a reason.
func (e *effort) jitter(why reason, n int) time.Duration {
	free, base, longest := why.backoff()
	if n < free {
		return 0
	}
	ceil := longest
	if shift := n - free; shift < 16 {
		ceil = min(longest, base<<shift)
	}
	return time.Duration(e.db.env.Rand() % uint64(ceil))
}

// fail makes the error of an effort that ends with this kind.
func (e *effort) fail(kind, cause error) *Error {
	err := &Error{Op: e.what, Shard: e.shard, Store: e.store, Attempts: e.attempts, Elapsed: e.db.env.Now().Sub(e.began),
		Hint: hint(kind), Kind: kind, Cause: cause}
	if e.key != nil {
		err.Key = userOf(e.key)
	}
	for i := max(0, e.lasts-keptReasons); i < e.lasts; i++ {
		h := &e.last[i%keptReasons]
		text := h.err.Error()
		if h.store != 0 {
			text = h.store.String() + ": " + text
		}
		err.Reasons = append(err.Reasons, text)
	}
	return err
}

// stopped makes the error of an effort that over ended while nothing was in the air: nothing happened.
func (e *effort) stopped(why error) *Error {
	switch {
	case why == ErrClosed:
		return e.fail(ErrClosed, nil)
	case errors.Is(why, context.Canceled):
		return e.fail(why, nil)
	}
	if n := e.lasts; n > 0 && isForeign(e.last[(n-1)%keptReasons].err) {
		err := e.fail(ErrUnavailable, fmt.Errorf("%w: %w", why, e.last[(n-1)%keptReasons].err)) // that somebody has to do something about
		err.Hint = "nothing happened; an address is another cluster's by now: give the client the addresses of this one"
		return err
	}
	return e.fail(ErrUnavailable, why)
}
