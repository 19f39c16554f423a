package simfs

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// TestTornTail: whatever piece of the next record a crash leaves behind, Pebble starts, and again after another crash,
// and shows the batches before it.
func TestTornTail(t *testing.T) {
	t.Parallel()
	torn, starts := 0, 0
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		fs := New()
		db := openPebble(t, fs)
		total := 1 + rng.IntN(12)
		for i := range total {
			// Values end with zeros, like what was allocated and never written.
			v := append(bytes.Repeat([]byte{byte(i + 1)}, rng.IntN(50)), make([]byte, rng.IntN(100))...)
			if rng.IntN(4) == 0 {
				v = append(v, make([]byte, rng.IntN(80<<10))...)
			}
			must(t, db.Set(fmt.Appendf(nil, "%04d", i), v, pebble.NoSync))
		}
		fs.Freeze()
		must(t, db.Close())
		before := -1
		for n := range 3 { // after the first crash nothing is written, so the others lose nothing
			next := fs.Crash(seed, n)
			if w := next.wal; w != nil && len(scanLog(w).batches) > 0 && w.data.size > w.batches[len(w.batches)-1].end {
				torn++
			}
			db = openPebble(t, next)
			have := count(t, db)
			if before >= 0 && have != before {
				t.Fatalf("seed %d: %d batches, %d before the second crash", seed, have, before)
			}
			next.Freeze()
			must(t, db.Close())
			fs, before = next, have
			starts++
		}
	}
	t.Logf("%d starts, %d torn tails", starts, torn)
	if torn == 0 {
		t.Fatal("no tail was torn")
	}
}

// TestSameTail: how many of many small batches survive does not depend on the logs that they are in, although Pebble
// begins a new log when a memtable is full, and that depends on chance.
func TestSameTail(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		want, firstLogs := -1, map[int]bool{}
		for range 12 {
			fs := New()
			db := openPebble(t, fs)
			for i := range 3000 {
				must(t, db.Set(fmt.Appendf(nil, "%04d", i), make([]byte, 8), pebble.NoSync))
				switch i {
				case 100:
					must(t, db.LogData(nil, pebble.Sync))
				case 1500: // whoever waits for number 100 is late
					fs.Durable(firstSeq + 100)
				}
			}
			fs.Freeze()
			must(t, db.Close())
			dir, err := fs.lookup("", "/db")
			must(t, err)
			firstLogs[len(dir.scanLogs()[0].batches)] = true
			db = openPebble(t, fs.Crash(seed, 1))
			have := count(t, db)
			must(t, db.Close())
			if want < 0 {
				want = have
			}
			if have != want || have < 100 {
				t.Fatalf("seed %d: %d batches, and %d in the first run", seed, have, want)
			}
		}
		t.Logf("seed %d: %d batches survive; the first log held %v of them", seed, want, slices.Sorted(maps.Keys(firstLogs)))
	}
}

// TestFlushUndone: what survives is the same whether Pebble flushed and compacted what was lost or not.
func TestFlushUndone(t *testing.T) {
	for seed := range uint64(10) {
		var have [2]int
		for i := range have {
			fs := New()
			db := openPebble(t, fs)
			for n := range 300 {
				must(t, db.Set(fmt.Appendf(nil, "%04d", n), make([]byte, 100), pebble.NoSync))
				if n == 40 {
					must(t, db.LogData(nil, pebble.Sync))
					fs.Durable(firstSeq + 40)
				}
				if i == 1 && n%30 == 29 {
					must(t, db.Flush())
				}
				if i == 1 && n == 250 {
					must(t, db.Compact(t.Context(), []byte("0"), []byte("9"), false))
				}
			}
			fs.Freeze()
			must(t, db.Close())
			next := fs.Crash(seed, 1)
			if cut := next.manifest.synced < fs.manifest.synced; i == 1 && !cut {
				db = openPebble(t, next.Crash(seed, 2))
				if n := count(t, db); n != 300 {
					t.Fatalf("seed %d: the manifest is whole, but %d batches survive", seed, n)
				}
				must(t, db.Close())
			}
			db = openPebble(t, next)
			have[i] = count(t, db)
			must(t, db.Close())
		}
		if have[0] != have[1] || have[0] < 41 {
			t.Fatalf("seed %d: %d batches survive without flushes, %d with them", seed, have[0], have[1])
		}
	}
}

// TestLimbo: what was removed is given up once nothing can bring it back.
func TestLimbo(t *testing.T) {
	fs := New()
	db := openPebble(t, fs)
	for n := range 20000 {
		must(t, db.Set(fmt.Appendf(nil, "%04d", n%1000), make([]byte, 100), pebble.NoSync))
		if n%100 == 99 {
			must(t, db.LogData(nil, pebble.Sync))
			fs.Durable(firstSeq + uint64(n))
		}
	}
	dir, err := fs.lookup("", "/db")
	must(t, err)
	fs.mu.RLock()
	kept, logs, newest := len(dir.limbo), len(dir.scanLogs()), fs.wal.num
	fs.mu.RUnlock()
	t.Logf("%d files in limbo, %d logs, the newest is %d", kept, logs, newest)
	if newest < 60 || kept > 30 || logs > 15 {
		t.Fatalf("%d files in limbo, %d logs, the newest is %d", kept, logs, newest)
	}
	must(t, db.Close())
}

// firstSeq is the sequence number of the first operation of a new database.
const firstSeq = 10

func openPebble(t *testing.T, fs *FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("/db", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatValueSeparation,
		MemTableSize: memTableBytes, Logger: quiet{}})
	must(t, err)
	return db
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// count checks that the keys are a prefix, and counts them.
func count(t *testing.T, db *pebble.DB) int {
	t.Helper()
	it, err := db.NewIter(nil)
	must(t, err)
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if string(it.Key()) != fmt.Sprintf("%04d", n) {
			t.Fatalf("key %q instead of number %d", it.Key(), n)
		}
		n++
	}
	must(t, it.Close())
	return n
}
