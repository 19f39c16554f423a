package mvcc

import (
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// PessimisticLock locks keys before the transaction knows what it writes, if nobody committed them above ForUpdateTS.
// Repeated for a key that it holds, it moves the lock's ForUpdateTS and life on, never back.
type PessimisticLock struct {
	txnKeys
	Primary     shard.Key
	ForUpdateTS Timestamp
	TTLMillis   uint64
	Values      bool // answer the newest values: Result.Rows, in the order of the keys
}

// NewPessimisticLock locks keys, in ascending order, for the transaction start.
func NewPessimisticLock(start, forUpdate Timestamp, primary shard.Key, ttlMillis uint64, keys ...shard.Key) *PessimisticLock {
	return &PessimisticLock{txnKeys: txnKeys{StartTS: start, List: keys}, Primary: primary, ForUpdateTS: forUpdate, TTLMillis: ttlMillis}
}

// Append implements Command.
func (c *PessimisticLock) Append(b []byte) []byte {
	b = codec.AppendBytes(c.append(b, KindPessimisticLock), c.Primary)
	b = codec.AppendUvarint(codec.AppendUvarint(b, uint64(c.ForUpdateTS)), c.TTLMillis)
	return codec.AppendBool(b, c.Values)
}

func (c *PessimisticLock) read(d *codec.Decoder) bool {
	ok := c.txnKeys.read(d)
	c.Primary, c.ForUpdateTS, c.TTLMillis, c.Values = d.Bytes(), Timestamp(d.Uvarint()), d.Uvarint(), d.Bool()
	return ok && c.TTLMillis <= MaxTTLMillis
}

func (c *PessimisticLock) valid() error {
	if err := c.txnKeys.valid(); err != nil {
		return err
	}
	if c.ForUpdateTS < c.StartTS || c.ForUpdateTS > MaxTimestamp>>1 {
		return invalidf("pessimistic lock of %d for update at %d; give a timestamp fetched since", c.StartTS, c.ForUpdateTS)
	}
	return keyValid(c.Primary)
}

// Check implements Command.
func (c *PessimisticLock) Check() error {
	if err := c.valid(); err != nil {
		return err
	}
	if err := checkTTL(c.TTLMillis); err != nil {
		return err
	}
	return c.check()
}

func (c *PessimisticLock) evaluate(e *evaluation, r *Result) error {
	for _, k := range c.List {
		if err := c.key(e, r, k); err != nil {
			return err
		}
		if !c.Values {
			continue
		}
		v, err := value(e.w, k, MaxTimestamp)
		if err != nil {
			return err
		}
		r.Rows = append(r.Rows, Row{Found: v.found, Value: v.value})
	}
	return nil
}

func (c *PessimisticLock) key(e *evaluation, r *Result, k shard.Key) error {
	own, other, err := e.lock(k, c.StartTS)
	if err != nil {
		return err
	}
	if own != nil {
		c.again(e, k, own)
		return nil
	}
	h, err := e.history(k, c.StartTS)
	switch {
	case err != nil:
		return err
	case h.fate != unknown:
		r.rejectFate(e, k, c.StartTS, h)
	case c.StartTS < e.safe:
		r.rejectTS(TooOld, k, c.StartTS, e.safe)
	case other != nil:
		r.rejectLocked(k, c.StartTS, other)
	case h.newestTS > c.ForUpdateTS:
		x := r.reject(Conflict, k, c.StartTS)
		x.CommitTS, x.Other = h.newestTS, h.newest.start
	default:
		e.setLock(k, nil, &Lock{Kind: LockPessimistic, StartTS: c.StartTS, Primary: c.Primary, ForUpdateTS: c.ForUpdateTS,
			ExpireAt: e.expireAt(c.StartTS, c.TTLMillis)})
	}
	return nil
}

// again repeats the lock on a key that is held. One that is prewritten already stays: this command is late.
func (c *PessimisticLock) again(e *evaluation, k shard.Key, own *Lock) {
	if own.Kind != LockPessimistic {
		return
	}
	l := *own
	l.ForUpdateTS = max(l.ForUpdateTS, c.ForUpdateTS)
	l.ExpireAt = max(l.ExpireAt, e.expireAt(c.StartTS, c.TTLMillis))
	if l.ForUpdateTS != own.ForUpdateTS || l.ExpireAt != own.ExpireAt {
		e.setLock(k, own, &l)
	}
}

// PessimisticRollback removes pessimistic locks that were taken with at most ForUpdateTS, and nothing else: the
// transaction goes on. A lock command delivered after it locks again, until the lock expires.
type PessimisticRollback struct {
	txnKeys
	ForUpdateTS Timestamp
}

// NewPessimisticRollback unlocks keys, in ascending order, of the transaction start.
func NewPessimisticRollback(start, forUpdate Timestamp, keys ...shard.Key) *PessimisticRollback {
	return &PessimisticRollback{txnKeys: txnKeys{StartTS: start, List: keys}, ForUpdateTS: forUpdate}
}

// Append implements Command.
func (c *PessimisticRollback) Append(b []byte) []byte {
	return codec.AppendUvarint(c.append(b, KindPessimisticRollback), uint64(c.ForUpdateTS))
}

func (c *PessimisticRollback) read(d *codec.Decoder) bool {
	ok := c.txnKeys.read(d)
	c.ForUpdateTS = Timestamp(d.Uvarint())
	return ok
}

// Check implements Command.
func (c *PessimisticRollback) Check() error { return c.check() }

func (c *PessimisticRollback) evaluate(e *evaluation, r *Result) error {
	for _, k := range c.List {
		own, _, err := e.lock(k, c.StartTS)
		if err != nil {
			return err
		}
		if own != nil && own.Kind == LockPessimistic && own.ForUpdateTS <= c.ForUpdateTS {
			e.removeLock(k)
			r.Count++
		}
	}
	return nil
}
