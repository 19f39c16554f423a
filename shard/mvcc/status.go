package mvcc

import (
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// Status is what became of a transaction.
type Status uint8

// The statuses. They are part of the wire format. A committed one has its timestamp in Result.CommitTS.
const (
	StatusNone       Status = 0 // the command does not tell
	StatusLocked     Status = 1 // undecided; Result.Locks says more
	StatusCommitted  Status = 2
	StatusRolledBack Status = 3
)

// CheckStatus asks the primary key what became of a transaction, and decides if its owner seems gone: an expired lock is
// rolled back. The lock of an async commit is never decided here: its locks on the other keys do, see CheckSecondaries.
type CheckStatus struct {
	Primary shard.Key
	StartTS Timestamp
	// CallerTS is the timestamp of the reader that was stopped, or zero. The least commit timestamp of a living lock is
	// pushed above it, so that the reader need not wait: see Result.Locks.
	CallerTS Timestamp
	// CurrentTS is a timestamp fetched lately, or zero. The lock is expired by it, or by the shard time, whichever is later.
	CurrentTS Timestamp
	// RollbackMissing has a rollback record written if the primary knows nothing of the transaction. Give it once the TTL
	// of the lock that names this primary has passed: until then the prewrite may be under way.
	RollbackMissing bool
	// AsTwoPhase treats the lock of an async commit as any other. Give it only after CheckSecondaries returned a lock that
	// is not Async: such a transaction commits by its primary.
	AsTwoPhase bool
}

const (
	statusRollbackMissing byte = 1 << iota
	statusAsTwoPhase
	statusFlags = statusRollbackMissing | statusAsTwoPhase
)

// Append implements Command.
func (c *CheckStatus) Append(b []byte) []byte {
	b = append(b, KindCheckStatus, commandVersion,
		flag(c.RollbackMissing, statusRollbackMissing)|flag(c.AsTwoPhase, statusAsTwoPhase))
	b = codec.AppendBytes(b, c.Primary)
	b = codec.AppendUvarint(b, uint64(c.StartTS))
	b = codec.AppendUvarint(b, uint64(c.CallerTS))
	return codec.AppendUvarint(b, uint64(c.CurrentTS))
}

func (c *CheckStatus) read(d *codec.Decoder) bool {
	flags := d.Byte()
	c.RollbackMissing, c.AsTwoPhase = flags&statusRollbackMissing != 0, flags&statusAsTwoPhase != 0
	c.Primary = d.Bytes()
	c.StartTS, c.CallerTS, c.CurrentTS = Timestamp(d.Uvarint()), Timestamp(d.Uvarint()), Timestamp(d.Uvarint())
	return flags&^statusFlags == 0
}

func (c *CheckStatus) valid() error {
	if max(c.CallerTS, c.CurrentTS) > MaxTimestamp>>1 {
		return invalidf("status of %d asked at timestamp %d, which was not issued", c.StartTS, max(c.CallerTS, c.CurrentTS))
	}
	if err := startValid(c.StartTS); err != nil {
		return err
	}
	return keyValid(c.Primary)
}

// Check implements Command.
func (c *CheckStatus) Check() error {
	if err := c.valid(); err != nil {
		return err
	}
	return checkKey(c.Primary)
}

// Keys implements Command.
func (c *CheckStatus) Keys(f func(shard.Key)) { f(c.Primary) }

// Span implements Command.
func (c *CheckStatus) Span() shard.Range { return noSpan() }

func (c *CheckStatus) evaluate(e *evaluation, r *Result) error {
	own, _, err := e.lock(c.Primary, c.StartTS)
	if err != nil {
		return err
	}
	if own != nil {
		c.locked(e, r, own)
		return nil
	}
	h, err := e.history(c.Primary, c.StartTS)
	if err != nil {
		return err
	}
	switch {
	case h.fate == committed:
		r.Status, r.CommitTS = StatusCommitted, h.commit
	case h.fate == rolledBack:
		r.Status = StatusRolledBack
	case c.RollbackMissing && c.StartTS >= e.collected:
		e.rollbackKey(c.Primary, c.StartTS, nil)
		r.Status = StatusRolledBack
	default:
		r.rejectFate(e, c.Primary, c.StartTS, h)
	}
	return nil
}

func (c *CheckStatus) locked(e *evaluation, r *Result, l *Lock) {
	if l.Primary.Compare(c.Primary) != 0 && !bug.ResolveAnyLock.On() {
		r.reject(NotPrimary, c.Primary, c.StartTS).Primary = l.Primary
		return
	}
	r.Expired = l.ExpireAt <= max(e.now, c.CurrentTS.Millis())
	switch {
	case l.Async && !c.AsTwoPhase && !(r.Expired && bug.AsyncRolledBack.On()):
	case r.Expired:
		e.rollbackKey(c.Primary, c.StartTS, l)
		r.Status, r.Expired = StatusRolledBack, false
		return
	case !l.Async && l.Kind != LockPessimistic && c.CallerTS >= max(l.MinCommitTS, l.StartTS):
		l.MinCommitTS = c.CallerTS.NextOdd()
		if !bug.NotPushed.On() {
			e.setLock(c.Primary, l, l)
		}
	}
	r.Status, r.Locks = StatusLocked, []LockInfo{l.info(c.Primary)}
}

// CheckSecondaries asks keys of an async commit whether they are locked for it. Where one is not and never was, it is
// rolled back there and then, so the answer holds for ever: if every key of the transaction answers with an Async lock
// it is committed, at the largest MinCommitTS; if one is rolled back, it is.
type CheckSecondaries struct{ txnKeys }

// NewCheckSecondaries asks keys, in ascending order, of the transaction start.
func NewCheckSecondaries(start Timestamp, keys ...shard.Key) *CheckSecondaries {
	return &CheckSecondaries{txnKeys{StartTS: start, List: keys}}
}

// Append implements Command.
func (c *CheckSecondaries) Append(b []byte) []byte { return c.append(b, KindCheckSecondaries) }

// Check implements Command.
func (c *CheckSecondaries) Check() error { return c.check() }

func (c *CheckSecondaries) evaluate(e *evaluation, r *Result) error {
	r.Status = StatusLocked
	for _, k := range c.List {
		if err := c.key(e, r, k); err != nil {
			return err
		}
	}
	if r.Status == StatusCommitted {
		// Rejected are only keys that say so.
		e.writes, r.Rejected = nil, nil
	}
	return nil
}

func (c *CheckSecondaries) key(e *evaluation, r *Result, k shard.Key) error {
	own, _, err := e.lock(k, c.StartTS)
	switch {
	case err != nil:
		return err
	case own != nil && own.Kind != LockPessimistic:
		r.Locks = append(r.Locks, own.info(k))
		return nil
	case own != nil:
		e.rollbackKey(k, c.StartTS, own)
		r.Status = StatusRolledBack
		return nil
	}
	n, writes := len(r.Rejected), len(e.writes)
	if _, err = e.bury(r, k, c.StartTS); err != nil {
		return err
	}
	if bug.AskedNotBuried.On() {
		e.writes = e.writes[:writes]
	}
	switch {
	case len(r.Rejected) == n:
		r.Status = StatusRolledBack
	case r.Rejected[n].Reason == Committed:
		r.Status, r.CommitTS = StatusCommitted, r.Rejected[n].CommitTS
	}
	return nil
}

// Heartbeat keeps the lock of a transaction on its primary alive for TTLMillis from the entry's shard time on.
type Heartbeat struct {
	Primary   shard.Key
	StartTS   Timestamp
	TTLMillis uint64
}

// Append implements Command.
func (c *Heartbeat) Append(b []byte) []byte {
	b = codec.AppendBytes(append(b, KindHeartbeat, commandVersion), c.Primary)
	return codec.AppendUvarint(codec.AppendUvarint(b, uint64(c.StartTS)), c.TTLMillis)
}

func (c *Heartbeat) read(d *codec.Decoder) bool {
	c.Primary, c.StartTS, c.TTLMillis = d.Bytes(), Timestamp(d.Uvarint()), d.Uvarint()
	return c.TTLMillis <= MaxTTLMillis
}

func (c *Heartbeat) valid() error {
	if err := startValid(c.StartTS); err != nil {
		return err
	}
	return keyValid(c.Primary)
}

// Check implements Command.
func (c *Heartbeat) Check() error {
	if err := c.valid(); err != nil {
		return err
	}
	if err := checkTTL(c.TTLMillis); err != nil {
		return err
	}
	return checkKey(c.Primary)
}

// Keys implements Command.
func (c *Heartbeat) Keys(f func(shard.Key)) { f(c.Primary) }

// Span implements Command.
func (c *Heartbeat) Span() shard.Range { return noSpan() }

func (c *Heartbeat) evaluate(e *evaluation, r *Result) error {
	own, _, err := e.lock(c.Primary, c.StartTS)
	if err != nil {
		return err
	}
	if own == nil {
		h, err := e.history(c.Primary, c.StartTS)
		if bug.HeartbeatRevives.On() && err == nil && h.fate == rolledBack {
			e.removeRecord(c.Primary, c.StartTS)
			e.setLock(c.Primary, nil, &Lock{Kind: LockPut, StartTS: c.StartTS, Primary: c.Primary, ExpireAt: e.expireAt(c.StartTS, c.TTLMillis)})
			return nil
		}
		r.rejectFate(e, c.Primary, c.StartTS, h)
		return err
	}
	if at := e.expireAt(c.StartTS, c.TTLMillis); at > own.ExpireAt {
		own.ExpireAt = at
		e.setLock(c.Primary, own, own)
	}
	r.Locks = []LockInfo{own.info(c.Primary)}
	return nil
}
