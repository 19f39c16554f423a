package mvcc

import (
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// Ring remembers the latest changes of one replica of a shard in memory: a Recent. It is fed by a Tap, from some entry of
// the log on.
//
// INVARIANT: once it is complete, it holds every change above base that is visible in a view which was opened before it is
// asked. What is applied while it is fed is in it; what was applied before lies at or below base, which is a timestamp that
// was issued after that: every commit timestamp was issued, or computed not above the next odd one, before it was applied.
// What it drops raises base.
//
// (That the changes above a resolved timestamp are in a ring that began before is not enough: one above it may have been
// applied before that, while a lock held the resolved timestamp back.)
type Ring struct {
	most, mostBytes int // bounds: changes, and bytes of their keys

	list     []Change // in their order, from position head on
	head     int
	bytes    int
	base     Timestamp
	complete bool
}

// NewRing returns an empty Ring that holds so many changes, and so many bytes of keys.
func NewRing(most, mostBytes int) *Ring { return &Ring{most: most, mostBytes: mostBytes} }

// changeBytes is what a Change takes beside its key.
const changeBytes = 40

// Bytes is about how much memory the ring takes.
func (r *Ring) Bytes() int { return r.bytes + (len(r.list)-r.head)*changeBytes }

// Complete says that everything that was not added lies at or below a timestamp.
func (r *Ring) Complete(from Timestamp) {
	r.base, r.complete = max(r.base, from), true
}

// Completed reports whether Complete was called.
func (r *Ring) Completed() bool { return r.complete || bug.RingFromItsBegin.On() }

// Add takes a change in, and makes room for it. k is lent.
func (r *Ring) Add(k shard.Key, ts Timestamp) {
	if ts <= r.base {
		return // nobody asks it about that
	}
	c := Change{TS: ts, Key: k}
	at, found := slices.BinarySearchFunc(r.list[r.head:], c, Change.Compare)
	if found {
		return // an Add went into a version
	}
	c.Key = k.Clone()
	r.list = slices.Insert(r.list, r.head+at, c)
	r.bytes += len(k)
	for len(r.list)-r.head > r.most || r.bytes > r.mostBytes {
		r.Drop()
	}
}

// Drop forgets the oldest change, and with it all of its timestamp. It reports false if there is none.
func (r *Ring) Drop() bool {
	if r.head == len(r.list) {
		return false
	}
	r.base = max(r.base, r.list[r.head].TS)
	for r.head < len(r.list) && r.list[r.head].TS <= r.base {
		r.bytes -= len(r.list[r.head].Key)
		r.list[r.head] = Change{}
		r.head++
	}
	if r.head > len(r.list)/2 {
		r.list = append(r.list[:0], r.list[r.head:]...)
		clear(r.list[len(r.list):cap(r.list)])
		r.head = 0
	}
	return true
}

// Since implements Recent.
func (r *Ring) Since(after Change, part shard.Range, upTo Timestamp, limit int) (list []Change, more, ok bool) {
	if !r.Completed() || after.TS <= r.base {
		return nil, false, false
	}
	all := r.list[r.head:]
	at, found := slices.BinarySearchFunc(all, after, Change.Compare)
	if found {
		at++
	}
	for _, c := range all[at:] {
		if c.TS > upTo {
			break
		}
		if !part.Contains(c.Key) {
			continue
		}
		if len(list) == limit {
			return list, true, true
		}
		list = append(list, c)
	}
	return list, false, true
}
