package client

import (
	"bytes"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// Range is the keys from Start up to, but not including, End. An empty Start is the first key that there may be, an
// empty End is beyond the last one; so the zero Range is everything.
type Range struct{ Start, End []byte }

// Prefix is the range of all keys that begin with p.
func Prefix[K ~string | ~[]byte](p K) Range {
	r := Range{Start: []byte(p)}
	end := bytes.Clone(r.Start)
	for len(end) > 0 && end[len(end)-1] == 0xff {
		end = end[:len(end)-1]
	}
	if len(end) > 0 {
		end[len(end)-1]++
		r.End = end
	}
	return r
}

// From is the range of all keys from start on.
func From[K ~string | ~[]byte](start K) Range { return Range{Start: []byte(start)} }

// Contains reports whether key lies in r.
func (r Range) Contains(key []byte) bool {
	return bytes.Compare(r.Start, key) <= 0 && (len(r.End) == 0 || bytes.Compare(key, r.End) < 0)
}

func (r Range) String() string {
	end := "inf"
	if len(r.End) > 0 {
		end = shortKey(r.End)
	}
	return "[" + shortKey(r.Start) + ", " + end + ")"
}

// whole puts r into the keyspace: users' keys lie behind a mode byte.
func (r Range) whole() shard.Range {
	out := shard.ModeRange(shard.ModeRaw)
	if len(r.Start) > 0 {
		out.Start = shard.RawKey(r.Start)
	}
	if len(r.End) > 0 {
		out.End = shard.RawKey(r.End)
	}
	return out
}

// wholeTxn is whole for transactional keys.
func (r Range) wholeTxn() shard.Range {
	out := shard.ModeRange(shard.ModeTxn)
	if len(r.Start) > 0 {
		out.Start = mvcc.Key(r.Start)
	}
	if len(r.End) > 0 {
		out.End = mvcc.Key(r.End)
	}
	return out
}

// userOf is the user's part of a key of either kind.
func userOf(k shard.Key) []byte {
	if u, ok := mvcc.UserKey(k); ok {
		return u
	}
	return k.User()
}

// userRange is the part of a range of the keyspace that holds users' keys, as users see it.
func userRange(r shard.Range) (Range, bool) {
	r = r.Intersect(shard.ModeRange(shard.ModeRaw))
	if r.Empty() {
		return Range{}, false
	}
	out := Range{Start: r.Start.User()}
	if end := shard.ModeRange(shard.ModeRaw).End; !bytes.Equal(r.End, end) {
		out.End = r.End.User()
	}
	return out, true
}

// checkRange refuses a range that is the wrong way round or has bounds that no key can have.
func checkRange(op string, r Range) error {
	if len(r.End) > 0 && bytes.Compare(r.Start, r.End) > 0 {
		return refuse(op, r.Start, ErrInvalid, "the range "+r.String()+" ends before it begins", "swap its bounds")
	}
	if len(r.Start) > shard.MaxKeyBytes || len(r.End) > shard.MaxKeyBytes+1 {
		return refuse(op, r.Start, ErrKeyTooLarge, "a bound of the range "+r.String()+" is longer than any key", "use a shorter one")
	}
	return nil
}

// empty reports a range without keys.
func (r Range) empty() bool { return len(r.End) > 0 && bytes.Compare(r.Start, r.End) >= 0 }

// Sum is a checksum of a set of keys that does not depend on their order, so the sums of disjoint ranges add up.
type Sum = raw.Sum
