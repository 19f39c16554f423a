package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// goneAfter so many rounds over all replicas in which every store said that it holds no such shard, the shard is gone,
// and its log, the only memory of the attempt, with it.
const goneAfter = 3

// write is one command on its way to its shard. Its state moves by writeTable only. It knows at most one attempt at a time.
type write struct {
	e     *effort
	t     *target
	cmd   *raw.Command
	body  []byte // its encoding; nil: nothing was sent yet
	state writeState

	rt route
	// The attempt in the air, or the last one. Its Op, Term and Since stay what they were when it is asked about.
	req     call.Request
	lost    error // why the attempt was not answered
	verdict error // a rejection that came without proof that the attempt was not proposed
	missing int   // stores in a row that do not hold the shard, while asking

	res raw.Result
	err error // an *Error, or errOutgrown
}

// write executes a command in the one shard that holds t, at most once. It returns errOutgrown if the part must be cut
// again, and else an *Error.
func (e *effort) write(t *target, cmd *raw.Command) (raw.Result, error) {
	w := write{e: e, t: t, cmd: cmd}
	for w.state != done {
		if err := writeTable.Turn(&w.state, w.step(), e.db.coverage); err != nil {
			return raw.Result{}, e.fail(ErrAmbiguous, err)
		}
	}
	return w.res, w.err
}

func (w *write) step() writeEvent {
	switch w.state {
	case cutting:
		return w.cut()
	case refreshing:
		return w.refresh()
	case sending:
		return w.send()
	}
	return w.ask()
}

// cut finds the shard by current routes.
func (w *write) cut() writeEvent {
	rt, stop := w.e.route(w.t)
	if stop != nil {
		return w.stop(stop)
	}
	w.rt = rt
	if !w.t.fits(rt.desc) {
		w.err = errOutgrown
		return outgrown
	}
	if rt.leader.ID == 0 || rt.term == 0 || rt.applied == 0 {
		return untold
	}
	return routed
}

// refresh hears the leader's term and applied index, which also finds the leader.
func (w *write) refresh() writeEvent {
	found, err := w.e.seek(&w.rt)
	switch {
	case errors.Is(err, ErrInvalid):
		w.err = err
		return rejected
	case err != nil:
		w.err = err
		return timeOver
	case found:
		return w.pass(routed)
	}
	return refused
}

// pass is on, unless the effort must end now.
func (w *write) pass(on writeEvent) writeEvent {
	if stop := w.e.over(); stop != nil {
		return w.stop(stop)
	}
	return on
}

// send sends one attempt.
func (w *write) send() writeEvent {
	to := w.rt.leader
	addr, ok, stop := w.e.reach(to)
	if stop != nil {
		return w.stop(stop)
	}
	if !ok {
		w.e.db.routes.forgetLeader(w.rt.desc.ID, to)
		return refused
	}
	lane := w.e.db.lanes.lane(to.Store)
	var room slot
	if stop := w.e.wait(lane, &room, w.cmd.Bytes()); stop != nil {
		return w.stop(stop)
	}
	if room.turn != nil && !w.still(to) {
		lane.give(&room, w.e.db.env.Now(), false)
		return refused
	}
	if w.body == nil {
		w.body = w.cmd.Append(nil)
	}
	// INVARIANT: every attempt has an id of its own.
	w.req = call.Request{Kind: call.Write, Shard: w.rt.desc.ID, Epoch: w.rt.desc.Epoch, Term: w.rt.term, Since: w.rt.applied,
		Op: call.OpID{Client: w.e.db.client, Seq: w.e.db.seq.Add(1)}, Body: w.body}
	w.missing, w.verdict = 0, nil
	rep := w.e.call(to, addr, &w.req, w.patience())
	lane.give(&room, w.e.db.env.Now(), rep.Err == nil)
	if rep.Err == nil {
		return w.result(&rep)
	}
	switch why := classify(rep.Err); {
	case isUnknown(rep.Err):
		return w.ambiguous(rep.Err)
	case isRejected(rep.Err) && rep.Term != 0:
		w.err = w.e.fail(ErrInvalid, rep.Err)
		return rejected
	case why == noReason, why == unanswered, why == stoppedStore:
		return w.unheard(to, rep.Err)
	}
	if stop := w.e.learn(&w.rt, to, rep.Err); stop != nil {
		return w.stop(stop)
	}
	return refused
}

// still takes what is known of the shard now that the write has waited: an applied index of before may be older than what the leader
// answers for. It reports whether the same replica leads the same shard.
func (w *write) still(to shard.Replica) bool {
	rt, ok := w.e.db.routes.get(w.rt.desc.ID)
	if !ok || rt.leader.ID != to.ID || rt.desc.Epoch != w.rt.desc.Epoch || rt.term == 0 || rt.applied == 0 {
		return false
	}
	w.rt = rt
	return true
}

// patience is how long an attempt is waited for: a quarter of what is left is kept for asking what became of it.
func (w *write) patience() time.Duration {
	return min(w.e.limit, w.e.end.Sub(w.e.now)*3/4)
}

// unheard is an attempt without an answer of its own. A rejection is none if it came without the leader's term: the
// stream may have been ended by it, and the attempt was on that stream.
func (w *write) unheard(to shard.Replica, err error) writeEvent {
	w.lost = err
	if isRejected(err) {
		w.verdict = err
	}
	if bug.SendAgain.On() && w.e.over() == nil {
		w.e.db.routes.forgetLeader(w.rt.desc.ID, to)
		return refused
	}
	if stop := w.e.learn(&w.rt, to, err); stop != nil {
		return w.lostTrack(stop)
	}
	return silent
}

// ask asks what became of the attempt. The question goes by the shard's id, whatever its range is by now.
func (w *write) ask() writeEvent {
	if stop := w.e.over(); stop != nil {
		return w.lostTrack(stop)
	}
	if rt, ok := w.e.db.routes.get(w.req.Shard); ok {
		w.rt = rt
	}
	to := w.e.pick(&w.rt, false)
	addr, ok, stop := w.e.reach(to)
	if stop != nil {
		return w.lostTrack(stop)
	}
	if !ok {
		w.e.db.routes.forgetLeader(w.req.Shard, to)
		return silent
	}
	req := call.Request{Kind: call.Outcome, Shard: w.req.Shard, Op: w.req.Op, Term: w.req.Term, Since: w.req.Since}
	rep := w.e.call(to, addr, &req, w.e.share(askTimeout))
	return w.heard(to, &rep)
}

// heard takes the answer to a question. An error that came with the leader's term is the attempt's own, from when it
// was applied; without one it says only why this replica cannot answer.
func (w *write) heard(to shard.Replica, rep *call.Reply) writeEvent {
	err := rep.Err
	if err == nil {
		return w.result(rep)
	}
	var nev *call.NeverError
	own := rep.Term != 0
	switch why := classify(err); {
	case errors.As(err, &nev) && nev.Op == w.req.Op:
		w.e.db.routes.answers(w.req.Shard, to) // only a leader may say so
		return w.neverHappened(err)
	case isUnknown(err):
		return w.ambiguous(err)
	case own && isRejected(err):
		w.err = w.e.fail(ErrInvalid, err)
		return rejected
	case own && (why == staleRoute || why == noTime || why == cutWrong):
		if stop := w.e.learn(&w.rt, to, err); stop != nil {
			return w.stop(stop)
		}
		return refused
	}
	if w.isGone(err) {
		return w.ambiguous(fmt.Errorf("%s is gone: %w", w.req.Shard, err))
	}
	if stop := w.e.learn(&w.rt, to, err); stop != nil {
		return w.lostTrack(stop)
	}
	return silent
}

// neverHappened ends an attempt. If it was rejected on the way, that is now the answer.
func (w *write) neverHappened(err error) writeEvent {
	if w.verdict != nil {
		w.err = w.e.fail(ErrInvalid, w.verdict)
		return rejected
	}
	if stop := w.e.pause(neverHappened, err, 0); stop != nil {
		return w.stop(stop) // not ambiguous: it is known that nothing happened
	}
	return never
}

func (w *write) isGone(err error) bool {
	if !as[*shard.NotFoundError](err) {
		w.missing = 0
		return false
	}
	w.missing++
	return w.missing >= goneAfter*max(1, len(w.rt.desc.Replicas))
}

func (w *write) result(rep *call.Reply) writeEvent {
	res, err := raw.DecodeResult(rep.Body)
	if err != nil {
		return w.ambiguous(fmt.Errorf("the store's answer cannot be read, use a client of the cluster's version: %w", err))
	}
	w.res = res
	return applied
}

// stop ends a write of which nothing is in the air.
func (w *write) stop(why error) writeEvent {
	w.err = w.e.stopped(why)
	return timeOver
}

// lostTrack ends a write whose attempt is in the air.
func (w *write) lostTrack(why error) writeEvent {
	if why == ErrClosed {
		why = errors.New("the client was closed meanwhile") // ErrClosed itself would say that nothing happened
	}
	if w.lost != nil && !isContext(w.lost) {
		why = fmt.Errorf("%w (the attempt itself: %w)", why, w.lost)
	}
	w.err = w.e.fail(ErrAmbiguous, why)
	return timeOver
}

func (w *write) ambiguous(err error) writeEvent {
	w.err = w.e.fail(ErrAmbiguous, err)
	return unknown
}
