package shard

import (
	"bytes"
	"fmt"
	"strconv"
)

// Key is a key of the keyspace: a mode byte followed by the user's key bytes as they are.
// It orders bytewise. An empty Key is the start of the keyspace, or, as an end, plus infinity.
type Key []byte

// Mode is the first byte of a Key: it keeps raw, transactional and placement keys apart.
type Mode byte

// The modes. They are part of the disk format and never change meaning.
const (
	ModeLock  Mode = 'l' // locks of transactions
	ModeMeta  Mode = 'm' // placement's metadata
	ModeRaw   Mode = 'r' // raw keys
	ModeTxn   Mode = 'x' // versions of transactional keys
	ModeLockK Mode = 'L' // reserved: locks with a 4-byte keyspace id
	ModeRawK  Mode = 'R' // reserved: raw keys with a 4-byte keyspace id
	ModeTxnK  Mode = 'X' // reserved: transactional keys with a 4-byte keyspace id
)

// Limits on what a user may store. They are checked by the SDK and again by the server.
const (
	MaxKeyBytes   = 8 << 10 // of a user key, without its mode byte
	MaxValueBytes = 8 << 20
)

// MakeKey puts a mode before a user key. The result shares nothing with user.
func MakeKey(m Mode, user []byte) Key {
	k := make(Key, 0, len(user)+1)
	k = append(k, byte(m))
	return append(k, user...)
}

// RawKey is MakeKey(ModeRaw, user).
func RawKey(user []byte) Key { return MakeKey(ModeRaw, user) }

// User is the user's part of the key, aliasing k. It is nil for an empty key.
func (k Key) User() []byte {
	if len(k) == 0 {
		return nil
	}
	return k[1:]
}

// Next is the smallest key greater than k.
func (k Key) Next() Key { return append(append(make(Key, 0, len(k)+1), k...), 0) }

// Clone copies k; the clone of nil is nil.
func (k Key) Clone() Key { return bytes.Clone(k) }

// Compare orders keys bytewise.
func (k Key) Compare(o Key) int { return bytes.Compare(k, o) }

// String quotes the key for people. The empty key prints as "".
func (k Key) String() string { return strconv.Quote(string(k)) }

// Range is the half-open interval [Start, End). An empty End is plus infinity.
type Range struct {
	Start, End Key
}

// ModeRange is the whole keyspace of one mode.
func ModeRange(m Mode) Range { return Range{Start: Key{byte(m)}, End: Key{byte(m) + 1}} }

// Contains reports whether k lies in r.
func (r Range) Contains(k Key) bool {
	return bytes.Compare(r.Start, k) <= 0 && (len(r.End) == 0 || bytes.Compare(k, r.End) < 0)
}

// ContainsRange reports whether all of o lies in r.
func (r Range) ContainsRange(o Range) bool {
	if bytes.Compare(r.Start, o.Start) > 0 {
		return false
	}
	return len(r.End) == 0 || len(o.End) != 0 && bytes.Compare(o.End, r.End) <= 0
}

// Overlaps reports whether some key lies in both.
func (r Range) Overlaps(o Range) bool {
	return (len(o.End) == 0 || bytes.Compare(r.Start, o.End) < 0) && (len(r.End) == 0 || bytes.Compare(o.Start, r.End) < 0)
}

// Intersect is the range of the keys in both; it is Empty if there are none.
func (r Range) Intersect(o Range) Range {
	out := r
	if bytes.Compare(o.Start, out.Start) > 0 {
		out.Start = o.Start
	}
	if len(out.End) == 0 || len(o.End) != 0 && bytes.Compare(o.End, out.End) < 0 {
		out.End = o.End
	}
	if out.Empty() {
		return Range{Start: out.Start, End: out.Start}
	}
	return out
}

// Empty reports whether no key lies in r.
func (r Range) Empty() bool { return len(r.End) != 0 && bytes.Compare(r.Start, r.End) >= 0 }

// Equal reports whether both bounds are the same.
func (r Range) Equal(o Range) bool { return bytes.Equal(r.Start, o.Start) && bytes.Equal(r.End, o.End) }

// CompareEnd orders r's end against k used as an end, so that an empty end is the largest.
func (r Range) CompareEnd(end Key) int {
	switch {
	case len(r.End) == 0 && len(end) == 0:
		return 0
	case len(r.End) == 0:
		return 1
	case len(end) == 0:
		return -1
	}
	return bytes.Compare(r.End, end)
}

func (r Range) String() string {
	if len(r.End) == 0 {
		return fmt.Sprintf("[%s, inf)", r.Start)
	}
	return fmt.Sprintf("[%s, %s)", r.Start, r.End)
}
