package client

import (
	"errors"
	"sync"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// prewrites are the prewrites of one transaction, one part per shard, several at once.
type prewrites struct {
	c    *committer
	one  attempt // at one phase
	sent bool    // a prewrite that may leave locks was sent

	mu        sync.Mutex
	failed    bool
	hopeless  bool      // with failed: the transaction can never be committed
	plain     bool      // a part's locks are not those of an async commit
	least     Timestamp // the largest least commit timestamp of those that are
	committed Timestamp // it turned out to be committed
}

// errGivenUp ends a part because another one failed.
var errGivenUp = errors.New("another part of the transaction failed")

func (p *prewrites) bytes() int {
	n := 0
	for i := range p.c.muts {
		n += len(p.c.muts[i].Key) + len(p.c.muts[i].Value)
	}
	return n
}

// async reports whether the transaction is committed by its locks.
func (p *prewrites) async() bool { return !p.plain && p.c.mode == mvcc.Async }

func (p *prewrites) run() error {
	c := p.c
	p.sent = true
	if c.mode == mvcc.TwoPhase {
		p.plain = true
		p.hopeless = !p.one.unsure // until the Commit is sent, which only run's caller does
	}
	items := make([]item, len(c.muts))
	for i := range c.muts {
		items[i].pos, items[i].op.Key, items[i].op.Value = i, c.muts[i].Key, c.muts[i].Value
	}
	errs := make([]error, len(items))
	b := batch{db: c.db, ctx: c.t.ctx, what: c.e.what, errs: errs, maxOps: partGets}
	b.do = func(e *effort, part []item) error {
		err := p.part(e, c.muts[part[0].pos:part[len(part)-1].pos+1])
		if err != nil && !errors.Is(err, errOutgrown) {
			p.mu.Lock()
			p.failed = true
			p.mu.Unlock()
		}
		return err
	}
	b.run(items, c.e)
	var first error
	for _, err := range errs {
		if err != nil && !errors.Is(err, errGivenUp) {
			return err
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// part prewrites what lies in one shard.
func (p *prewrites) part(e *effort, muts []mvcc.Mutation) error {
	t := target{first: muts[0].Key, last: muts[len(muts)-1].Key}
	mode := p.c.mode
	var a attempt // of all of these keys, in any mode and cut in any way
	for {
		p.mu.Lock()
		stop := p.failed
		p.mu.Unlock()
		if stop {
			p.ended(&a, false)
			return errGivenUp
		}
		res, err := e.command(&t, p.c.prewrite(mode, muts), &a)
		switch {
		case isUseTwoPhase(err) && mode != mvcc.TwoPhase:
			mode = mvcc.TwoPhase
			continue
		case errors.Is(err, errOutgrown):
			// The parts are sent again as they are now: what was applied of this one answers as it did.
			p.cutAgain(&a)
			return err
		case err != nil:
			p.ended(&a, false)
			return err
		case len(res.Rejected) == 0:
			return p.done(e, &t, muts, mode, &a, res)
		}
		if final, err := p.c.refused(e, res.Rejected, false); err != nil {
			p.ended(&a, final)
			return err
		}
	}
}

// cutAgain remembers that a part whose fate is not known is sent again in other pieces.
func (p *prewrites) cutAgain(a *attempt) {
	if a.unsure {
		p.mu.Lock()
		p.one.unsure = true
		p.mu.Unlock()
	}
}

// ended notes that a part has failed. If none of its keys is locked, and none can be by what was sent, all is over.
func (p *prewrites) ended(a *attempt, final bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if final || !a.unsure && !p.one.unsure {
		p.hopeless = true
	}
}

// done takes the answer of a part that is prewritten.
func (p *prewrites) done(e *effort, t *target, muts []mvcc.Mutation, mode mvcc.Mode, a *attempt, res *mvcc.Result) error {
	async, least := res.Async, res.MinCommitTS
	if mode == mvcc.TwoPhase && p.c.mode == mvcc.Async && res.CommitTS == 0 && p.doubtful(a) {
		// An earlier, unanswered prewrite of an async commit may be what was found. The locks say.
		v, plain, err := e.askKeys(p.c.start, 0, keysOf(muts))
		if err != nil {
			return err
		}
		if v.commit == 0 {
			return e.conflictOf(&mvcc.Rejected{Key: t.first, StartTS: p.c.start}, "this transaction was rolled back by one that met its locks")
		}
		async, least = !plain, v.commit
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case res.CommitTS != 0:
		p.committed = res.CommitTS
	case async:
		p.least = max(p.least, least)
	default:
		p.plain = true
	}
	return nil
}

// doubtful reports whether prewrites of a part's keys may have been applied without an answer.
func (p *prewrites) doubtful(a *attempt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return a.unsure || p.one.unsure
}

func keysOf(muts []mvcc.Mutation) []shard.Key {
	out := make([]shard.Key, len(muts))
	for i := range muts {
		out[i] = muts[i].Key
	}
	return out
}
