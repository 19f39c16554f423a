package raftstore

import (
	"sync/atomic"

	"github.com/skerrydb/skerry/shard"
)

// frontSlots is a power of two: 4 KiB of pointers.
const frontSlots = 512

// front finds replicas that are awake with one look, where a map of ten thousand, nearly all of which sleep, costs two or three misses
// of the processor's caches for each message and each request. Who is not found may be in the map that it stands before.
//
// INVARIANT: it names nobody whom that map does not name. So only the shard's worker puts in and takes out, and it takes out before the
// map changes; readers never fill it.
type front struct {
	slots [frontSlots]atomic.Pointer[replica]
}

func (f *front) slot(id shard.ID) *atomic.Pointer[replica] { return &f.slots[uint64(id)%frontSlots] }

func (f *front) find(id shard.ID) *replica {
	if r := f.slot(id).Load(); r != nil && r.id == id {
		return r
	}
	return nil
}

// names reports whether the invariant holds for a shard whose replica in the map is r.
func (f *front) names(id shard.ID, r *replica) bool { return f.find(id) == nil || f.find(id) == r }

func (f *front) put(r *replica) { f.slot(r.id).Store(r) }

func (f *front) drop(id shard.ID) {
	if r := f.find(id); r != nil {
		f.slot(id).CompareAndSwap(r, nil) // unless another worker's took its place
	}
}
