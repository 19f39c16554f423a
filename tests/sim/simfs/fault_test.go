package simfs

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/skerrydb/skerry/engine"
)

// settled makes a world with a replica on disk and some batches behind it that nobody has waited for.
func settled(t *testing.T, seed uint64) *world {
	w := newWorld(t, seed)
	must(t, w.start())
	w.create(1001, 7)
	w.create(1002, 8)
	for range 5 {
		w.append()
		w.apply()
	}
	w.wait()
	return w
}

// TestCleanClose: a store that was closed has everything on disk, whether it was opened again or not.
func TestCleanClose(t *testing.T) {
	for seed := range uint64(8) {
		w := settled(t, seed)
		must(t, w.e.Close())
		if seed%2 == 0 {
			must(t, w.start())
		}
		w.promise(len(w.versions) - 1)
		must(t, w.crash())
	}
}

// TestIngestSyncs: an ingest that returned survives, and so does everything before it, also if it went by the log.
func TestIngestSyncs(t *testing.T) {
	for seed := range uint64(8) {
		w := settled(t, seed)
		must(t, w.crash())
		w.apply() // of either shard: whether the memtable overlaps decides how Pebble ingests
		w.apply()
		last, err := w.logs[1002].LastIndex()
		must(t, err)
		hs, _, err := w.logs[1002].InitialState()
		must(t, err)
		rs, rg := stateOf(1002, 8, last+1, hs.GetTerm()), ranges[1002]
		rs.Hard.Vote = hs.GetVote()
		w.install(rs, &rg)
		must(t, w.crash())
	}
}

// TestFull and TestFailedSync: a write that fails stops the store, and exactly what was promised survives.
func TestFull(t *testing.T) {
	testFault(t, syscall.ENOSPC, func(fs *FS) { fs.SetFull(true) })
}

func TestFailedSync(t *testing.T) {
	testFault(t, syscall.EIO, func(fs *FS) {
		fs.FailSyncs(func(name string) bool { return strings.HasSuffix(name, ".log") })
	})
}

func testFault(t *testing.T, want error, begin func(*FS)) {
	for seed := range uint64(8) {
		w := settled(t, seed)
		begin(w.fs)
		err := w.e.SyncWAL()
		if err == nil || !errors.Is(err, want) && !strings.Contains(err.Error(), want.Error()) {
			t.Fatalf("%v, want %v", err, want)
		}
		if _, _, err := w.e.Ident(); err == nil {
			t.Fatal("the store goes on")
		}
		w.versions = w.versions[:w.floor+1]
		must(t, w.crash())
	}
}

// TestCorrupt: after a restart all data are in tables, and any of them that is damaged is found when it is read.
func TestCorrupt(t *testing.T) {
	w := settled(t, 1)
	must(t, w.crash())
	must(t, w.e.Close())
	if n := w.fs.CorruptTables(storeDir); n == 0 {
		t.Fatal("no tables")
	}
	if err := w.start(); !errors.Is(err, engine.ErrCorruption) && (err == nil || !strings.Contains(err.Error(), "checksum")) {
		t.Fatal(err)
	}

	w = settled(t, 2)
	must(t, w.crash())
	must(t, w.e.Close())
	for h := range uint64(20) {
		name, off, ok := w.fs.PickBlock(storeDir, h)
		before, _ := w.fs.lookup("", name)
		old := before.data.clone(before.data.size)
		if !ok || !w.fs.Corrupt(name, off) || !strings.HasSuffix(name, ".sst") {
			t.Fatal(name, off, ok)
		}
		diff := 0
		for i, c := range old.chunks {
			for j := range c {
				if c[j] != before.data.chunks[i][j] {
					diff++
				}
			}
		}
		if diff != 1 {
			t.Fatalf("%d bytes changed", diff)
		}
	}
}
