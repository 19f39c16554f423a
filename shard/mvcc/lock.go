package mvcc

import (
	"encoding/binary"
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

// LockKind is what a lock stands for.
type LockKind uint8

// The kinds. They are part of the disk format.
const (
	LockPut         LockKind = 1 // the key becomes a value
	LockDelete      LockKind = 2 // the key is removed
	LockOnly        LockKind = 3 // the key keeps its value, and conflicts all the same
	LockPessimistic LockKind = 4 // taken before the transaction knows what it writes; readers pass it
)

func (k LockKind) String() string {
	switch k {
	case LockPut:
		return "put"
	case LockDelete:
		return "delete"
	case LockOnly:
		return "lock"
	case LockPessimistic:
		return "pessimistic"
	}
	return fmt.Sprintf("lock(%d)", uint8(k))
}

// Lock is the mark of an unfinished transaction on a key. There is at most one per key.
type Lock struct {
	Kind    LockKind
	StartTS Timestamp
	Primary shard.Key // the key whose fate decides
	// ExpireAt is the shard time from which on others may roll the transaction back. A heartbeat moves it on.
	ExpireAt shard.Millis
	// ForUpdateTS is, of a lock that began as a pessimistic one, the timestamp up to which the owner has seen the key.
	ForUpdateTS Timestamp
	// MinCommitTS is the least timestamp at which the transaction may commit; zero for start_ts + 1. Async: computed by
	// the prewrite. Else a reader that met the lock may have pushed it.
	MinCommitTS Timestamp
	// Async says that the transaction is committed as soon as all its keys are locked so, at the largest MinCommitTS.
	// INVARIANT: MinCommitTS of an async lock never changes.
	Async       bool
	Secondaries []shard.Key // with Async, on the primary: all the other keys
	Long        bool        // the value is stored at (key, StartTS)
	Value       []byte      // the value, if it is short
}

const lockVersion = 1

// Flags of a lock.
const (
	lockAsync byte = 1 << iota
	lockLong
	lockFlags = lockAsync | lockLong
)

// Append appends the stored form of l.
func (l *Lock) Append(b []byte) []byte {
	b = append(b, lockVersion, byte(l.Kind), flag(l.Async, lockAsync)|flag(l.Long, lockLong))
	b = appendTS(b, l.StartTS)
	b = codec.AppendBytes(b, l.Primary)
	b = codec.AppendUvarint(b, uint64(l.ExpireAt))
	b = codec.AppendUvarint(b, uint64(l.ForUpdateTS))
	b = codec.AppendUvarint(b, uint64(l.MinCommitTS))
	b = appendKeys(b, l.Secondaries)
	return append(b, l.Value...)
}

// DecodeLock takes a stored lock apart, copying what it keeps. An error means damaged data: the store is broken.
func DecodeLock(b []byte) (*Lock, error) {
	d := codec.Decoder{B: append([]byte(nil), b...)}
	d.Version(lockVersion)
	l := &Lock{Kind: LockKind(d.Byte())}
	flags := d.Byte()
	l.Async, l.Long = flags&lockAsync != 0, flags&lockLong != 0
	l.StartTS = readTS(&d)
	l.Primary = d.Bytes()
	l.ExpireAt = shard.Millis(d.Uvarint())
	l.ForUpdateTS, l.MinCommitTS = Timestamp(d.Uvarint()), Timestamp(d.Uvarint())
	l.Secondaries = readKeys(&d)
	if len(d.B) > 0 {
		l.Value = d.B
	}
	if d.Err() != nil || flags&^lockFlags != 0 || l.Kind < LockPut || l.Kind > LockPessimistic {
		return nil, fmt.Errorf("stored lock of %d bytes: %w", len(b), codec.ErrMalformed)
	}
	return l, nil
}

// hides reports whether a read at ts must know what becomes of l before it may answer.
//
// INVARIANT: a transaction whose lock does not hide commits above ts, or changes no value: it began above ts, its least
// commit timestamp lies above ts, or it is only pessimistic and will compute that timestamp when it prewrites.
func (l *Lock) hides(ts Timestamp) bool {
	return (l.Kind == LockPut || l.Kind == LockDelete) && l.StartTS <= ts && l.MinCommitTS <= ts
}

// LockInfo is a lock as others see it: what they need to find out what became of its transaction.
type LockInfo struct {
	Key, Primary shard.Key
	StartTS      Timestamp
	Kind         LockKind
	ExpireAt     shard.Millis
	ForUpdateTS  Timestamp
	MinCommitTS  Timestamp
	Async        bool
	Secondaries  []shard.Key // with Async, on the primary
}

// info copies k; the rest of l is its own.
func (l *Lock) info(k shard.Key) LockInfo {
	return LockInfo{Key: k.Clone(), Primary: l.Primary, StartTS: l.StartTS, Kind: l.Kind, ExpireAt: l.ExpireAt,
		ForUpdateTS: l.ForUpdateTS, MinCommitTS: l.MinCommitTS, Async: l.Async, Secondaries: l.Secondaries}
}

// String prints the lock for people.
func (l LockInfo) String() string {
	async := ""
	if l.Async {
		async = " async"
	}
	return fmt.Sprintf("%s%s lock of %d on %s, primary %s", l.Kind, async, l.StartTS, l.Key, l.Primary)
}

func (l *LockInfo) append(b []byte) []byte {
	b = append(b, byte(l.Kind), flag(l.Async, lockAsync))
	b = codec.AppendBytes(b, l.Key)
	b = codec.AppendBytes(b, l.Primary)
	b = codec.AppendUvarint(b, uint64(l.StartTS))
	b = codec.AppendUvarint(b, uint64(l.ExpireAt))
	b = codec.AppendUvarint(b, uint64(l.ForUpdateTS))
	b = codec.AppendUvarint(b, uint64(l.MinCommitTS))
	return appendKeys(b, l.Secondaries)
}

func (l *LockInfo) read(d *codec.Decoder) bool {
	l.Kind = LockKind(d.Byte())
	flags := d.Byte()
	l.Async = flags&lockAsync != 0
	l.Key, l.Primary = d.Bytes(), d.Bytes()
	l.StartTS, l.ExpireAt = Timestamp(d.Uvarint()), shard.Millis(d.Uvarint())
	l.ForUpdateTS, l.MinCommitTS = Timestamp(d.Uvarint()), Timestamp(d.Uvarint())
	l.Secondaries = readKeys(d)
	return flags&^lockAsync == 0
}

func appendLocks(b []byte, locks []LockInfo) []byte {
	b = codec.AppendUvarint(b, uint64(len(locks)))
	for i := range locks {
		b = locks[i].append(b)
	}
	return b
}

// minLockBytes is the shortest encoding of a LockInfo.
const minLockBytes = 9

func readLocks(d *codec.Decoder) (locks []LockInfo, ok bool) {
	ok = true
	for range d.Count(minLockBytes) {
		var l LockInfo
		ok = l.read(d) && ok
		locks = append(locks, l)
	}
	return locks, ok
}

func appendKeys(b []byte, keys []shard.Key) []byte {
	b = codec.AppendUvarint(b, uint64(len(keys)))
	for _, k := range keys {
		b = codec.AppendBytes(b, k)
	}
	return b
}

func readKeys(d *codec.Decoder) (keys []shard.Key) {
	for range d.Count(1) {
		keys = append(keys, d.Bytes())
	}
	return keys
}

func appendTS(b []byte, ts Timestamp) []byte { return binary.BigEndian.AppendUint64(b, uint64(ts)) }

func readTS(d *codec.Decoder) Timestamp { return Timestamp(d.Uint64()) }

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}
