package client

import (
	"errors"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// attempt is a transaction's command on its way to one shard. It is sent again after anything that is not an answer: it is
// known by its keys and start timestamp (rule T7).
type attempt struct {
	// unsure: some attempt was not answered and may have been, or may yet be, executed.
	unsure bool
	// wait is what the leader does with a lock that another transaction holds.
	wait call.LockWait
	// lazy: the first attempt may wait for company.
	lazy bool
}

// command sends cmd to the shard that holds t until it is answered. The error is errOutgrown if the part must be cut
// again, a *shard.UseTwoPhaseError as it came, and else an *Error. Nothing happened, unless a is unsure.
func (e *effort) command(t *target, cmd mvcc.Command, a *attempt) (*mvcc.Result, error) {
	if err := cmd.Check(); err != nil {
		return nil, e.fail(ErrInvalid, err)
	}
	body := cmd.Append(nil)
	for {
		var rt route
		to, addr, ok, err := e.goal(t, false, &rt)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		rep := e.call(to, addr, &call.Request{Kind: call.Write, Shard: rt.desc.ID, Epoch: rt.desc.Epoch, Wait: a.wait, Lazy: a.lazy, Body: body}, e.share(e.limit))
		a.lazy = false
		if rep.Err == nil {
			res, err := mvcc.DecodeResult(rep.Body)
			if err != nil {
				a.unsure = true
				return nil, e.fail(ErrInvalid, err)
			}
			return res, nil
		}
		if as[*shard.UseTwoPhaseError](rep.Err) {
			e.note(rep.Err)
			return nil, rep.Err
		}
		if isRejected(rep.Err) {
			return nil, e.fail(ErrInvalid, rep.Err)
		}
		switch classify(rep.Err) {
		case unanswered, stoppedStore, noReason:
			a.unsure = true
		}
		if stop := e.learn(&rt, to, rep.Err); stop != nil {
			return nil, e.stopped(stop)
		}
	}
}

// isUseTwoPhase reports that a leader cannot compute a commit timestamp now, and that this is all: an *Error that was made of
// it says what became of a call, which may have taken place before by another leader.
func isUseTwoPhase(err error) bool { return as[*shard.UseTwoPhaseError](err) && !as[*Error](err) }

// overKeys executes f for sorted keys, one part per shard at a time and several in parallel, and returns the first error by
// key.
func (db *DB) overKeys(e *effort, keys []shard.Key, f func(e *effort, t *target, part []shard.Key) error) error {
	if len(keys) == 1 {
		t := keyTarget(keys[0])
		if err := f(e, &t, keys); !errors.Is(err, errOutgrown) {
			return err
		}
	}
	items := make([]item, len(keys))
	for i, k := range keys {
		items[i].pos, items[i].op.Key = i, k
	}
	errs := make([]error, len(keys))
	b := batch{db: db, ctx: e.ctx, what: e.what, errs: errs, maxOps: partGets}
	b.do = func(e *effort, part []item) error {
		list := make([]shard.Key, len(part))
		for i := range part {
			list[i] = part[i].op.Key
		}
		t := target{first: list[0], last: list[len(list)-1]}
		return f(e, &t, list)
	}
	b.run(items, e)
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
