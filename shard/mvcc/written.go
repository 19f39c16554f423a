package mvcc

import (
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// writtenSlots is a power of two. A Written takes 8 B of each.
const writtenSlots = 1024

// Written remembers how late the keys of one replica of a shard were written, so that a prewrite need not look among the
// versions on disk for what nobody wrote: a seek of some 10 µs on each replica, the dearest part of a small transaction. Keys
// share slots, so what it remembers of a key may be another one's, and later than the truth, never earlier. (A sketch in one
// row, as the timestamp cache of CockroachDB is for reads.)
//
// INVARIANT: once it is complete, a record of k that is not below start lies in the slot of k at or above start, for every
// start above base: what was written since it began is in it, and what was written before lies at or below base.
//
// It says nothing that the records would not: a replica that has none evaluates to the same.
type Written struct {
	base     Timestamp
	complete bool
	slots    [writtenSlots]Timestamp
}

// NewWritten returns a Written that begins now.
func NewWritten() *Written { return &Written{} }

// Complete says that everything that was written before it began lies at or below a timestamp.
func (w *Written) Complete(base Timestamp) {
	w.base, w.complete = max(w.base, base), true
}

// note takes in a record.
func (w *Written) note(k shard.Key, ts Timestamp) {
	if w != nil {
		s := w.slot(k)
		*s = max(*s, ts)
	}
}

// silent reports that k has no record at or above start.
func (w *Written) silent(k shard.Key, start Timestamp) bool {
	return w != nil && (w.complete && start > w.base || bug.WrittenFromItsBegin.On()) && *w.slot(k) < start
}

// slot is that of a key, by FNV-1a: the same in every process, so that simulated worlds replay.
func (w *Written) slot(k shard.Key) *Timestamp {
	h := uint64(14695981039346656037)
	for _, b := range k {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return &w.slots[(h^h>>32)%writtenSlots]
}
