package raw

import (
	"encoding/binary"
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// A stored value is a flag byte, then, with flagTTL, expire_at as 8 bytes big-endian, then the user's bytes. This is
// the disk format.
const (
	flagPlain byte = 0
	flagTTL   byte = 1
)

// Value is a stored value taken apart.
type Value struct {
	User     []byte       // the user's bytes
	ExpireAt shard.Millis // zero: never
}

// Size is at least the size of the stored form of v, in bytes.
func (v Value) Size() int { return 1 + 8 + len(v.User) }

// Append appends the stored form of v.
func (v Value) Append(b []byte) []byte {
	if v.ExpireAt == 0 {
		return append(append(b, flagPlain), v.User...)
	}
	b = append(b, flagTTL)
	b = binary.BigEndian.AppendUint64(b, uint64(v.ExpireAt))
	return append(b, v.User...)
}

// DecodeValue takes a stored value apart; User aliases b. An error means damaged data: the store is broken.
func DecodeValue(b []byte) (Value, error) {
	if len(b) > 0 && b[0] == flagPlain {
		return Value{User: b[1:]}, nil
	}
	d := codec.Decoder{B: b}
	flag, at := d.Byte(), shard.Millis(d.Uint64())
	if d.Err() != nil || flag != flagTTL || at == 0 {
		return Value{}, fmt.Errorf("stored raw value of %d bytes: %w", len(b), codec.ErrMalformed)
	}
	return Value{User: d.B, ExpireAt: at}, nil
}

// Expired reports whether v is gone at shard time now.
//
// INVARIANT: this comparison is the only one, for conditions, reads, scans, checksums and reclaiming, on leaders and
// followers; so a key that was seen to be gone never comes back, because shard time never goes back.
func (v Value) Expired(now shard.Millis) bool { return v.ExpireAt != 0 && v.ExpireAt <= now }

// dueBy reports whether v is alive at now and will be gone at due: only an entry of the log may end its life.
func (v Value) dueBy(now, due shard.Millis) bool { return !v.Expired(now) && v.Expired(due) }
