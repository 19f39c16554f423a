// Package mvcc gives transactional keys their meaning: versions, locks, and what the commands of Percolator's protocol
// (Peng and Dabek, OSDI 2010; with TiKV's async commit, one-phase commit and pessimistic locks) do to one shard.
//
// A transaction has a start timestamp, unique and even, handed out by placement. It prewrites its keys, which locks
// them, and then commits its primary key; that one write decides for all. The other keys are committed later, by anybody
// who meets their locks and asks the primary. A rolled back transaction leaves a rollback record on each key, so that a
// late prewrite of it finds its grave instead of an empty place.
//
// Every replica evaluates the same command against the same state at the same index of the log, so no latches are held
// across replication. A command does all that it says or, if one key refuses, nothing. Every command may arrive again,
// or late, after anything: it is known by (key, start_ts), and its second application changes nothing. That rests on
// three kinds of memory: the lock, the version's record (which names start_ts), and the rollback record. The replicated
// safe point stands for those that were collected: below it a transaction that left nothing is refused.
//
// A split divides locks and versions by key and copies the safe point; nothing here spans keys of two shards.
//
// Computed commit timestamps (async commit, one-phase commit, Add) are odd and issued ones even, so a version never
// lies at another transaction's start_ts and rollback records need no flags.
package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// Limits, checked before a command enters the log and never again, as in package raw.
const (
	MaxKeys         = 4096     // of a command or a Get
	MaxCommandBytes = 16 << 20 // of keys and values
	MaxPageRows     = 10_000
	MaxPageBytes    = 16 << 20
	// MaxSecondaries bounds the keys of an async commit: its primary lock lists them all, and recovery asks each.
	MaxSecondaries = 256
	// MaxTTLMillis bounds how long a lock outlives its owner's last sign of life.
	MaxTTLMillis = 24 * 60 * 60 * 1000
	// ShortValueBytes is the longest value that stands in the lock and then in the version's record, so that a point read
	// is one seek. A longer one is written once, at (key, start_ts), and not moved by the commit.
	ShortValueBytes = 255
)

// Timestamp orders transactions: milliseconds of placement's clock, then 18 bits of a counter. Issued ones are even,
// computed ones odd. Zero is none.
type Timestamp uint64

// MaxTimestamp lies above every timestamp.
const MaxTimestamp = ^Timestamp(0)

// logicalBits is the width of the counter below the milliseconds, as placement makes it.
const logicalBits = 18

// Millis is the time at which the timestamp was issued.
func (ts Timestamp) Millis() shard.Millis { return shard.Millis(ts >> logicalBits) }

// Ago is the timestamp that lies so much before ts, which is not below that.
func (ts Timestamp) Ago(d shard.Millis) Timestamp { return ts - Timestamp(d)<<logicalBits }

// AtMillis is the largest timestamp of a millisecond of placement's clock.
func AtMillis(t shard.Millis) Timestamp { return Timestamp(t+1)<<logicalBits - 1 }

// NextOdd is the smallest odd timestamp above ts. Computed timestamps are odd.
func (ts Timestamp) NextOdd() Timestamp {
	if bug.ComputedEven.On() {
		return (ts + 2) &^ 1
	}
	return (ts + 1) | 1
}

// Key is the key of the keyspace for a transactional user key: mode, user key, closing zero. Every key of this package
// has that form.
func Key(user []byte) shard.Key {
	k := make(shard.Key, 0, len(user)+2)
	return append(append(append(k, byte(shard.ModeTxn)), user...), 0)
}

// UserKey is the user's part of a Key, aliasing it; ok is false if k is none.
func UserKey(k shard.Key) (user []byte, ok bool) {
	if len(k) < 2 || shard.Mode(k[0]) != shard.ModeTxn || k[len(k)-1] != 0 {
		return nil, false
	}
	return k[1 : len(k)-1], true
}

// odd is the smallest odd timestamp at or above a floor, which is odd already.
func odd(floor Timestamp) Timestamp {
	if bug.ComputedEven.On() {
		return floor
	}
	return floor | 1
}

// Step is what a visitor of versions wants next.
type Step uint8

// The steps.
const (
	Stop        Step = iota
	NextVersion      // the next older version of this key, or the first one of the next key
	NextKey          // the first version of the next key
)

// Reader reads one shard as of one applied index. Keys are transactional keys; k and v are valid only during the call,
// or, of Lock, until the next one; callbacks do not use the Reader. Any error means that the store is broken.
type Reader interface {
	// Lock returns the stored lock of k.
	Lock(k shard.Key) (v []byte, ok bool, err error)
	// Locks calls f for every lock in r in the order of keys, or in reverse order, until f returns false.
	Locks(r shard.Range, reverse bool, f func(k shard.Key, v []byte) bool) error
	// Versions calls f for what is stored of k at timestamps up to at, newest first, until f returns false: one seek.
	Versions(k shard.Key, at Timestamp, f func(ts Timestamp, v []byte) bool) error
	// Scan does that for every key of r in order, or in reverse order of the keys. In both orders the versions of one key
	// come newest first.
	Scan(r shard.Range, reverse bool, at Timestamp, f func(k shard.Key, ts Timestamp, v []byte) Step) error
}

// Writer is the state of a shard while one batch of entries is applied. Reads see the writes before them. Writes keep no
// reference to their arguments, and report their errors when the batch is committed.
type Writer interface {
	Reader
	SetLock(k shard.Key, v []byte)
	DeleteLock(k shard.Key)
	SetVersion(k shard.Key, ts Timestamp, v []byte)
	DeleteVersion(k shard.Key, ts Timestamp)
}

// State is the replicated state of the shard that evaluation needs besides its data.
type State struct {
	// Time is the shard time after the stamp of the command's entry. Locks expire by it.
	Time shard.Millis
	// SafePoint is the timestamp below which nothing begins and nothing is read any more. Collected is the one below which
	// records may have been collected, so that finding none says nothing. Both only grow. A split copies them to both
	// sides; a merge takes the larger ones.
	// INVARIANT: Collected <= SafePoint.
	SafePoint, Collected Timestamp
	// Locks counts the locks of the shard. While it is zero, reads do not look for locks.
	Locks uint64
	// Written is what this replica remembers of its latest writes, or nil. It is not replicated: it spares looking.
	Written *Written
}

// Effect is what a command does to State.
type Effect struct {
	Locks     int64     // to be added to State.Locks
	Wrote     bool      // the Writer got something
	SafePoint Timestamp // State.SafePoint from here on
	Collected Timestamp // State.Collected from here on
}

// CountLocks counts the locks in r, for a split.
func CountLocks(rd Reader, r shard.Range) (uint64, error) {
	var n uint64
	if err := rd.Locks(r, false, func(shard.Key, []byte) bool { n++; return true }); err != nil {
		return 0, fmt.Errorf("count locks of %s: %w", r, err)
	}
	return n, nil
}
