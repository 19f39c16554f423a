package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

const (
	// asyncKeyBytes bounds the keys of an async commit: the primary's lock lists them all.
	asyncKeyBytes = 4 << 10
	// maxRevalidations bounds how often a serializable transaction looks at its reads again because its commit timestamp was
	// overtaken.
	maxRevalidations = 8
)

// Commit writes what the transaction means to write, all or nothing, and returns when that is decided. ErrConflict: another
// transaction stood in the way, and nothing was written. ErrAmbiguous: what was sent was not answered in time; it may have
// been committed, or may yet be. Any other error says that nothing was written.
func (t *Txn) Commit() error {
	e := t.db.begin(t.ctx, t.what+": commit", nil)
	if t.over {
		return e.fail(ErrTxnDone, nil)
	}
	t.over = true
	if t.readOnly || len(t.buf.writes) == 0 && len(t.buf.held) == 0 {
		return nil
	}
	if k, p, ok := t.loneAdd(); ok {
		err := t.addAlone(&e, k, p.delta)
		if !isUseTwoPhase(err) {
			return t.note(err)
		}
	}
	if err := t.materialize(); err != nil {
		t.release()
		return t.note(err)
	}
	if t.v.ts == 0 {
		if err := t.started(&e); err != nil {
			return err
		}
		t.fresh = true
	}
	c := newCommitter(t, &e)
	err := c.run()
	t.db.keeper.drop(t.kept)
	t.commitTS = c.commitTS
	return t.note(err)
}

// loneAdd is the one addition that a transaction consists of, if it is nothing else.
func (t *Txn) loneAdd() (shard.Key, pending, bool) {
	if len(t.buf.writes) != 1 || len(t.buf.held) > 0 || t.reads.beyond(nil, nil) {
		return nil, pending{}, false
	}
	// in any order: there is one
	for k, p := range t.buf.writes {
		return shard.Key(k), p, p.kind == writeAdd
	}
	return nil, pending{}, false
}

// addAlone adds blindly, in a transaction of its own: whatever was read before, under snapshot isolation, has no bearing on
// it. The error is a *shard.UseTwoPhaseError if it must be done in another way, and nothing was done.
func (t *Txn) addAlone(e *effort, k shard.Key, delta int64) error {
	start, err := e.stamp()
	if err != nil {
		return err
	}
	e.key = k
	tg := keyTarget(k)
	var a attempt
	for {
		res, err := e.command(&tg, &mvcc.Add{StartTS: start, MaxCommitTS: mvcc.MaxTimestamp >> 1, Key: k, Delta: delta}, &a)
		switch {
		case err != nil:
			return t.addFailed(e, k, start, &a, err)
		case len(res.Rejected) == 0:
			t.commitTS = res.CommitTS
			return nil
		}
		x := res.Rejected[0]
		if x.Reason == mvcc.TooOld && a.unsure {
			return e.ambiguous(e.refusal(x)) // an earlier attempt may have been committed, superseded and collected
		}
		if x.Reason != mvcc.Locked || x.Lock == nil {
			return e.refusal(x)
		}
		if err := e.waitFor([]mvcc.LockInfo{*x.Lock}, start, true, false); err != nil {
			return t.addFailed(e, k, start, &a, err)
		}
	}
}

// addFailed finds out whether an addition that ended with err took place after all.
func (t *Txn) addFailed(e *effort, k shard.Key, start Timestamp, a *attempt, err error) error {
	if !a.unsure {
		return err
	}
	v, dead := e.burial(start, k)
	switch {
	case dead != nil:
		return e.ambiguous(err)
	case v.commit != 0:
		t.commitTS = v.commit
		return nil
	}
	return err
}

// materialize turns additions into puts, under locks on the counters.
func (t *Txn) materialize() error {
	var keys []shard.Key
	for _, w := range t.buf.within(shard.ModeRange(shard.ModeTxn)) {
		if w.kind == writeAdd {
			keys = append(keys, w.key)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	t.over = false // the commit goes on
	defer func() { t.over = true }()
	rows := make([]mvcc.Row, len(keys))
	if err := t.lock("add", keys, rows); err != nil {
		return err
	}
	for i, k := range keys {
		v, ok := counterPlus(rows[i].Value, rows[i].Found, t.buf.writes[string(k)].delta)
		if !ok {
			return refuse(t.what+": add", userOf(k), ErrNotCounter, "", "put 8 bytes, big-endian, first, or delete the key")
		}
		t.buf.put(k, pending{kind: writePut, value: v})
	}
	return nil
}

// committer commits one transaction. Used by the task that called Commit; parts of prewrites report to prewrites.
type committer struct {
	t         *Txn
	db        *DB
	e         *effort
	start     Timestamp
	forUpdate Timestamp
	primary   shard.Key
	muts      []mvcc.Mutation // in the order of keys
	keys      []shard.Key     // theirs
	whole     bool            // one phase may be tried
	mode      mvcc.Mode       // with which prewrites in more phases begin
	pw        prewrites
	commitTS  Timestamp // once it is decided
}

func newCommitter(t *Txn, e *effort) *committer {
	c := &committer{t: t, db: t.db, e: e, start: t.v.ts, forUpdate: t.forUpdate, primary: t.primary, muts: t.buf.mutations()}
	bytes := 0
	for i := range c.muts {
		c.keys = append(c.keys, c.muts[i].Key)
		bytes += len(c.muts[i].Key)
	}
	if c.primary == nil {
		c.primary = c.keys[0]
	}
	e.key = c.primary
	c.pw.c = c
	c.mode = mvcc.Async
	c.whole = len(c.keys) <= partGets && c.pw.bytes() <= partBytes
	if len(c.keys) > mvcc.MaxSecondaries || bytes > asyncKeyBytes {
		c.mode = mvcc.TwoPhase
	}
	if t.reads.beyond(c.muts, c.t.buf.held) {
		c.whole, c.mode = false, mvcc.TwoPhase // what was read is validated between the phases
	}
	return c
}

// run takes the transaction to its end.
func (c *committer) run() error {
	if c.t.reads != nil && c.t.reads.full {
		c.t.release()
		return c.e.fail(ErrTxnTooLarge, fmt.Errorf("more than %d keys or pages were read under Serializable", maxReadSet))
	}
	if err := c.keepOrder(); err != nil {
		c.t.release()
		return err
	}
	err := c.onePhase()
	if errors.Is(err, errOutgrown) {
		if bug.OnePhaseOfMany.On() {
			c.mode = mvcc.OnePhase
		}
		err = c.phases()
	}
	return err
}

// keepOrder has a computed commit timestamp lie above everything that was committed before the commit began: the start
// may be older than that. In two phases the commit timestamp is fetched anyway.
//
// INVARIANT: a transaction with pessimistic locks is not spared it. Its locks may have waited and been given to it as of a
// version above its for-update timestamp (raftstore, grant), which nobody else's timestamp makes it lie above. That version's
// commit may be a computed one, of the largest timestamp issued: one above it is fetched, not computed.
func (c *committer) keepOrder() error {
	if !c.whole && c.mode == mvcc.TwoPhase || c.t.fresh || c.t.o.causal && !c.t.locked {
		return nil
	}
	ts, err := c.e.stamp()
	if err != nil {
		return err
	}
	c.forUpdate = max(c.forUpdate, ts)
	return nil
}

// onePhase commits in one phase if all keys lie in one shard. It returns errOutgrown if they do not, or if the leader
// cannot do it now.
func (c *committer) onePhase() error {
	if !c.whole {
		return errOutgrown
	}
	t := target{first: c.keys[0], last: c.keys[len(c.keys)-1]}
	cmd := c.prewrite(mvcc.OnePhase, c.muts)
	a := &c.pw.one
	for {
		res, err := c.e.command(&t, cmd, a)
		switch {
		case isUseTwoPhase(err):
			c.mode = mvcc.TwoPhase
			return errOutgrown
		case errors.Is(err, errOutgrown):
			return err
		case err != nil:
			return c.abandon(err, !a.unsure)
		case len(res.Rejected) == 0:
			c.commitTS = res.CommitTS
			return nil
		}
		if final, err := c.refused(c.e, res.Rejected, true); err != nil {
			return c.abandon(err, final || !a.unsure)
		}
	}
}

// refused deals with what stands against a prewrite. Without an error it may be tried again; final says that it never can
// succeed, however often and late it is repeated.
func (c *committer) refused(e *effort, why []*mvcc.Rejected, alone bool) (final bool, err error) {
	var locks []mvcc.LockInfo
	for _, x := range why {
		if x.Reason != mvcc.Locked || x.Lock == nil {
			// Below the safe point an earlier attempt may have been committed, superseded and collected: that says nothing.
			return x.Reason != mvcc.NoLock && x.Reason != mvcc.TooOld, e.refusal(x)
		}
		if x.Lock.StartTS == c.start {
			return false, e.refusal(x)
		}
		locks = append(locks, *x.Lock)
	}
	return false, e.waitFor(locks, c.start, alone && len(c.t.buf.held) == 0, false)
}

func (c *committer) prewrite(mode mvcc.Mode, muts []mvcc.Mutation) *mvcc.Prewrite {
	p := &mvcc.Prewrite{Mode: mode, StartTS: c.start, ForUpdateTS: c.forUpdate, TTLMillis: uint64(lockTTL.Milliseconds()), Primary: c.primary, Mutations: muts}
	if mode != mvcc.TwoPhase {
		p.MaxCommitTS = mvcc.MaxTimestamp >> 1
	}
	if mode == mvcc.Async {
		for i := range muts {
			if muts[i].Key.Compare(c.primary) == 0 {
				p.Secondaries = without(c.keys, c.primary)
			}
		}
	}
	return p
}

// phases prewrites all keys, which commits them if all become locks of an async commit, and commits in a second phase else.
func (c *committer) phases() error {
	if c.t.kept == nil {
		c.t.kept = c.db.keeper.add(c.start, c.primary)
	}
	if err := c.pw.run(); err != nil && c.pw.committed == 0 {
		return c.abandon(err, c.pw.hopeless)
	}
	switch {
	case c.pw.committed != 0:
		c.commitTS = c.pw.committed
	case c.pw.async():
		c.commitTS = c.pw.least
	default:
		if err := c.second(); err != nil {
			return err
		}
		c.finishLater(without(c.keys, c.primary))
		return nil
	}
	c.finishLater(c.keys)
	return nil
}

// second commits the primary at a fetched timestamp, which decides.
func (c *committer) second() error {
	t := keyTarget(c.primary)
	for tries := 0; ; tries++ {
		at, err := c.e.stamp()
		if err != nil {
			return c.abandon(err, true)
		}
		if err := c.validate(at); err != nil {
			return c.abandon(err, true)
		}
		if bug.SecondariesFirst.On() {
			_ = c.e.commitKeys(c.start, at, without(c.keys, c.primary))
		}
		var a attempt
		res, err := c.e.command(&t, mvcc.NewCommit(c.start, at, c.primary), &a)
		switch {
		case err != nil && a.unsure:
			return c.e.ambiguous(err)
		case err != nil:
			return c.abandon(err, true)
		case len(res.Rejected) == 0:
			c.commitTS = at
			return nil
		}
		x := res.Rejected[0]
		switch x.Reason {
		case mvcc.Committed:
			c.commitTS = x.CommitTS // by one who met all locks of an async commit, or by this one, sent twice
			return nil
		case mvcc.TooEarly:
		case mvcc.TooOld:
			return c.e.ambiguous(x)
		default:
			return c.abandon(c.e.refusal(x), true)
		}
		if tries >= maxRevalidations && c.t.reads.beyond(c.muts, c.t.buf.held) {
			return c.abandon(c.e.conflictOf(x, "others read what it writes faster than it can validate what it read"), true)
		}
		if stop := c.e.pause(outpaced, x, 0); stop != nil {
			return c.abandon(c.e.stopped(stop), true)
		}
	}
}

// validate looks at what a serializable transaction read once more, as of its commit timestamp.
func (c *committer) validate(at Timestamp) error {
	if !c.t.reads.beyond(c.muts, c.t.buf.held) {
		return nil
	}
	key, err := c.t.reads.still(c.t.ctx, c.db, c.start, at, func() bool { return true })
	if errors.Is(err, errReadChanged) {
		return c.e.conflictOf(&mvcc.Rejected{Key: key, StartTS: c.start}, errReadChanged.Error())
	}
	return err
}

// finishLater commits keys of the decided transaction, behind the caller's back. The commands go with whatever this client
// asks their stores next, so that they share its syncs: a client that runs one transaction after the other would else find
// the disks busy with the end of the last one.
func (c *committer) finishLater(keys []shard.Key) {
	if len(keys) == 0 {
		return
	}
	start, at := c.start, c.commitTS
	c.db.fates.put(start, at)
	c.db.later(func(e *effort) { _ = e.commitKeysBy(start, at, keys, true) })
}

func (e *effort) commitKeys(start, at Timestamp, keys []shard.Key) error {
	return e.commitKeysBy(start, at, keys, false)
}

func (e *effort) commitKeysBy(start, at Timestamp, keys []shard.Key, lazy bool) error {
	return e.db.overKeys(e, keys, func(e *effort, t *target, part []shard.Key) error {
		a := attempt{lazy: lazy}
		_, err := e.command(t, mvcc.NewCommit(start, at, part...), &a)
		return err
	})
}

// abandon ends a transaction that failed with err. dead: it can never be committed, whatever was sent and is still under
// way. If it is not, the keys are asked, which decides.
func (c *committer) abandon(err error, dead bool) error {
	if !dead && !bug.GivenUpUnasked.On() {
		e := c.db.begin(c.t.ctx, c.e.what, c.primary)
		v, failed := c.decide(&e)
		if failed != nil {
			c.db.later(func(e *effort) { _, _ = c.decide(e) })
			return c.e.ambiguous(err)
		}
		if v.commit != 0 {
			c.commitTS = v.commit
			return nil
		}
	}
	start, keys := c.start, c.keys
	c.db.later(func(e *effort) { _ = e.rollback(start, keys) })
	return err
}

// decide finds out, for good, whether the transaction is committed: it may be if all that was sent were one-phase and async
// prewrites. If it is, its keys are committed; if not, it never will be.
func (c *committer) decide(e *effort) (verdict, error) {
	if !c.pw.sent {
		return e.burial(c.start, c.primary)
	}
	v, plain, err := e.askKeys(c.start, 0, c.keys)
	switch {
	case err != nil:
		return verdict{}, err
	case plain:
		// INVARIANT: this transaction commits by its primary only, and nobody but this task sends that Commit. It has not.
		v = verdict{decided: true}
	}
	if v.commit != 0 {
		err = e.commitKeys(c.start, v.commit, c.keys)
	}
	return v, err
}

// burial rolls a transaction that leaves no locks back on its primary, unless it is committed there.
func (e *effort) burial(start Timestamp, primary shard.Key) (verdict, error) {
	t := keyTarget(primary)
	var a attempt
	res, err := e.command(&t, mvcc.NewRollback(start, primary), &a)
	switch {
	case err != nil:
		return verdict{}, err
	case len(res.Rejected) == 0:
		return verdict{decided: true}, nil
	case res.Rejected[0].Reason == mvcc.Committed:
		return verdict{decided: true, commit: res.Rejected[0].CommitTS}, nil
	}
	return verdict{}, res.Rejected[0]
}

// ambiguous makes the error of a transaction of which it is not known whether it is committed.
func (e *effort) ambiguous(cause error) *Error {
	err := e.fail(ErrAmbiguous, cause)
	if errors.Is(cause, context.Canceled) && !errors.Is(err, context.Canceled) {
		err.Cause = errors.Join(context.Canceled, cause)
	}
	err.Hint = "read what it would have written before running it again"
	return err
}
