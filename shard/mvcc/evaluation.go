package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// evaluation is one command being executed: what it reads from, and what it will write once every key agreed.
type evaluation struct {
	w         Writer
	now       shard.Millis
	safe      Timestamp
	collected Timestamp
	// locks is how many locks the shard has. While there is none, none is looked for: nothing of this command is written
	// before everything is read.
	locks   uint64
	writes  []change
	written *Written // nil: nothing is remembered
}

// change is one write.
type change struct {
	op changeOp
	k  shard.Key
	ts Timestamp
	v  []byte
}

type changeOp uint8

const (
	addLock changeOp = iota // the key had no lock
	replaceLock
	removeLock // the key had one
	setVersion
	removeVersion
)

// write executes the changes, and returns what they do to the number of locks.
func (e *evaluation) write() (locks int64) {
	for i := range e.writes {
		c := &e.writes[i]
		switch c.op {
		case addLock:
			e.w.SetLock(c.k, c.v)
			locks++
		case replaceLock:
			e.w.SetLock(c.k, c.v)
		case removeLock:
			e.w.DeleteLock(c.k)
			locks--
		case setVersion:
			e.w.SetVersion(c.k, c.ts, c.v)
			e.written.note(c.k, c.ts)
		case removeVersion:
			e.w.DeleteVersion(c.k, c.ts)
		}
	}
	return locks
}

// setLock locks k; old is the lock that stands there, or nil.
func (e *evaluation) setLock(k shard.Key, old, l *Lock) {
	op := addLock
	if old != nil {
		op = replaceLock
	}
	e.writes = append(e.writes, change{op: op, k: k, v: l.Append(nil)})
}

func (e *evaluation) removeLock(k shard.Key) {
	e.writes = append(e.writes, change{op: removeLock, k: k})
}

func (e *evaluation) setRecord(k shard.Key, ts Timestamp, r record) {
	e.writes = append(e.writes, change{op: setVersion, k: k, ts: ts, v: r.append(nil)})
}

func (e *evaluation) removeRecord(k shard.Key, ts Timestamp) {
	e.writes = append(e.writes, change{op: removeVersion, k: k, ts: ts})
}

// lock reads the lock of k: own if it is start's, other if it is another transaction's.
func (e *evaluation) lock(k shard.Key, start Timestamp) (own, other *Lock, err error) {
	if e.locks == 0 {
		return nil, nil, nil
	}
	b, ok, err := e.w.Lock(k)
	if err != nil || !ok {
		return nil, nil, err
	}
	l, err := DecodeLock(b)
	if err != nil {
		return nil, nil, fmt.Errorf("lock of %s: %w", short(k), err)
	}
	if l.StartTS == start {
		return l, nil, nil
	}
	return nil, l, nil
}

// fate is what a transaction left on a key.
type fate uint8

const (
	unknown fate = iota // nothing, so far
	committed
	rolledBack
)

// history is what the records of one key say about one transaction.
type history struct {
	fate   fate
	commit Timestamp // of the transaction, if committed
	// newest is the newest version above start_ts that another transaction committed, at newestTS; zero if there is none.
	newest   record
	newestTS Timestamp
}

// history reads the records of k from the newest down to start.
//
// INVARIANT: all that a transaction can have left lies there: its version above start_ts, its rollback record at it.
func (e *evaluation) history(k shard.Key, start Timestamp) (h history, err error) {
	if e.written.silent(k, start) {
		return history{}, nil
	}
	var bad error
	err = e.w.Versions(k, MaxTimestamp, func(ts Timestamp, b []byte) bool {
		if ts < start {
			return false
		}
		r, err := decodeRecord(b)
		if err != nil {
			bad = err
			return false
		}
		switch {
		case r.committed() && r.start == start:
			h.fate, h.commit = committed, ts
		case r.kind == recAdded && ts == start:
			h.fate, h.commit = committed, r.start
		case r.kind == recRollback && ts == start:
			h.fate = rolledBack
		case r.committed() && h.newestTS == 0 && ts > start:
			h.newest, h.newestTS = record{kind: r.kind, start: r.start}, ts
		}
		return true
	})
	if bad != nil {
		err = bad
	}
	if err != nil {
		return history{}, fmt.Errorf("history of %s: %w", short(k), err)
	}
	return h, nil
}

// value reads the newest value of k up to ts.
func value(rd Reader, k shard.Key, at Timestamp) (finder, error) {
	var f finder
	var bad error
	err := rd.Versions(k, at, func(ts Timestamp, b []byte) bool {
		more, err := f.step(ts, b)
		bad = err
		return more
	})
	if err == nil {
		err = bad
	}
	if err == nil {
		err = f.end()
	}
	if err != nil {
		return finder{}, fmt.Errorf("value of %s: %w", short(k), err)
	}
	return f, nil
}

// commitKey makes the lock l of k a version at ts. A lock that was only pessimistic leaves none.
func (e *evaluation) commitKey(k shard.Key, l *Lock, ts Timestamp) {
	e.removeLock(k)
	if kind, ok := recordOf(l.Kind); ok {
		e.setRecord(k, ts, record{kind: kind, start: l.StartTS, long: l.Long, value: l.Value})
	}
}

func recordOf(k LockKind) (recordKind, bool) {
	switch k {
	case LockPut:
		return recPut, true
	case LockDelete:
		return recDelete, true
	case LockOnly:
		return recLock, true
	}
	return 0, false
}

// rollbackKey removes the lock l of k, if it is not nil, with what it holds, and leaves the transaction's grave.
func (e *evaluation) rollbackKey(k shard.Key, start Timestamp, l *Lock) {
	if l != nil {
		e.removeLock(k)
		if l.Long {
			e.removeRecord(k, start)
		}
	}
	if bug.NoGrave.On() {
		return
	}
	// After the long value, which lay at the same timestamp.
	e.setRecord(k, start, record{kind: recRollback})
}

// expireAt is when a lock taken or kept alive now expires. Placement's clock makes both times, and the later one counts:
// an idle shard's time lags.
func (e *evaluation) expireAt(start Timestamp, ttl uint64) shard.Millis {
	return max(e.now, start.Millis()) + shard.Millis(ttl)
}

// reject adds a rejection of start on k.
func (r *Result) reject(reason Reason, k shard.Key, start Timestamp) *Rejected {
	e := &Rejected{Reason: reason, Key: k.Clone(), StartTS: start}
	r.Rejected = append(r.Rejected, e)
	return e
}

func (r *Result) rejectLocked(k shard.Key, start Timestamp, l *Lock) {
	e, info := r.reject(Locked, k, start), l.info(k)
	e.Lock, e.Other, e.Primary = &info, l.StartTS, l.Primary
}

func (r *Result) rejectTS(reason Reason, k shard.Key, start, ts Timestamp) {
	r.reject(reason, k, start).CommitTS = ts
}

// rejectFate answers who holds no lock on k: finished there, or unknown. Where records were collected, unknown means nothing.
func (r *Result) rejectFate(e *evaluation, k shard.Key, start Timestamp, h history) {
	switch {
	case h.fate == committed:
		r.rejectTS(Committed, k, start, h.commit)
	case h.fate == rolledBack:
		r.reject(RolledBack, k, start)
	case start < e.collected:
		r.rejectTS(TooOld, k, start, e.collected)
	default:
		r.reject(NoLock, k, start)
	}
}
