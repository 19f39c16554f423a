package engine

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
)

const warmRows = 20_000 // of some 130 bytes: 2.6 MB, 160 blocks

func warmKey(i int) []byte { return keys.Data(fmt.Appendf(nil, "%06d", i)) }

// writeRows writes one of step rows from the first on, and a table of them.
func writeRows(t *testing.T, e *Engine, first, step int) {
	t.Helper()
	rnd, random := rand.NewChaCha8([32]byte{byte(first)}), make([]byte, 100)
	for i := first; i < warmRows; i += step {
		must(t, e.db.Set(warmKey(i), random, pebble.NoSync))
		_, _ = rnd.Read(random)
	}
	must(t, e.db.Flush())
}

// misses reads all rows and returns how many blocks were not in the cache.
func misses(t *testing.T, e *Engine) int64 {
	t.Helper()
	before := e.Metrics().CacheMisses
	for i := range warmRows {
		if _, ok, err := e.get(warmKey(i)); err != nil || !ok {
			t.Fatal(i, ok, err)
		}
	}
	return e.Metrics().CacheMisses - before
}

// calm waits until a warmer has looked for so many blocks, and has nothing to do.
func calm(t *testing.T, w *warmer, blocks int64) {
	t.Helper()
	eventually(t, "a warm cache", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.fresh) == 0 && w.busy == 0 && w.blocks.Load() >= blocks
	})
}

// TestWarmCache: what was flushed and compacted is in the cache before anybody reads it, and so is all there is after a start.
func TestWarmCache(t *testing.T) {
	dir := t.TempDir()
	open := func(cache int64) *Engine {
		e, err := Open(dir, Options{CacheBytes: cache, MemTableBytes: cache / 8})
		must(t, err)
		return e
	}
	e := open(64 << 20)
	writeRows(t, e, 0, 1)
	calm(t, e.warm, 100)
	if n := misses(t, e); n != 0 {
		t.Errorf("after a flush %d blocks were not in the cache", n)
	}
	before := e.Metrics().WarmedBlocks
	for first := range 4 { // tables that overlap, and are compacted
		writeRows(t, e, first, 4)
	}
	must(t, e.db.Compact(t.Context(), keys.AllStates().Start, warmKey(warmRows), false))
	calm(t, e.warm, before+100)
	if n := misses(t, e); n != 0 {
		t.Errorf("after compactions %d blocks were not in the cache", n)
	}
	mustClose(t, e)

	e = open(64 << 20)
	calm(t, e.warm, 100)
	if n := misses(t, e); n != 0 {
		t.Errorf("after a start %d blocks were not in the cache", n)
	}
	mustClose(t, e)

	// A cache that cannot hold it all is left to those who read.
	e = open(1 << 20)
	if _, ok := e.warm.next(); ok {
		t.Error("a store with more than its cache can hold reads something")
	}
	mustClose(t, e)
	dir = t.TempDir()
	e = open(1 << 20)
	writeRows(t, e, 0, 8)
	calm(t, e.warm, 10)
	before = e.Metrics().WarmedBlocks
	for first := range 4 { // 40 blocks each, and when they are compacted 160
		writeRows(t, e, first, 4)
	}
	calm(t, e.warm, 0)
	if n := e.Metrics().WarmedBlocks - before; n > 64 {
		t.Errorf("%d blocks were brought into a cache for 64", n)
	}
	mustClose(t, e)

	// Memtables have their room in the cache too, and what they leave of this one is nothing.
	e, err := Open(t.TempDir(), Options{CacheBytes: 1 << 20, MemTableBytes: 8 << 20})
	must(t, err)
	writeRows(t, e, 0, 8)
	calm(t, e.warm, 0)
	if n := e.Metrics().WarmedBlocks; n != 0 {
		t.Errorf("%d blocks were brought into a cache that memtables take all of", n)
	}
	mustClose(t, e)
}

// TestWarmWaits: nothing is read while a compaction is under way, or after the end.
func TestWarmWaits(t *testing.T) {
	e, err := Open(t.TempDir(), Options{})
	must(t, err)
	// One that does nothing by itself.
	e.warm.close(false)
	c := NewCache(1 << 20)
	defer c.Close()
	w := newWarmer(e, c.c)
	e.warm = w
	l := e.listener(true)
	l.CompactionBegin(pebble.CompactionInfo{Reason: "move"})
	l.FlushEnd(pebble.FlushInfo{Output: []pebble.TableInfo{{FileNum: 1000}}})
	if _, ok := w.next(); ok {
		t.Error("a table is read beside a compaction")
	}
	l.CompactionEnd(pebble.CompactionInfo{Reason: "move", Output: pebble.LevelInfo{Tables: []pebble.TableInfo{{FileNum: 1001}}}})
	if file, ok := w.next(); !ok || file != 1000 {
		t.Errorf("the next table is %d %v, want 1000", file, ok)
	}
	w.drop(1)
	if file, ok := w.next(); ok {
		t.Errorf("%d was moved and is read", file)
	}
	l.CompactionBegin(pebble.CompactionInfo{})
	l.CompactionEnd(pebble.CompactionInfo{Err: pebble.ErrCancelledCompaction, Output: pebble.LevelInfo{Tables: []pebble.TableInfo{{FileNum: 1002}}}})
	l.TableIngested(pebble.TableIngestInfo{})
	if file, ok := w.next(); ok {
		t.Errorf("%d is not there and is read", file)
	}
	var many pebble.TableInfo
	for i := range 3 * warmTables {
		setNum(&many.FileNum, uint64(2000+i))
		w.wrote(many)
	}
	if file, ok := w.next(); !ok || file != 2000+2*warmTables {
		t.Errorf("of very many tables the next is %d %v", file, ok)
	}
	w.drop(warmTables)
	l.CompactionBegin(pebble.CompactionInfo{})
	l.CompactionEnd(pebble.CompactionInfo{Output: pebble.LevelInfo{Tables: []pebble.TableInfo{{FileNum: 1003}}}})
	if file, ok := w.next(); !ok || file != 1003 || !w.read(file) { // it was replaced meanwhile
		t.Error("a table that is gone ends the reading of others")
	}
	mustClose(t, e)
	if _, ok := w.next(); ok || w.read(1003) {
		t.Error("a table is read after the end")
	}
}

// TestWarmGivesWay: a piece that had to wait is followed by a pause.
func TestWarmGivesWay(t *testing.T) {
	const ms = time.Millisecond
	type piece struct{ wall, cpu, pause time.Duration }
	for _, c := range []struct {
		what   string
		pieces []piece
	}{
		{"alone", []piece{{20 * ms, 20 * ms, 0}, {20 * ms, 15 * ms, 0}}},
		{"beside two others who give way", []piece{{60 * ms, 20 * ms, 0}, {60 * ms, 20 * ms, 0}}},
		{"beside one who does not", []piece{{100 * ms, 10 * ms, 1600 * ms}, {50 * ms, 5 * ms, 800 * ms}, {10 * ms, 10 * ms, 0}, {12 * ms, 10 * ms, 0}}},
		{"beside many", []piece{{3000 * ms, 10 * ms, longestPause}}},
		{"a small piece beside one who does not", []piece{{19 * ms, 2 * ms, 0}, {19 * ms, 2 * ms, 608 * ms}}},
		{"small pieces that were in the cache", []piece{{ms, 0, 0}, {ms, 0, 0}, {18 * ms, 18 * ms, 0}}},
		{"not known", []piece{{25 * ms, 0, 400 * ms}}},
	} {
		var p pace
		for i, r := range c.pieces {
			if got := p.read(r.wall, r.cpu); got != r.pause {
				t.Errorf("%s: piece %d, of %v, %v of the processor: pause of %v, want %v", c.what, i, r.wall, r.cpu, got, r.pause)
			}
		}
	}
}
