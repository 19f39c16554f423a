package mvcc

import (
	"encoding/binary"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// Add adds Delta to a counter: 8 bytes, big-endian, two's complement, wrapping; a key without a value is zero. It is a
// transaction of its own, in one phase and blind: it does not conflict with what was committed since StartTS, so a hot
// counter runs at the speed of a batch. It respects locks.
//
// A version that was committed above the timestamp that the Add computes is not above any read: the floor says so. Where
// that version is a computed one, the Add goes into it, and leaves a record at its own start_ts so that its repetition
// is known; where it is an issued one, the Add takes the odd timestamp after it. So it never commits above the next odd
// one after the largest issued, as every computed timestamp.
type Add struct {
	Floor       Timestamp // see SetFloor
	StartTS     Timestamp
	MaxCommitTS Timestamp // above it the Add is rejected as TooLate
	Key         shard.Key
	Delta       int64
}

// Append implements Command.
func (c *Add) Append(b []byte) []byte {
	b = append(b, KindAdd, commandVersion, byte(OnePhase))
	b = appendTS(b, c.Floor)
	b = codec.AppendUvarint(codec.AppendUvarint(b, uint64(c.StartTS)), uint64(c.MaxCommitTS))
	return binary.BigEndian.AppendUint64(codec.AppendBytes(b, c.Key), uint64(c.Delta))
}

func (c *Add) read(d *codec.Decoder) bool {
	mode := Mode(d.Byte())
	c.Floor, c.StartTS, c.MaxCommitTS = readTS(d), Timestamp(d.Uvarint()), Timestamp(d.Uvarint())
	c.Key, c.Delta = d.Bytes(), int64(d.Uint64())
	return mode == OnePhase
}

func (c *Add) valid() error {
	if err := startValid(c.StartTS); err != nil {
		return err
	}
	if c.Floor > MaxTimestamp>>1 {
		return invalidf("add of %d has the floor %d, which no leader gives", c.StartTS, c.Floor)
	}
	return keyValid(c.Key)
}

// Check implements Command.
func (c *Add) Check() error {
	if err := c.valid(); err != nil {
		return err
	}
	if c.MaxCommitTS <= c.StartTS {
		return invalidf("add of %d has no largest commit timestamp above it; give one", c.StartTS)
	}
	return checkKey(c.Key)
}

// Keys implements Command.
func (c *Add) Keys(f func(shard.Key)) { f(c.Key) }

// Span implements Command.
func (c *Add) Span() shard.Range { return noSpan() }

func (c *Add) evaluate(e *evaluation, r *Result) error {
	own, other, err := e.lock(c.Key, c.StartTS)
	if err != nil {
		return err
	}
	h, err := e.history(c.Key, c.StartTS)
	switch {
	case err != nil:
		return err
	case h.fate == committed:
		r.CommitTS = h.commit
		return nil
	case h.fate == rolledBack:
		r.reject(RolledBack, c.Key, c.StartTS)
		return nil
	case c.StartTS < e.safe:
		r.rejectTS(TooOld, c.Key, c.StartTS, e.safe)
		return nil
	case other != nil:
		r.rejectLocked(c.Key, c.StartTS, other)
		return nil
	case own != nil:
		r.rejectLocked(c.Key, c.StartTS, own)
		return nil
	}
	return c.add(e, r, h)
}

func (c *Add) add(e *evaluation, r *Result, h history) error {
	start, at, into := c.StartTS, max(odd(c.Floor), c.StartTS.NextOdd()), false
	if h.newestTS >= at {
		// INVARIANT: no read at or above newestTS was answered, because at most the floor is computed above all reads.
		at = h.newestTS | 1
		if into = at == h.newestTS; into {
			start = h.newest.start // the version stays its first owner's
		}
	}
	if at > c.MaxCommitTS {
		r.rejectTS(TooLate, c.Key, c.StartTS, at)
		return nil
	}
	v, err := value(e.w, c.Key, MaxTimestamp)
	if err != nil {
		return err
	}
	var n uint64
	if v.found {
		if len(v.value) != 8 {
			r.reject(NotCounter, c.Key, c.StartTS)
			return nil
		}
		n = binary.BigEndian.Uint64(v.value)
	}
	e.setRecord(c.Key, at, record{kind: recPut, start: start, value: binary.BigEndian.AppendUint64(nil, n+uint64(c.Delta))})
	if into {
		e.setRecord(c.Key, c.StartTS, record{kind: recAdded, start: at})
	}
	r.CommitTS = at
	return nil
}
