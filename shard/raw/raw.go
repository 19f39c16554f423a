// Package raw gives raw keys their meaning: it decides what a command does to a shard's data and what a query reads
// from it. Every replica evaluates the same command against the same state at the same index of the log, so nothing is
// latched across replication and a hot key runs at the speed of a batch.
//
// All raw writes are one command: conditions, then operations, atomically. Put, delete, batch, put-if-absent,
// compare-and-swap, guarded batch and delete-range are shapes of it.
//
// Everything here is a pure function of its arguments. Time is shard time: it comes in as an argument, and a key is
// expired when its expire_at <= that time, on every path.
package raw

import (
	"time"

	"github.com/skerrydb/skerry/shard"
)

// The first byte of every body that a store puts into its log or answers from tells which package evaluates it. Bytes
// from 16 on belong to shard/mvcc. They are part of the log format.
const (
	// KindRaw begins a Command and a Query.
	KindRaw byte = 1
	// KindReclaim begins a Reclaim. Stores propose it themselves and refuse it from clients.
	KindReclaim byte = 2
)

// Limits of one command and one query. They bound what one log entry and one reply hold; MaxKeyBytes and MaxValueBytes
// of package shard bound the single key and value. Commands are checked against them before they enter the log and
// never again, so raising them needs no evaluation version.
const (
	MaxOps          = 4096 // operations of a command, and as many conditions
	MaxCommandBytes = 16 << 20
	MaxQueryKeys    = 4096
	MaxPageRows     = 10_000
	MaxPageBytes    = 16 << 20
	// MaxTTL keeps shard time + TTL far from the end of its type.
	MaxTTL = 100 * 365 * 24 * time.Hour
)

// Reader reads one shard's data as of one applied index. Any error means that the store is broken, never a result.
type Reader interface {
	// Get returns the stored value of k. It is valid until the next call.
	Get(k shard.Key) (v []byte, ok bool, err error)
	// Scan calls f for every key of r in order, or in reverse order, until f returns false. k and v are valid until f
	// returns.
	Scan(r shard.Range, reverse bool, f func(k shard.Key, v []byte) bool) error
}

// Writer is the state of a shard while one batch of entries is applied. Reads see the writes before them. Writes keep
// no reference to their arguments, and report their errors when the batch is committed.
type Writer interface {
	// Get returns the stored value of k. It is valid until the next call.
	Get(k shard.Key) (v []byte, ok bool, err error)
	// Set copies k and v.
	Set(k shard.Key, v []byte)
	// Scratch returns an empty slice with room for n bytes, to build a value in; the next Scratch may return the same.
	Scratch(n int) []byte
	Delete(k shard.Key)
	DeleteRange(r shard.Range)
	// Scan calls f for every key of r in order until f returns false. k and v are valid until f returns; f does not
	// write.
	Scan(r shard.Range, f func(k shard.Key, v []byte) bool) error
}
