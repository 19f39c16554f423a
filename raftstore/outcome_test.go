package raftstore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// TestOutcomesCover: whatever is forgotten, an attempt that was applied is found, with what it came to, by whoever asks about it with an
// index that is covered.
func TestOutcomesCover(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	o := outcomes{from: 100}
	at := map[uint64][]apply.Reply{} // by index
	index := o.from
	entries := func() (n int) {
		for _, p := range o.parts {
			n += p.entries
		}
		return n
	}
	check := func() {
		t.Helper()
		if !o.covers(index) || entries() > maxOutcomes {
			t.Fatalf("entry %d: the newest is covered: %v, %d results", index, o.covers(index), entries())
		}
		for i, replies := range at {
			if !o.covers(i - 1) {
				delete(at, i)
				continue
			}
			for _, want := range replies {
				got, found := o.find(want.Op, i-1)
				if !found {
					t.Fatalf("entry %d: the attempt of entry %d is covered and not found; everything after %d should be", index, i, o.from)
				}
				if want.Err != got.Err || !bytes.Equal(want.Body, got.Body) {
					t.Fatalf("entry %d: the attempt of entry %d came to %q, %v; it was %q, %v", index, i, got.Body, got.Err, want.Body, want.Err)
				}
			}
		}
	}
	for step := range 30_000 {
		index++
		if rng.IntN(8) > 0 { // else an entry that nobody asks about
			replies := randomReplies(rng, index)
			o.add(index, replies)
			at[index] = replies
		}
		if rng.IntN(8_000) == 0 {
			o.shrink()
			if n := entries(); n > keptAsleep {
				t.Fatalf("%d outcomes are kept asleep, want %d", n, keptAsleep)
			}
			check()
		}
		if step%1000 == 0 {
			check()
		}
	}
	if o.from < index-maxOutcomes*2 {
		t.Fatalf("nothing was covered after %d of %d", o.from, index)
	}
}

// TestOutcomesGiveRoomBack: what entries of many commands took, and large results, is not kept when such do not come any more.
func TestOutcomesGiveRoomBack(t *testing.T) {
	var o outcomes
	index := uint64(0)
	room := func() (attempts, bodies int) {
		for _, p := range o.parts {
			attempts, bodies = attempts+cap(p.attempts), bodies+cap(p.bodies)
		}
		return attempts, bodies
	}
	add := func(entries, commands, size int) {
		for range entries {
			index++
			replies := make([]apply.Reply, commands)
			for i := range replies {
				replies[i] = apply.Reply{Op: call.OpID{Client: uint64(i), Seq: index}, Body: bytes.Repeat([]byte{byte(index)}, size)}
			}
			o.add(index, replies)
		}
	}
	add(2*maxOutcomes, 50, 2)
	if n, _ := room(); n < 50*maxOutcomes*3/4 {
		t.Fatalf("room for %d attempts after %d entries of 50", n, maxOutcomes)
	}
	add(2*maxOutcomes, 1, 200)
	n, size := room()
	if n > spareRoom*maxOutcomes {
		t.Errorf("room for %d attempts after %d entries of one", n, 2*maxOutcomes)
	}
	if size < 200*maxOutcomes*3/4 {
		t.Fatalf("room for %d bytes after %d results of 200", size, maxOutcomes)
	}
	add(2*maxOutcomes, 1, 2)
	if _, size = room(); size > spareRoom*2*maxOutcomes+outcomeParts*maxOutcomeBytes {
		t.Errorf("room for %d bytes after %d results of two", size, 2*maxOutcomes)
	}
}

// randomReplies are those of an entry: most are alike, as those of puts are.
func randomReplies(rng *rand.Rand, index uint64) []apply.Reply {
	replies := make([]apply.Reply, 1+rng.IntN(3))
	if rng.IntN(50) == 0 {
		replies = make([]apply.Reply, 400)
	}
	for i := range replies {
		replies[i] = apply.Reply{Op: call.OpID{Client: uint64(i), Seq: index}, Body: []byte{1, 0}}
		switch rng.IntN(6) {
		case 0:
			replies[i].Body = nil
		case 1:
			replies[i].Body = fmt.Append(nil, index, i)
		case 2:
			replies[i] = apply.Reply{Op: replies[i].Op, Err: &shard.InvalidError{Why: fmt.Sprint(index)}}
		}
	}
	return replies
}
