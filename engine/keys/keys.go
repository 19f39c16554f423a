// Package keys gives every physical key of a store its bytes, and the order in which they lie.
//
// The layout is fixed for ever by the first store that is created. The first byte is the kind, so that short-lived keys
// do not share blocks with long-lived ones; ids and indexes are fixed-width big-endian, so that the state, the log and
// the data of a shard are one contiguous span each:
//
//	0x01 name                      store records
//	0x02 shard(8) kind(1)          replica state: hard state, descriptor, applied, tombstone, destroying mark
//	0x03 shard(8) index(8)         raft log
//	0x04 mode(1) user key          data: a shard.Key behind the kind; of a transactional key, a version of it
//	0x05 mode(1) user key          lock of a transactional key
//
// Everything here is a plain function; package engine builds Pebble's comparer from Split and Compare.
package keys

import (
	"encoding/binary"

	"github.com/skerrydb/skerry/shard"
)

// Kind is the first byte of a physical key.
type Kind byte

// The kinds, in the order in which they lie on disk.
const (
	KindRecord Kind = 0x01 // small records of the store itself, by name
	KindState  Kind = 0x02 // state of replicas
	KindLog    Kind = 0x03 // raft log entries
	KindData   Kind = 0x04 // what shards hold
	KindLock   Kind = 0x05 // locks of transactional keys
	kindEnd    Kind = 0x06 // no key lies at or above it
)

// StateKind is the last byte of a replica state key.
type StateKind byte

// The state records of one shard on one store, at most one of each.
const (
	StateApplied    StateKind = 'a' // how far the log was applied, and the replicated counters
	StateDescriptor StateKind = 'd' // absent: the replica was born by a message and holds no data yet
	StateHard       StateKind = 'h' // replica id, term, vote, commit, base of the local log
	StateTombstone  StateKind = 't' // replica ids below the one named here must not come back; outlives everything
	StateDestroying StateKind = 'x' // spans whose data is still to be removed
)

// Span is the half-open interval [Start, End) of physical keys. End is never empty.
type Span struct{ Start, End []byte }

// stateLen and logLen are the fixed lengths of those keys.
const (
	stateLen = 1 + 8 + 1
	logLen   = 1 + 8 + 8
)

// Record is the key of a store record.
func Record(name string) []byte {
	k := make([]byte, 0, 1+len(name))
	return append(append(k, byte(KindRecord)), name...)
}

// State is the key of one state record of a shard.
func State(id shard.ID, k StateKind) []byte {
	return AppendState(make([]byte, 0, stateLen), id, k)
}

// AppendState is State into a buffer.
func AppendState(b []byte, id shard.ID, k StateKind) []byte {
	b = append(b, byte(KindState))
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	return append(b, byte(k))
}

// DecodeState takes a state key apart; ok is false if k is none.
func DecodeState(k []byte) (id shard.ID, kind StateKind, ok bool) {
	if len(k) != stateLen || Kind(k[0]) != KindState {
		return 0, 0, false
	}
	return shard.ID(binary.BigEndian.Uint64(k[1:9])), StateKind(k[9]), true
}

// Log is the key of a log entry.
func Log(id shard.ID, index uint64) []byte {
	return AppendLog(make([]byte, 0, logLen), id, index)
}

// LogLen is the length of a log key.
const LogLen = logLen

// AppendLog is Log into a buffer.
func AppendLog(b []byte, id shard.ID, index uint64) []byte {
	b = append(b, byte(KindLog))
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	return binary.BigEndian.AppendUint64(b, index)
}

// DecodeLog takes a log key apart; ok is false if k is none.
func DecodeLog(k []byte) (id shard.ID, index uint64, ok bool) {
	if len(k) != logLen || Kind(k[0]) != KindLog {
		return 0, 0, false
	}
	return shard.ID(binary.BigEndian.Uint64(k[1:9])), binary.BigEndian.Uint64(k[9:]), true
}

// Data is the physical key of k.
func Data(k shard.Key) []byte { return AppendData(make([]byte, 0, 1+len(k)), k) }

// AppendData is Data into a buffer.
func AppendData(b []byte, k shard.Key) []byte { return append(append(b, byte(KindData)), k...) }

// DecodeData is the key behind the kind, aliasing k; ok is false if k is no data key.
func DecodeData(k []byte) (shard.Key, bool) {
	if len(k) == 0 || Kind(k[0]) != KindData {
		return nil, false
	}
	return shard.Key(k[1:]), true
}

// after is the smallest key above every key that begins with the 9 bytes of (kind, id).
func after(kind Kind, id shard.ID) []byte {
	if id == ^shard.ID(0) {
		return []byte{byte(kind) + 1}
	}
	return binary.BigEndian.AppendUint64([]byte{byte(kind)}, uint64(id)+1)
}

// RecordSpan holds every store record.
func RecordSpan() Span {
	return Span{Start: []byte{byte(KindRecord)}, End: []byte{byte(KindState)}}
}

// AllStates holds the state records of every shard.
func AllStates() Span { return Span{Start: []byte{byte(KindState)}, End: []byte{byte(KindLog)}} }

// StateSpan holds the state records of one shard.
func StateSpan(id shard.ID) Span {
	return Span{Start: binary.BigEndian.AppendUint64([]byte{byte(KindState)}, uint64(id)), End: after(KindState, id)}
}

// AllLogs holds the logs of every shard.
func AllLogs() Span { return Span{Start: []byte{byte(KindLog)}, End: []byte{byte(KindLog) + 1}} }

// LogSpan holds the log of one shard.
func LogSpan(id shard.ID) Span { return Span{Start: Log(id, 0), End: after(KindLog, id)} }

// LogUpTo holds the log entries of one shard up to and with index.
func LogUpTo(id shard.ID, index uint64) Span { return LogBetween(id, 0, index) }

// LogBetween holds the log entries lo to hi, both included.
func LogBetween(id shard.ID, lo, hi uint64) Span {
	if hi == ^uint64(0) {
		return Span{Start: Log(id, lo), End: after(KindLog, id)}
	}
	return Span{Start: Log(id, lo), End: Log(id, hi+1)}
}

// DataSpan holds the data of a range. Its bounds must be prefixes (see Split), which shard bounds are.
//
// For such bounds this span, ordered by Compare, holds a version if and only if its prefix lies in the range bytewise.
// A version's own bytes need not: the prefix "p\x00" sorts below the bound "p\x00\x00", while its versions, whose next
// byte is of a timestamp, sort above it bytewise. So the range of a version is asked by its prefix.
func DataSpan(r shard.Range) Span {
	s := Span{Start: Data(r.Start), End: []byte{byte(KindLock)}}
	if len(r.End) != 0 {
		s.End = Data(r.End)
	}
	return s
}

// AllData holds the data of every shard.
func AllData() Span { return DataSpan(shard.Range{}) }

// Contains reports whether k lies in s in the order of Compare.
func (s Span) Contains(k []byte) bool { return Compare(s.Start, k) <= 0 && Compare(k, s.End) < 0 }

// Empty reports whether no key can lie in s.
func (s Span) Empty() bool { return Compare(s.Start, s.End) >= 0 }

// CutAtPrefixes reports whether both bounds are prefixes, which an excise needs.
func (s Span) CutAtPrefixes() bool {
	return Split(s.Start) == len(s.Start) && Split(s.End) == len(s.End)
}
