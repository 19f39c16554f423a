package keys

import (
	"encoding/binary"

	"github.com/skerrydb/skerry/shard"
)

// Versions and locks of transactional keys. A transactional key, as shards, routes and commands know it, is
//
//	mode 'x' or 'X', user key, 0x00
//
// closing zero included, so a key lies in a shard's range if and only if its versions lie in DataSpan of that range.
//
// Locks have a kind of their own and keep the key as it is. Behind KindData under a mode of their own ('l') they would
// lie bytewise in the range of another shard than their key: the shard ["", "rk") holds all of 'l' and nothing of 'x'.
// So the spans of a shard are two, DataSpan and LockSpan of the same range; splits cut both at the same key.

// Version is the physical key of the version of k at ts.
func Version(k shard.Key, ts uint64) []byte {
	return AppendVersion(make([]byte, 0, 1+len(k)+suffixLen), k, ts)
}

// AppendVersion is Version into a buffer.
func AppendVersion(b []byte, k shard.Key, ts uint64) []byte {
	b = AppendData(b, k)
	b = binary.BigEndian.AppendUint64(b, ^ts)
	return append(b, suffixMark)
}

// DecodeVersion takes the key of a version apart; k aliases it. ok is false if it is none.
func DecodeVersion(p []byte) (k shard.Key, ts uint64, ok bool) {
	n := Split(p)
	if n == len(p) {
		return nil, 0, false
	}
	return shard.Key(p[1:n:n]), ^binary.BigEndian.Uint64(p[n:]), true
}

// VersionSpan holds the versions of k at and below ts, the newest first.
func VersionSpan(k shard.Key, ts uint64) Span {
	return Span{Start: Version(k, ts), End: ImmediateSuccessor(nil, Data(k))}
}

// Lock is the physical key of the lock of k.
func Lock(k shard.Key) []byte { return AppendLock(make([]byte, 0, 1+len(k)), k) }

// AppendLock is Lock into a buffer.
func AppendLock(b []byte, k shard.Key) []byte { return append(append(b, byte(KindLock)), k...) }

// DecodeLock is the key that a lock is of, aliasing p; ok is false if p is no lock's key.
func DecodeLock(p []byte) (k shard.Key, ok bool) {
	if len(p) == 0 || Kind(p[0]) != KindLock {
		return nil, false
	}
	return shard.Key(p[1:]), true
}

// LockSpan holds the locks of the keys of a range.
func LockSpan(r shard.Range) Span {
	s := Span{Start: Lock(r.Start), End: []byte{byte(kindEnd)}}
	if len(r.End) != 0 {
		s.End = Lock(r.End)
	}
	return s
}
