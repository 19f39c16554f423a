package client

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// A pessimistic lock of one key waits for another transaction in the store, at the shard's leader, in the order of arrival
// (raftstore/lockwait.go). If the leader says that the key is still locked, because the life of that lock is over, or this
// call's time nearly is, or it has no room, the client finds out what became of the holder, and comes again. Locks of
// several keys at once wait by looking again, with growing, random pauses. Deadlocks are avoided by wait-die (Rosenkrantz, Stearns and Lewis, 1978): a transaction that holds locks waits only for younger ones, by start
// timestamp; for an older one it does not wait but gives up, and Update begins it anew. One that holds none may wait for
// anybody, since nobody waits for it. So a cycle of waiting would have to grow younger all around.
//
// One kind of waiting is outside that order, because to refuse it would refuse much that is no deadlock: that of a read which
// meets the lock of a commit under way. A transaction with locks gives such a read up after a while (maxReadWaits).

// GetForUpdate locks a key and reads its newest value, which nobody can change until the transaction ends: also one that was
// committed since it began. A key that does not exist is locked all the same, and ErrNotFound. If another transaction has the
// lock it waits.
func (t *Txn) GetForUpdate(key []byte) ([]byte, error) {
	if err := t.writable("get for update", key); err != nil {
		return nil, err
	}
	k := mvcc.Key(key)
	rows := make([]mvcc.Row, 1)
	if err := t.lock("get for update", []shard.Key{k}, rows); err != nil {
		return nil, err
	}
	f := foundOf(&rows[0])
	if p, ok := t.buf.writes[string(k)]; ok {
		if f, ok = p.over(rows[0].Found, rows[0].Value); !ok {
			return nil, refuse(t.what+": get for update", key, ErrNotCounter, "", "")
		}
	}
	if !f.Found {
		return nil, refuse(t.what+": get for update", key, ErrNotFound, "", "")
	}
	return f.Value, nil
}

// Lock makes sure that nobody else writes keys between the start of the transaction and its commit, as if it wrote them
// itself: if somebody did, it is a conflict when it commits. In a pessimistic transaction they are locked at once.
func (t *Txn) Lock(keys ...[]byte) error {
	for _, k := range keys {
		if err := t.writable("lock", k); err != nil {
			return err
		}
	}
	sorted, err := sortedKeys(t.what+": lock", keys)
	if err != nil || len(keys) == 0 {
		return err
	}
	if t.o.pessimistic {
		return t.lock("lock", sorted, nil)
	}
	if _, err := t.begin("lock", sorted[0]); err != nil {
		return err
	}
	for _, k := range sorted {
		t.buf.touch(k)
	}
	return nil
}

// lock takes pessimistic locks on sorted keys, and reads their newest values into rows, if there are any.
func (t *Txn) lock(op string, keys []shard.Key, rows []mvcc.Row) error {
	if rows == nil {
		keys = slices.DeleteFunc(slices.Clone(keys), func(k shard.Key) bool { return t.buf.held[string(k)] })
	}
	if len(keys) == 0 {
		return nil
	}
	fresh := t.v.ts == 0
	e, err := t.begin(op, keys[0])
	if err != nil {
		return err
	}
	if fresh || t.forUpdate == 0 && len(t.buf.held) == 0 {
		t.forUpdate = max(t.forUpdate, t.v.ts)
	}
	// The primary is locked first, alone: others ask it about the locks that name it.
	if t.primary == nil {
		t.primary = keys[0]
		if err := t.lockKeys(&e, keys[:1], rows); err != nil {
			return err
		}
		t.kept = t.db.keeper.add(t.v.ts, t.primary)
		keys = keys[1:]
		if rows != nil {
			rows = rows[1:]
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return t.lockKeys(&e, keys, rows)
}

func (t *Txn) lockKeys(e *effort, keys []shard.Key, rows []mvcc.Row) error {
	alone := len(t.buf.held) == 0
	t.locked = true
	for _, k := range keys {
		if !t.buf.held[string(k)] {
			t.buf.held[string(k)] = true // from here on there may be a lock
		}
	}
	l := locking{t: t, rows: rows, all: keys, alone: alone && len(keys) == 1, forUpdate: t.forUpdate}
	err := t.db.overKeys(e, keys, l.part)
	t.forUpdate = max(t.forUpdate, l.forUpdate)
	return t.note(err)
}

// locking is one call that takes locks, perhaps in several shards at once.
type locking struct {
	t     *Txn
	all   []shard.Key
	rows  []mvcc.Row
	alone bool // no other lock is held: it may wait for anybody

	mu        sync.Mutex
	forUpdate Timestamp // the largest that was used
}

func (l *locking) used(ts Timestamp) Timestamp {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forUpdate = max(l.forUpdate, ts)
	return l.forUpdate
}

func (l *locking) part(e *effort, t *target, part []shard.Key) error {
	at := l.used(0)
	var a attempt
	if len(part) == 1 {
		a.wait = call.WaitYounger
		if l.alone {
			a.wait = call.WaitAny
		}
	}
	for {
		cmd := mvcc.NewPessimisticLock(l.t.v.ts, at, l.t.primary, uint64(lockTTL.Milliseconds()), part...)
		cmd.Values = l.rows != nil
		began := e.db.env.Now()
		res, err := e.command(t, cmd, &a)
		if err != nil {
			return err
		}
		if len(res.Rejected) == 0 {
			return l.take(e, part, res)
		}
		waited := a.wait != call.WaitNot && e.db.env.Now().Sub(began) >= parkedAtLeast
		newer, err := l.refused(e, res.Rejected, waited)
		if err != nil {
			return err
		}
		at = l.used(newer)
		if a.wait != call.WaitNot {
			a.wait |= call.WaitAsked
		}
	}
}

// parkedAtLeast is how long a lock that was answered "locked" took, if it waited in the store.
const parkedAtLeast = 50 * time.Millisecond

func (l *locking) take(e *effort, part []shard.Key, res *mvcc.Result) error {
	if l.rows == nil {
		return nil
	}
	if len(res.Rows) != len(part) {
		return e.fail(ErrInvalid, errors.New("the store answered with another number of rows than was asked for"))
	}
	i, _ := slices.BinarySearchFunc(l.all, part[0], shard.Key.Compare)
	copy(l.rows[i:], res.Rows)
	return nil
}

// refused deals with what stands against the locks, and returns a newer timestamp for another attempt, or an error. waited:
// the store has waited already.
func (l *locking) refused(e *effort, why []*mvcc.Rejected, waited bool) (Timestamp, error) {
	var locks []mvcc.LockInfo
	newer := false
	for _, x := range why {
		switch {
		case x.Reason == mvcc.Locked && x.Lock != nil:
			locks = append(locks, *x.Lock)
		case x.Reason == mvcc.Conflict:
			newer = true
		default:
			return 0, e.refusal(x)
		}
	}
	if len(locks) > 0 {
		if err := e.waitFor(locks, l.t.v.ts, l.alone, waited); err != nil {
			return 0, err
		}
		newer = true // who held it has probably written
	}
	if !newer {
		return 0, nil
	}
	return e.stamp()
}

// waitFor returns when locks may be gone, or, if it has waited for them already, when their owners were asked. A transaction
// that holds others gives up if one of them is an older one's.
func (e *effort) waitFor(locks []mvcc.LockInfo, own Timestamp, alone, waited bool) error {
	_, wait, err := e.settle(locks, 0)
	if err != nil || wait == nil {
		return err
	}
	if !alone && wait.StartTS < own {
		return e.conflictOf(&mvcc.Rejected{Reason: mvcc.Locked, Key: wait.Key, StartTS: own, Other: wait.StartTS},
			"an older transaction holds its lock, and who holds locks does not wait for older ones")
	}
	stop := e.over()
	if stop == nil && !waited {
		stop = e.pause(lockedOut, errors.New(wait.String()), 0)
	}
	if stop != nil {
		err := e.conflictOf(&mvcc.Rejected{Reason: mvcc.Locked, Key: wait.Key, StartTS: own, Other: wait.StartTS}, "its lock was not given back in time")
		if stop != errBudget {
			return e.stopped(stop)
		}
		return err
	}
	return nil
}

// release gives locks back that were taken before the commit, behind the caller's back.
func (t *Txn) release() {
	t.db.keeper.drop(t.kept)
	keys := t.buf.heldKeys()
	if len(keys) == 0 {
		return
	}
	start := t.v.ts
	t.db.later(func(e *effort) { _ = e.rollback(start, keys) })
}

// rollback gives a transaction up on sorted keys.
func (e *effort) rollback(start Timestamp, keys []shard.Key) error {
	return e.db.overKeys(e, keys, func(e *effort, t *target, part []shard.Key) error {
		var a attempt
		res, err := e.command(t, mvcc.NewRollback(start, part...), &a)
		if err == nil && len(res.Rejected) > 0 {
			return res.Rejected[0]
		}
		return err
	})
}
