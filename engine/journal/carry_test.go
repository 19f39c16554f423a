package journal

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestCarryDoesNotHurry: no more is copied than was appended, but for one log, however many logs begin in the oldest segment and
// however much became needless at once; and that is enough to bound the files.
func TestCarryDoesNotHurry(t *testing.T) {
	const (
		shards, entries, entryBytes = 40, 40, 100
		oneLog                      = entries * (entryBytes + 20)
	)
	h := newHarness(t)
	life := Life{Replica: 1, Index: 5, Term: 5}
	appended, next := int64(0), make([]uint64, shards+1)
	add := func(id uint64, n uint64) {
		t.Helper()
		var b Batch
		appendTo(&b, id, life, next[id], n, "e", entryBytes)
		appended += int64(b.Len())
		at, err := h.j.Append(&b)
		if err != nil {
			t.Fatal(err)
		}
		h.at, next[id] = at, next[id]+n
		if h.j.Carried() > appended+oneLog {
			t.Fatalf("%d bytes were carried after %d were appended, and a log has %d at most", h.j.Carried(), appended, oneLog)
		}
	}
	for id := range next {
		next[id] = 6
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range shards * entries / 2 {
		if id := rnd.Uint64N(shards) + 1; next[id] < 6+entries {
			add(id, 1)
		}
	}
	for id := uint64(1); id <= shards; id++ { // each fourth rests from here on, the others are cut
		if id%4 != 0 {
			h.j.Truncate(id, next[id]-1)
		}
	}
	if appended = 0; h.j.Carried() != 0 {
		t.Fatalf("%d bytes were carried while the files held little else than what is wanted", h.j.Carried())
	}
	for range 4000 {
		add(1, 1)
		h.j.Truncate(1, next[1]-2)
		if err := h.j.Sync(h.at); err != nil {
			t.Fatal(err)
		}
		h.j.Free(h.j.Dead())
	}
	_, live := h.j.Bytes()
	if n, most := len(h.j.segs), fewSegments+4*int(live)/testSegment; n > most {
		t.Errorf("%d segments for %d bytes that are wanted, want at most %d", n, live, most)
	}
	if h.j.Carried() == 0 {
		t.Error("nothing was carried")
	}
	for id := uint64(4); id <= shards; id += 4 {
		want := uint64(6)
		err := h.j.Read(id, 0, 1000, func(index uint64, v []byte) (bool, error) {
			if s := fmt.Sprintf("%d/%d:e", id, want); index != want || string(v[:len(s)]) != s {
				return false, fmt.Errorf("entry %d of shard %d is %.20s, want %d", index, id, v, want)
			}
			want++
			return true, nil
		})
		if err != nil || want != next[id] {
			t.Errorf("shard %d: read up to %d of %d: %v", id, want, next[id], err)
		}
	}
}
