package raftstore

import (
	"math/rand/v2"
	"testing"

	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard/call"
)

// TestOutcomesCover: whatever is forgotten, an attempt that was applied is found by whoever asks about it with an index that is covered.
func TestOutcomesCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	o := outcomes{from: 100}
	at := map[uint64]call.OpID{} // by index
	index := o.from
	for step := range 12_000 {
		index++
		if rng.IntN(8) > 0 { // else an entry that nobody asks about
			op := call.OpID{Client: 1, Seq: index}
			at[index] = op
			o.add(index, 7, []apply.Reply{{Op: op}})
		}
		if rng.IntN(3_000) == 0 {
			o.shrink()
		}
		if step%500 != 0 {
			continue
		}
		if !o.covers(index) || len(o.ring) > maxOutcomes {
			t.Fatalf("entry %d: the newest is covered: %v, %d results", index, o.covers(index), len(o.ring))
		}
		for i, op := range at {
			if _, found := o.find(op, i-1); !found && o.covers(i-1) {
				t.Fatalf("entry %d: the attempt of entry %d is covered and not found; everything after %d should be", index, i, o.from)
			}
		}
	}
	if o.from < index-maxOutcomes*2 {
		t.Fatalf("nothing was covered after %d of %d", o.from, index)
	}
}
