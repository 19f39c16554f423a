package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// GC moves the safe point and, with Limit, collects what no reader at or above it can see.
//
// From the safe point on, transactions that began below it are refused, and so are reads below it. Only then are the
// locks below it resolved, in every shard, because a lock may have its primary elsewhere; and only then is anything
// collected. So whoever runs it sends first GC without Limit to all shards, then resolves, then GC with Limit.
type GC struct {
	// SafePoint is the new one; a smaller one than the shard's changes nothing. With Limit, what no reader at or above it
	// can see is collected: it may lie below the shard's, which moves ahead while the locks below it are being resolved.
	SafePoint Timestamp
	Range     shard.Range
	Limit     int // records of Range looked at, until the next key; the rest begins at Result.Next
}

// MaxCollect bounds Limit: a collection runs where entries are applied, and others wait.
const MaxCollect = 16 << 10

// Append implements Command.
func (c *GC) Append(b []byte) []byte {
	b = codec.AppendUvarint(append(b, KindGC, commandVersion), uint64(c.SafePoint))
	b = codec.AppendUvarint(b, uint64(c.Limit))
	return codec.AppendBytes(codec.AppendBytes(b, c.Range.Start), c.Range.End)
}

func (c *GC) read(d *codec.Decoder) bool {
	c.SafePoint = Timestamp(d.Uvarint())
	limit := d.Uvarint()
	c.Limit = int(min(limit, MaxCollect))
	c.Range = shard.Range{Start: d.Bytes(), End: d.Bytes()}
	return limit <= MaxCollect
}

func (c *GC) valid() error {
	if c.SafePoint > MaxTimestamp>>1 || c.Limit < 0 || c.Limit > MaxCollect {
		return invalidf("safe point %d or limit %d is out of bounds", c.SafePoint, c.Limit)
	}
	return nil
}

// Check implements Command.
func (c *GC) Check() error {
	if err := c.valid(); err != nil {
		return err
	}
	if c.Limit == 0 {
		return nil
	}
	return checkRange(c.Range)
}

// Keys implements Command.
func (c *GC) Keys(func(shard.Key)) {}

// Span implements Command.
func (c *GC) Span() shard.Range {
	if c.Limit == 0 {
		return noSpan()
	}
	return c.Range
}

func (c *GC) evaluate(e *evaluation, r *Result) error {
	e.safe = max(e.safe, c.SafePoint)
	if c.Limit == 0 {
		return nil
	}
	if err := c.checkLocks(e, r); err != nil || len(r.Rejected) > 0 {
		return err
	}
	e.collected = max(e.collected, c.SafePoint)
	return c.collect(e, r)
}

// checkLocks rejects the collection if a lock below the safe point still stands.
//
// INVARIANT: a record that decides the fate of a lock is not collected before the lock is gone.
func (c *GC) checkLocks(e *evaluation, r *Result) error {
	var bad error
	if e.locks == 0 {
		return nil
	}
	err := e.w.Locks(c.Range, false, func(k shard.Key, b []byte) bool {
		l, err := DecodeLock(b)
		if err != nil {
			bad = err
			return false
		}
		if l.StartTS < c.SafePoint {
			r.rejectLocked(k, c.SafePoint, l)
		}
		return len(r.Rejected) == 0
	})
	if bad != nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("locks of %s: %w", c.Range, err)
	}
	return nil
}

func (c *GC) collect(e *evaluation, r *Result) error {
	g := collector{safe: c.SafePoint}
	var bad error
	seen := 0
	err := e.w.Scan(c.Range, false, MaxTimestamp, func(k shard.Key, ts Timestamp, b []byte) Step {
		if g.key == nil || g.key.Compare(k) != 0 {
			if seen >= c.Limit {
				r.Next = k.Clone()
				return Stop
			}
			g = collector{safe: c.SafePoint, key: k.Clone(), values: g.values[:0]}
		}
		seen++
		rec, err := decodeRecord(b)
		if err != nil {
			bad = err
			return Stop
		}
		if g.garbage(ts, rec) {
			e.removeRecord(g.key, ts)
			r.Count++
		}
		return NextVersion
	})
	if bad != nil {
		err = bad
	}
	if err != nil {
		return fmt.Errorf("collect %s: %w", c.Range, err)
	}
	return nil
}

// collector decides about the records of one key, which it is shown newest first.
type collector struct {
	safe   Timestamp
	key    shard.Key
	kept   bool        // the version that a reader at the safe point sees was met
	values []Timestamp // where the long values of retained versions lie
}

// garbage reports whether nobody needs the record at ts any more.
//
// INVARIANT: what a reader at or above the safe point sees is the same before and after: of the versions up to it the
// newest stays, unless it is a removal, which says what an empty place says.
func (g *collector) garbage(ts Timestamp, r record) bool {
	if ts > g.safe {
		g.refer(r)
		return false
	}
	switch r.kind {
	case recPut:
		if g.kept {
			return true
		}
		g.kept = true
		g.refer(r)
		return false
	case recDelete:
		g.kept = true
		return true
	case recLock:
		return true
	case recValue:
		for _, at := range g.values {
			if at == ts {
				return false
			}
		}
	}
	return ts < g.safe
}

func (g *collector) refer(r record) {
	if r.kind == recPut && r.long {
		g.values = append(g.values, r.start)
	}
}
