package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestCarryDoesNotHurry: no more is copied than was appended, but for one log, with no append and in all, however many logs begin
// in the oldest segment and however much became needless at once. And that is enough to bound the files.
func TestCarryDoesNotHurry(t *testing.T) {
	const (
		shards, entries, entryBytes = 80, 20, 100
		oneLog                      = entries * (entryBytes + 20)
	)
	h := newHarness(t)
	appended, next := int64(0), make(map[uint64]uint64)
	add := func(id uint64) {
		t.Helper()
		var b Batch
		appendTo(&b, id, Life{Replica: 1, Index: 5, Term: 5}, 6+next[id], 1, "e", entryBytes)
		size, before := int64(b.Len()), h.j.Carried()
		at, err := h.j.Append(&b)
		if err != nil {
			t.Fatal(err)
		}
		h.at, next[id], appended = at, next[id]+1, appended+size
		if n := h.j.Carried() - before; n > size+oneLog {
			t.Fatalf("%d bytes were carried with an append of %d, and a log has %d", n, size, oneLog)
		}
		if n := h.j.Carried(); n > appended+oneLog {
			t.Fatalf("%d bytes were carried after %d were appended, and a log has %d", n, appended, oneLog)
		}
	}
	for _, i := range rand.New(rand.NewPCG(1, 2)).Perm(shards * entries) {
		add(uint64(i%shards) + 1)
	}
	if h.j.Carried() != 0 {
		t.Fatalf("%d bytes were carried while the files held little else than what is wanted", h.j.Carried())
	}
	for id := range next { // each fourth rests from here on, the others are cut
		if id%4 != 0 {
			h.j.Truncate(id, 5+entries)
		}
	}
	for i := range 4000 {
		appended = min(appended, h.j.Carried()) // what was appended before entitles to nothing
		add(1)
		h.j.Truncate(1, 4+next[1])
		if i%500 > 250 { // for a while, nobody knows that a segment is not needed any more
			if err := h.j.Sync(h.at); err != nil {
				t.Fatal(err)
			}
			h.j.Free(h.j.Dead())
		}
	}
	_, live := h.j.Bytes()
	if n, most := len(h.j.segs), fewSegments+4*int(live)/testSegment; n > most {
		t.Errorf("%d segments for %d bytes that are wanted, want at most %d", n, live, most)
	}
	if h.j.Carried() == 0 {
		t.Error("nothing was carried")
	}
	for id := uint64(4); id <= shards; id += 4 {
		h.mustHave(id, 6, 5+entries)
	}
}

// mustHave fails unless the log of a shard is exactly these entries, with the values that appendTo gave them.
func (h *harness) mustHave(shard, first, last uint64) {
	h.t.Helper()
	want := first
	err := h.j.Read(shard, 0, last+1, func(index uint64, v []byte) (bool, error) {
		if s := fmt.Sprintf("%d/%d:", shard, want); index != want || string(v[:min(len(v), len(s))]) != s {
			return false, fmt.Errorf("entry %d is %.20s, want %s", index, v, s)
		}
		want++
		return true, nil
	})
	if err != nil || want != last+1 {
		h.t.Errorf("the log of shard %d was read up to %d of %d: %v", shard, want-1, last, err)
	}
}
