package raftstore

import (
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Pessimistic locks that wait. A lock of one key that another transaction holds is not answered at once if its client
// allows it (call.LockWait), but parked here, at the shard's leader, in memory, in the order of arrival. When the key is
// given back, the leader proposes the first one itself; the others stay. Nothing of this is replicated: a parked call is
// one that has had no effect yet, and every way out of here is a definite answer.
//
//	arrives, nobody waits        proposed; evaluated as locked: parked (parkRefused)
//	arrives, others wait         parked behind them, without an entry (queueLock)
//	the holder's commit is proposed   the first is proposed behind it, in the same entry (grantBehind)
//	an entry that names the key is visible   the lock is looked at; gone: the first is proposed (lookAtLock)
//	the life of the lock is over, or the client's time   answered "locked": the client finds out about the holder
//	leadership lost, split, sleep, destruction   answered with that (endLockWaits)
//
// INVARIANT (no deadlock, wait-die): a transaction that holds locks waits only while the holder of the key began later.
// Who is the holder is looked at again whenever it changes; who must not wait any more is answered at once. Let all
// transactions of a set wait for each other for ever, and take, of those that hold locks, the one that began last: it
// waits for a holder that began later still, which is not in the set, and so ends; then the queue moves. That others
// stand before it in the queue does not matter: they get the key, become its holder, and the rule is applied to them.
//
// INVARIANT (rule T7): a lock that is proposed from here meets the grave of a transaction that was rolled back meanwhile,
// like one that comes late from the network.
type lockWaits struct {
	byKey   map[string]*lockQueue
	queues  []*lockQueue // in the order in which they were made, so that going over all of them replays
	touched []*lockQueue
	n       int    // calls parked
	arrived uint64 // numbers the locks that may wait, in the order in which they came
}

// lockQueue is who waits for one key.
type lockQueue struct {
	key    shard.Key
	holder mvcc.LockInfo // of the lock that stands, or of the one that is proposed
	// until is when the first one is told that the lock still stands, so that somebody asks what became of its holder.
	until env.Time
	// granted is the arrival of the call that was taken out and proposed, and is not applied yet; or zero.
	granted uint64
	touched bool
	waiting []lockWaiter // by arrival
}

type lockWaiter struct {
	call Call
	cmd  *mvcc.PessimisticLock
	end  env.Time // INVARIANT: answered by then, while the client still listens
}

const (
	// maxLockWaiters bounds the parked calls of a shard; who finds no room looks again by itself. Their bytes count among
	// those of writes.
	maxLockWaiters = 8192
	// lockAskInterval is how long a lock whose time to live is over is waited for by one whose client found the holder alive;
	// and how long a lock is believed in whose life cannot be told, because placement's time is not known.
	lockAskInterval = time.Second
)

// waits is the lock that may be parked, nil if c is none.
func (c *Call) waits() *mvcc.PessimisticLock {
	if c.txn == nil || c.Req.Wait == call.WaitNot {
		return nil
	}
	cmd, ok := c.txn.cmd.(*mvcc.PessimisticLock)
	if !ok || len(cmd.List) != 1 {
		return nil
	}
	return cmd
}

// queueLock parks a lock that arrives for a key for which others wait, and reports whether it did. A lock that may not wait
// goes on, and is told by its evaluation.
func (r *replica) queueLock(c *Call) bool {
	cmd := c.waits()
	if cmd == nil {
		return false
	}
	lw := &r.lockWaits
	lw.arrived++
	c.txn.arrived = lw.arrived
	q := lw.byKey[string(cmd.List[0])]
	return q != nil && r.parkLock(q, c, cmd)
}

// parkRefused parks a lock that was evaluated and found its key locked, and reports whether it did.
func (r *replica) parkRefused(p *pendingReply) bool {
	cmd := p.call.waits()
	if cmd == nil || p.rep.Err != nil || !r.canServe() {
		return false
	}
	res, err := mvcc.DecodeResult(p.rep.Body)
	if err != nil || len(res.Rejected) != 1 || res.Rejected[0].Reason != mvcc.Locked || res.Rejected[0].Lock == nil {
		return false
	}
	lw := &r.lockWaits
	q := lw.byKey[string(cmd.List[0])]
	fresh := q == nil
	if fresh {
		q = &lockQueue{key: cmd.List[0]}
	}
	if q.granted == 0 && (fresh || q.holder.StartTS != res.Rejected[0].Lock.StartTS) {
		r.heldBy(q, res.Rejected[0].Lock)
	}
	if !r.parkLock(q, p.call, cmd) {
		return false
	}
	if fresh {
		if lw.byKey == nil {
			lw.byKey = make(map[string]*lockQueue)
		}
		lw.byKey[string(q.key)] = q
		lw.queues = append(lw.queues, q)
	}
	lw.touch(q) // what gave the key back may stand in the same batch
	return true
}

// parkLock puts a lock into its place, if it may wait.
func (r *replica) parkLock(q *lockQueue, c *Call, cmd *mvcc.PessimisticLock) bool {
	now := r.w.now
	asked := c.Req.Wait&call.WaitAsked != 0
	switch {
	case r.lockWaits.n >= maxLockWaiters, !mayWait(c, cmd, &q.holder), r.checkEpoch(c.Req.Epoch, false) != nil:
		return false
	case q.until <= now && !asked:
		return false
	}
	w := lockWaiter{call: *c, cmd: cmd, end: now.Add(lockTimeout)}
	if c.expire != 0 {
		w.end = min(w.end, env.Time(c.expire).Add(-c.Req.Timeout/4))
	}
	if w.end <= now {
		return false
	}
	if asked {
		q.until = max(q.until, now.Add(lockAskInterval))
	}
	r.enter(&w.call, call.StageLock)
	at, _ := slices.BinarySearchFunc(q.waiting, c.txn.arrived, func(o lockWaiter, arrived uint64) int {
		return int(int64(o.call.txn.arrived - arrived))
	})
	q.waiting = slices.Insert(q.waiting, at, w)
	r.lockWaits.n++
	r.w.store.metrics.lockWaits.Add(1)
	return true
}

// lockTimeout bounds the waiting of a call that names no timeout of its own.
const lockTimeout = 10 * time.Second

// mayWait is wait-die. A transaction does not wait for itself: its lock is repeated.
func mayWait(c *Call, cmd *mvcc.PessimisticLock, holder *mvcc.LockInfo) bool {
	if holder.StartTS == cmd.StartTS {
		return false
	}
	return c.Req.Wait&call.WaitAny != 0 || holder.StartTS > cmd.StartTS
}

// heldBy notes who holds the key, and until when that is believed.
func (r *replica) heldBy(q *lockQueue, l *mvcc.LockInfo) {
	q.holder = *l
	q.until = r.w.now.Add(lockAskInterval)
	if stamp := r.w.store.stamp(r.w.now); stamp != 0 {
		q.until = r.w.now
		if l.ExpireAt > stamp {
			q.until = r.w.now.Add(time.Duration(min(l.ExpireAt-stamp, mvcc.MaxTTLMillis)) * time.Millisecond)
		}
	}
}

// touchLocks notes the queues whose key a command names that is being applied.
func (r *replica) touchLocks(c *Call) {
	lw := &r.lockWaits
	if len(lw.queues) == 0 || c.txn == nil || c.txn.cmd == nil {
		return
	}
	if span := c.txn.cmd.Span(); !span.Empty() {
		for _, q := range lw.queues {
			lw.touch(q)
		}
	}
	c.txn.cmd.Keys(func(k shard.Key) {
		q := lw.byKey[string(k)]
		if q == nil {
			return
		}
		if q.granted != 0 && q.granted == c.txn.arrived {
			q.granted = 0
		}
		lw.touch(q)
	})
}

func (lw *lockWaits) touch(q *lockQueue) {
	if !q.touched {
		q.touched = true
		lw.touched = append(lw.touched, q)
	}
}

// lookAtLocks goes on with the queues whose keys were named by what is visible now.
func (r *replica) lookAtLocks() {
	for len(r.lockWaits.touched) > 0 {
		touched := r.lockWaits.touched
		r.lockWaits.touched = nil
		for _, q := range touched {
			q.touched = false
			r.lookAtLock(q)
		}
	}
}

// lookAtLock reads the lock of a key for which calls wait. The worker writes what it reads here, so it is the newest.
func (r *replica) lookAtLock(q *lockQueue) {
	if r.lockWaits.byKey[string(q.key)] != q || q.granted != 0 {
		return
	}
	l, newest, err := mvcc.Standing(r.w.store.engine.Txn(), q.key)
	switch {
	case err != nil:
		r.w.store.broken("look at a lock of "+r.id.String(), err)
		return
	case l == nil:
		if c, ok := r.grant(q, newest); ok {
			r.waiting = append(r.waiting, c)
			r.mark()
		}
	case l.StartTS != q.holder.StartTS || l.ExpireAt != q.holder.ExpireAt:
		r.heldBy(q, l)
	}
	r.sift(q)
}

// grant takes the first one out of the queue, to be proposed: behind everything that is visible, or will be by then, the
// key has no lock, and its newest version is newest.
//
// Its for-update timestamp is moved up to that version, or it would be refused because of it, and its client would come
// again with another one, behind all others. The client knows that it may be: see lock in client/txnlock.go.
func (r *replica) grant(q *lockQueue, newest mvcc.Timestamp) (Call, bool) {
	for len(q.waiting) > 0 {
		w := q.waiting[0]
		q.waiting = slices.Delete(q.waiting, 0, 1)
		r.lockWaits.n--
		if err := r.checkEpoch(w.call.Req.Epoch, false); err != nil {
			r.fail(&w.call, err)
			continue
		}
		cmd := *w.cmd
		cmd.ForUpdateTS = max(cmd.ForUpdateTS, newest)
		req := *w.call.Req
		req.Body = cmd.Append(nil)
		txn := *w.call.txn
		txn.cmd = &cmd
		w.call.Req, w.call.txn = &req, &txn
		r.enter(&w.call, call.StageQueue)
		q.granted = txn.arrived
		// INVARIANT: whoever is answered now hears of a lock that lives as long as the real one will, or nobody could tell
		// a lock that is not there yet from one whose owner is gone.
		expire := max(r.w.store.stamp(r.w.now), cmd.StartTS.Millis()) + shard.Millis(cmd.TTLMillis)
		r.heldBy(q, &mvcc.LockInfo{Key: q.key, Primary: cmd.Primary, StartTS: cmd.StartTS, Kind: mvcc.LockPessimistic,
			ForUpdateTS: cmd.ForUpdateTS, ExpireAt: expire})
		return w.call, true
	}
	return Call{}, false
}

// grantBehind is called while an entry is made, with the command that was just put into it. If it is the one by which the
// holder of a key commits, the first one that waits for the key is returned, to be put behind it: the key goes from one
// transaction to the next within one entry. Should the commit be refused, that one meets the lock and is parked again.
func (r *replica) grantBehind(c *Call, floor mvcc.Timestamp) []Call {
	if len(r.lockWaits.queues) == 0 || c.txn == nil || c.txn.cmd == nil {
		return nil
	}
	start, commit := mvcc.CommitsAt(c.txn.cmd, floor)
	if start == 0 {
		return nil
	}
	return r.grantKeys(c.txn.cmd, start, commit)
}

// grantKeys takes out who waits first for each of the keys of a command by which the transaction of start commits. What its closure
// holds would be allocated for every command, if it stood above.
func (r *replica) grantKeys(cmd mvcc.Command, start, commit mvcc.Timestamp) (next []Call) {
	cmd.Keys(func(k shard.Key) {
		q := r.lockWaits.byKey[string(k)]
		if q == nil || q.granted != 0 || q.holder.StartTS != start {
			return
		}
		if w, ok := r.grant(q, commit); ok {
			next = append(next, w) // the others are sifted when it is applied
		}
	})
	return next
}

// sift answers who must not wait for the holder, and proposes what repeats its lock. It forgets an empty queue.
func (r *replica) sift(q *lockQueue) {
	var out []lockWaiter
	q.waiting = slices.DeleteFunc(q.waiting, func(w lockWaiter) bool {
		if mayWait(&w.call, w.cmd, &q.holder) {
			return false
		}
		out = append(out, w)
		return true
	})
	r.lockWaits.n -= len(out)
	for i := range out {
		if out[i].cmd.StartTS == q.holder.StartTS {
			r.enter(&out[i].call, call.StageQueue)
			r.waiting = append(r.waiting, out[i].call)
			r.mark()
		} else {
			r.stillLocked(q, &out[i])
		}
	}
	if len(q.waiting) == 0 && q.granted == 0 {
		delete(r.lockWaits.byKey, string(q.key))
		r.lockWaits.queues = slices.DeleteFunc(r.lockWaits.queues, func(o *lockQueue) bool { return o == q })
	}
}

// stillLocked answers what evaluating the lock now would.
func (r *replica) stillLocked(q *lockQueue, w *lockWaiter) {
	holder := q.holder
	res := mvcc.Result{Rejected: []*mvcc.Rejected{{Reason: mvcc.Locked, Key: q.key, StartTS: w.cmd.StartTS,
		Other: holder.StartTS, Primary: holder.Primary, Lock: &holder}}}
	r.reply(&w.call, &call.Reply{Body: res.Append(nil)})
}

// expireLockWaits answers whose time is over, and one of those whose holder's time is. It also is the backstop for a call
// that was granted the key and came to nothing on its way into the log.
func (r *replica) expireLockWaits() {
	now := r.w.now
	for _, q := range slices.Clone(r.lockWaits.queues) {
		var out []lockWaiter
		q.waiting = slices.DeleteFunc(q.waiting, func(w lockWaiter) bool {
			if now < w.end {
				return false
			}
			out = append(out, w)
			return true
		})
		r.lockWaits.n -= len(out)
		for i := range out {
			r.stillLocked(q, &out[i])
		}
		if q.until <= now {
			q.granted = 0
			r.lookAtLock(q)
		}
		if q.until <= now && len(q.waiting) > 0 {
			w := q.waiting[0]
			q.waiting = slices.Delete(q.waiting, 0, 1)
			r.lockWaits.n--
			q.until = now.Add(lockAskInterval / 2) // if that one does not find out, the next one does
			r.stillLocked(q, &w)
		}
		r.sift(q)
	}
	r.lookAtLocks()
}

// endLockWaits answers everybody who waits for a lock here with err, or, if that is nil, with what their epoch deserves.
func (r *replica) endLockWaits(err error) {
	queues := r.lockWaits.queues
	r.lockWaits = lockWaits{arrived: r.lockWaits.arrived}
	for _, q := range queues {
		for i := range q.waiting {
			c := &q.waiting[i].call
			e := err
			if e == nil {
				if e = r.checkEpoch(c.Req.Epoch, false); e == nil {
					e = r.notLeader()
				}
			}
			r.fail(c, e)
		}
	}
}
