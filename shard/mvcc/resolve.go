package mvcc

import (
	"cmp"
	"slices"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// Decided is a transaction whose primary has spoken.
type Decided struct {
	StartTS  Timestamp
	CommitTS Timestamp // zero: rolled back
}

// Resolve finishes decided transactions on keys where their locks still stand: on List, of exactly one transaction, or,
// with Limit, on what it meets in Range. In List, a key without the lock is rolled back for good or, of a commit, left
// as it is.
type Resolve struct {
	Txns  []Decided // in ascending order of StartTS
	List  []shard.Key
	Range shard.Range
	Limit int // locks of Range looked at, at most; the rest begins at Result.Next
}

// Append implements Command.
func (c *Resolve) Append(b []byte) []byte {
	b = codec.AppendUvarint(append(b, KindResolve, commandVersion), uint64(len(c.Txns)))
	for _, t := range c.Txns {
		b = codec.AppendUvarint(codec.AppendUvarint(b, uint64(t.StartTS)), uint64(t.CommitTS))
	}
	b = codec.AppendUvarint(appendKeys(b, c.List), uint64(c.Limit))
	return codec.AppendBytes(codec.AppendBytes(b, c.Range.Start), c.Range.End)
}

func (c *Resolve) read(d *codec.Decoder) bool {
	for range d.Count(2) {
		c.Txns = append(c.Txns, Decided{StartTS: Timestamp(d.Uvarint()), CommitTS: Timestamp(d.Uvarint())})
	}
	c.List = readKeys(d)
	limit := d.Uvarint()
	c.Limit = int(min(limit, MaxKeys))
	c.Range = shard.Range{Start: d.Bytes(), End: d.Bytes()}
	return limit <= MaxKeys
}

func (c *Resolve) valid() error {
	for i, t := range c.Txns {
		if err := startValid(t.StartTS); err != nil {
			return err
		}
		if t.CommitTS != 0 && t.CommitTS <= t.StartTS || t.CommitTS > MaxTimestamp>>1 {
			return invalidf("resolve of %d at %d, which is no commit timestamp of it", t.StartTS, t.CommitTS)
		}
		if i > 0 && c.Txns[i-1].StartTS >= t.StartTS {
			return invalidf("transaction %d is not above the one before it; sort them and name each once", t.StartTS)
		}
	}
	if len(c.List) > 0 && (len(c.Txns) != 1 || c.Limit != 0) || c.Limit < 0 || c.Limit > MaxKeys {
		return invalidf("resolve of %d transactions on %d keys with limit %d; give keys of one, or a range with a limit",
			len(c.Txns), len(c.List), c.Limit)
	}
	return keysValid(c.List)
}

// Check implements Command.
func (c *Resolve) Check() error {
	if err := c.valid(); err != nil {
		return err
	}
	if n := len(c.Txns); n == 0 || n > MaxKeys {
		return invalidf("resolve of %d transactions, at least 1 and at most %d", n, MaxKeys)
	}
	if c.Limit == 0 {
		return checkKeys(c.List)
	}
	return checkRange(c.Range)
}

// Keys implements Command.
func (c *Resolve) Keys(f func(shard.Key)) {
	for _, k := range c.List {
		f(k)
	}
}

// Span implements Command.
func (c *Resolve) Span() shard.Range {
	if c.Limit == 0 {
		return noSpan()
	}
	return c.Range
}

func (c *Resolve) evaluate(e *evaluation, r *Result) error {
	for _, k := range c.List {
		if err := c.key(e, r, k, c.Txns[0]); err != nil {
			return err
		}
	}
	if c.Limit == 0 {
		return nil
	}
	return c.scan(e, r)
}

func (c *Resolve) key(e *evaluation, r *Result, k shard.Key, t Decided) error {
	own, _, err := e.lock(k, t.StartTS)
	switch {
	case err != nil:
		return err
	case own != nil:
		e.resolve(r, k, own, t)
		return nil
	case t.CommitTS != 0 || t.StartTS < e.collected:
		return nil
	}
	_, err = e.bury(r, k, t.StartTS)
	return err
}

func (e *evaluation) resolve(r *Result, k shard.Key, l *Lock, t Decided) {
	switch {
	case t.CommitTS == 0:
		e.rollbackKey(k, t.StartTS, l)
	case l.Kind != LockPessimistic && t.CommitTS < l.MinCommitTS:
		r.rejectTS(TooEarly, k, t.StartTS, l.MinCommitTS)
	default:
		e.commitKey(k, l, t.CommitTS)
	}
	r.Count++
}

func (c *Resolve) scan(e *evaluation, r *Result) error {
	seen := 0
	var bad error
	err := e.w.Locks(c.Range, false, func(k shard.Key, b []byte) bool {
		if seen++; seen > c.Limit {
			r.Next = k.Clone()
			return false
		}
		l, err := DecodeLock(b)
		if err != nil {
			bad = err
			return false
		}
		i, ok := slices.BinarySearchFunc(c.Txns, l.StartTS, func(t Decided, s Timestamp) int { return cmp.Compare(t.StartTS, s) })
		if ok {
			e.resolve(r, k.Clone(), l, c.Txns[i])
		}
		return true
	})
	if bad != nil {
		return bad
	}
	return err
}

// checkRange accepts a non-empty range of transactional keys. Its bounds may be those of the mode itself.
func checkRange(r shard.Range) error {
	if r.Empty() || len(r.Start) == 0 || !shard.ModeRange(shard.ModeTxn).ContainsRange(r) {
		return invalidf("range %s is empty or goes beyond transactional keys; begin both keys with their mode byte", r)
	}
	if max(len(r.Start), len(r.End)) > shard.MaxKeyBytes+3 {
		return invalidf("a bound of a range is longer than every key; use a shorter one")
	}
	return nil
}
