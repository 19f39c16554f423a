package client

import (
	"errors"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// errOutgrown says that a part no longer fits one shard. Nothing of it is in the air: it is cut again.
var errOutgrown = errors.New("the keys lie in more than one shard by now")

// errNoShard is noted while placement answers but knows no shard for the key.
var errNoShard = errors.New("placement knows no shard for this key yet")

// route finds the shard of t's first key, by asking placement if it must. The error is why the effort must end.
func (e *effort) route(t *target) (route, error) {
	for {
		if stop := e.over(); stop != nil {
			return route{}, stop
		}
		if rt, ok := e.db.routes.find(t); ok {
			e.tracedRoute(&rt)
			return rt, nil
		}
		k := t.first
		if t.before {
			k = justBefore(k)
		}
		err := e.load(k)
		if rt, ok := e.db.routes.find(t); ok {
			e.tracedRoute(&rt)
			return rt, e.over()
		}
		if err == nil {
			err = errNoShard
		}
		if stop := e.pause(noRoute, err, 0); stop != nil {
			return route{}, stop
		}
	}
}

// load asks placement for the routes around a key.
func (e *effort) load(k shard.Key) error {
	at := e.traceNow()
	err := e.db.place.load(e, k)
	e.traced(at, TraceStep{Kind: TraceLocate, Err: err})
	return err
}

// read sends a query until somebody answers it. Reads have no effect, so whatever went wrong is simply tried again. It
// returns errOutgrown if the part must be cut again, and else an *Error.
func (e *effort) read(t *target, body []byte, follower bool) ([]byte, error) {
	rep, err := e.fetch(t, call.Request{Kind: call.Read, Follower: follower, Body: body})
	return rep.Body, err
}

// fetch is read with the whole reply. Each attempt has a request of its own, which says to which shard it goes: one that was given up may
// still be on its way.
func (e *effort) fetch(t *target, req call.Request) (call.Reply, error) {
	for {
		var rt route
		to, addr, ok, err := e.goal(t, req.Follower, &rt)
		if err != nil {
			return call.Reply{}, err
		}
		if !ok {
			continue
		}
		attempt := req
		attempt.Shard, attempt.Epoch = rt.desc.ID, rt.desc.Epoch
		rep := e.call(to, addr, &attempt, e.share(e.limit))
		if rep.Err == nil {
			return rep, nil
		}
		if err := e.refused(&rt, to, rep.Err, &req.Follower); err != nil {
			return call.Reply{}, err
		}
	}
}

// goal finds the replica that the next attempt goes to, the leader of the shard that holds t unless a follower will do, and the
// route to it. Not ok: something was learnt, and goal is to be called again. The error is errOutgrown if the part must be cut again,
// and else an *Error.
func (e *effort) goal(t *target, follower bool, rt *route) (to shard.Replica, addr string, ok bool, err error) {
	found, stop := e.route(t)
	if stop != nil {
		return to, "", false, e.stopped(stop)
	}
	if *rt = found; !t.fits(rt.desc) {
		return to, "", false, errOutgrown
	}
	if !follower && e.seeks(rt) {
		if ok, err = e.seek(rt); !ok {
			return to, "", false, err
		}
	}
	to = e.pick(rt, follower)
	if addr, ok, stop = e.reach(to); stop != nil {
		return to, "", false, e.stopped(stop)
	}
	return to, addr, ok, nil
}

// refused takes the lesson of an attempt to read that failed, and pauses; it may send a follower read to the leader. It returns the
// *Error with which the effort must end, or nil.
func (e *effort) refused(rt *route, to shard.Replica, why error, follower *bool) error {
	if isRejected(why) {
		return e.fail(ErrInvalid, why)
	}
	if as[*shard.NotLeaderError](why) {
		*follower = false // a follower passes on what only the leader can answer: a key whose life may be over
	}
	if stop := e.learn(rt, to, why); stop != nil {
		return e.stopped(stop)
	}
	return nil
}

// seeks reports whether the leader must be looked for: it is not known, because it gave no answer. Whom one sent the request itself
// would name it again.
func (e *effort) seeks(rt *route) bool { return rt.leader.ID == 0 && e.silent.of(rt) != 0 }

// of is the term whose leader was silent, if that was rt's shard; else 0.
func (s silence) of(rt *route) uint64 {
	if s.shard != rt.desc.ID {
		return 0
	}
	return s.term
}

// seek hears who leads, in which term, and an applied index, for rt. If the leader of a term gave no answer, the replica that is
// asked says so once it knows of a later one. It reports whether rt names a leader now: else another route may. An error is an
// *Error.
func (e *effort) seek(rt *route) (found bool, err error) {
	to := e.pick(rt, false)
	addr, ok, stop := e.reach(to)
	if stop != nil {
		return false, e.stopped(stop)
	}
	if !ok {
		return false, nil
	}
	silent := e.silent.of(rt)
	rep := e.call(to, addr, &call.Request{Kind: call.Refresh, Shard: rt.desc.ID, Epoch: rt.desc.Epoch, Term: silent}, e.share(askTimeout))
	var nl *shard.NotLeaderError
	if silent != 0 && (rep.Term > silent || errors.As(rep.Err, &nl) && nl.Term > silent) {
		e.silent = silence{} // whoever leads in that term, it is another one
	}
	if rep.Err == nil {
		rt.leader, rt.term, rt.applied = to, max(rt.term, rep.Term), max(rt.applied, rep.Applied)
		return true, nil
	}
	if isRejected(rep.Err) {
		return false, e.fail(ErrInvalid, rep.Err)
	}
	if stop := e.learn(rt, to, rep.Err); stop != nil {
		return false, e.stopped(stop)
	}
	return false, nil
}
