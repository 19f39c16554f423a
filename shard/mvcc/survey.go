package mvcc

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/skerrydb/skerry/shard"
)

// What looks at all of a range: the answers to Resolved and Checksum, and where the garbage is.

func (p *page) resolved(part shard.Range) error {
	p.a.Range, p.a.Resolved = part, p.q.TS
	var bad error
	if p.st.Locks > 0 {
		err := p.r.Locks(part, false, func(k shard.Key, b []byte) bool {
			var l *Lock
			if l, bad = DecodeLock(b); bad != nil {
				bad = fmt.Errorf("lock of %s: %w", short(k), bad)
				return false
			}
			if l.Kind != LockPessimistic {
				p.a.Resolved = min(p.a.Resolved, l.StartTS-1)
			}
			return true
		})
		if err != nil || bad != nil {
			return firstOf(bad, err)
		}
	}
	p.goOn()
	return nil
}

func (p *page) checksum(part shard.Range) error {
	p.a.Range = part
	err := p.r.Locks(part, false, func(k shard.Key, v []byte) bool {
		p.a.Sum = p.a.Sum.Add(Sum{Hash: sumOf(sumLock, k, 0, v), Locks: 1})
		return true
	})
	if err != nil {
		return fmt.Errorf("checksum of the locks of %s: %w", part, err)
	}
	err = p.r.Scan(part, false, MaxTimestamp, func(k shard.Key, ts Timestamp, v []byte) Step {
		p.a.Sum = p.a.Sum.Add(Sum{Hash: sumOf(sumVersion, k, ts, v), Versions: 1})
		return NextVersion
	})
	if err != nil {
		return fmt.Errorf("checksum of %s: %w", part, err)
	}
	p.goOn()
	return nil
}

// What an item of a checksum is.
const (
	sumLock    byte = 1
	sumVersion byte = 2
)

func sumOf(what byte, k shard.Key, ts Timestamp, stored []byte) uint64 {
	var d xxhash.Digest
	d.Reset()
	var n [17]byte
	n[0] = what
	binary.BigEndian.PutUint64(n[1:], uint64(len(k)))
	binary.BigEndian.PutUint64(n[9:], uint64(ts))
	_, _ = d.Write(n[:]) // a Digest's Write never returns an error
	_, _ = d.Write(k)
	_, _ = d.Write(stored)
	return d.Sum64()
}

// Garbage is what a look at a part of a shard found to collect.
type Garbage struct {
	// Range holds all of it, tightly; it is Empty if there is none. Records is how many records lie in it.
	Range   shard.Range
	Records int
	Next    shard.Key // where the rest of the range begins; nil: there is none
}

// FindGarbage looks for what a GC at safe would collect in r, through at most limit records and until the first page of
// garbage ends: a GC of Garbage.Range with that many records as its limit collects it. It lets whoever proposes
// collections leave out what they would find clean.
func FindGarbage(rd Reader, r shard.Range, safe Timestamp, limit, page int) (Garbage, error) {
	var (
		out   Garbage
		bad   error
		g     collector
		seen  int  // records in all
		ofKey int  // of the present key
		dirty bool // the present key has garbage
		last  shard.Key
	)
	// endKey counts a key that was shown whole.
	endKey := func() {
		if g.key == nil || !dirty && out.Records == 0 {
			return
		}
		if out.Records == 0 {
			out.Range.Start = g.key
		}
		out.Records += ofKey
		if dirty {
			last = g.key
		}
	}
	err := rd.Scan(r, false, MaxTimestamp, func(k shard.Key, ts Timestamp, b []byte) Step {
		if g.key == nil || g.key.Compare(k) != 0 {
			endKey()
			if seen >= limit || out.Records >= page {
				out.Next = k.Clone()
				g.key = nil
				return Stop
			}
			g, ofKey, dirty = collector{safe: safe, key: k.Clone(), values: g.values[:0]}, 0, false
		}
		seen++
		ofKey++
		rec, err := decodeRecord(b)
		if err != nil {
			bad = fmt.Errorf("record of %s: %w", short(k), err)
			return Stop
		}
		dirty = g.garbage(ts, rec) || dirty
		return NextVersion
	})
	if err != nil || bad != nil {
		return Garbage{}, firstOf(bad, err)
	}
	endKey()
	out.Range.End = last.Next()
	if last == nil {
		out.Range = noSpan()
	}
	return out, nil
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// Latest is the largest timestamp in c that placement must have issued: one above placement's clock is a client's mistake,
// and would let a lock expire early or a version lie in the future.
func Latest(c Command) Timestamp {
	switch c := c.(type) {
	case *Prewrite:
		return max(c.StartTS, c.ForUpdateTS)
	case *Commit:
		return c.CommitTS // above its StartTS
	case *Rollback:
		return c.StartTS
	case *CheckStatus:
		return max(c.StartTS, c.CallerTS, c.CurrentTS)
	case *CheckSecondaries:
		return c.StartTS
	case *Resolve:
		var at Timestamp
		for _, t := range c.Txns {
			at = max(at, t.StartTS, t.CommitTS)
		}
		return at
	case *Heartbeat:
		return c.StartTS
	case *PessimisticLock:
		return c.ForUpdateTS // not below its StartTS
	case *PessimisticRollback:
		return c.StartTS
	case *GC:
		return c.SafePoint
	case *Add:
		return c.StartTS
	}
	return 0
}
