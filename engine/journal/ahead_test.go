package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// put appends an entry of the log of shard 1 whose record takes rather more than a quarter of a segment.
func (h *harness) put(index uint64) error {
	var b Batch
	appendTo(&b, 1, Life{Replica: 1, Index: 5, Term: 5}, index, 1, "e", testSegment/4)
	at, err := h.j.Append(&b)
	h.at = at
	return err
}

func (h *harness) mustPut(index uint64) {
	h.t.Helper()
	if err := h.put(index); err != nil {
		h.t.Fatal(err)
	}
}

// names are the journal's files with their sizes, when no file is being filled.
func (h *harness) names() string {
	h.t.Helper()
	h.j.filling.Wait()
	names, err := h.fs.List(testDir)
	if err != nil {
		h.t.Fatal(err)
	}
	slices.Sort(names)
	var out []string
	for _, n := range names {
		st, err := h.fs.Stat(h.fs.PathJoin(testDir, n))
		if err != nil {
			h.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s:%d", n, st.Size()))
	}
	return strings.Join(out, " ")
}

func (h *harness) mustBe(what, got, want string) {
	h.t.Helper()
	if got != want {
		h.t.Fatalf("%s: %s\nwant %s", what, got, want)
	}
}

// TestAhead: the file of the next segment is there, full of zeros, before it is needed. What is written to it is found by the next
// start, and what is not is no damage.
func TestAhead(t *testing.T) {
	h := newHarness(t)
	h.ahead = true
	h.open()
	h.mustPut(6)
	h.mustBe("a quarter is written", h.names(), "000001.raft:321 000002.raft:1024")
	h.mustPut(7)
	h.mustPut(8)
	h.mustBe("it is full", h.names(), "000001.raft:963 000002.raft:1024")
	h.mustPut(9)
	h.mustBe("the next is begun", h.names(), "000001.raft:963 000002.raft:1024 000003.raft:1024")
	if err := h.j.Sync(h.at); err != nil {
		t.Fatal(err)
	}
	h.fs = h.fs.CrashClone(vfs.CrashCloneCfg{})
	h.mustBe("after a crash", h.open(), "1: r1 behind 5/5, 6 to 9 in segments 1 to 2\n")
	h.mustPut(10) // a start begins a segment
	h.mustPut(11)
	h.mustBe("files that wait are used first", h.names(), "000001.raft:963 000002.raft:1024 000003.raft:1024 000004.raft:642 000005.raft:1024")
	if err := h.j.Close(); err != nil {
		t.Fatal(err)
	}
	h.mustBe("after an orderly end", h.open(), "1: r1 behind 5/5, 6 to 11 in segments 1 to 3\n")
}

// TestAheadOnFullDisk: a disk without room for the next file is no failure, as long as the newest has room.
func TestAheadOnFullDisk(t *testing.T) {
	h := newHarness(t)
	full := &fullFS{FS: h.fs}
	var err error
	if h.j, err = Open(Options{FS: full, Dir: testDir, SegmentBytes: testSegment, Ahead: true}); err != nil {
		t.Fatal(err)
	}
	h.mustPut(6)
	h.names()
	h.mustPut(7)
	h.mustPut(8)
	h.mustPut(9) // in the file that was made when there was room
	h.mustBe("one more was made", h.names(), "000001.raft:963 000002.raft:1024 000003.raft:1024")
	h.mustPut(10)
	h.mustPut(11)
	full.limit = 3
	h.mustPut(12) // in the last
	h.mustBe("none more is left behind", h.names(), "000001.raft:963 000002.raft:1024 000003.raft:1024")
	h.mustPut(13)
	h.mustPut(14)
	if err := h.put(15); err == nil {
		t.Fatal("a record was written to a file for which there is no room")
	}
}

// TestAheadHalf: a file that could not be filled is not left behind.
func TestAheadHalf(t *testing.T) {
	h := newHarness(t)
	full := &fullFS{FS: h.fs, half: true}
	var err error
	if h.j, err = Open(Options{FS: full, Dir: testDir, SegmentBytes: testSegment, Ahead: true}); err != nil {
		t.Fatal(err)
	}
	h.mustPut(6)
	h.mustBe("the disk is full", h.names(), "000001.raft:321")
	for i := uint64(7); i < 12; i++ {
		h.mustPut(i)
	}
	h.mustBe("the next", h.names(), "000001.raft:963 000003.raft:963")
}

// fullFS has room for some files; zero: for all. half: for no file that is filled.
type fullFS struct {
	vfs.FS
	limit int
	half  bool
}

// fullFile is a file of a fullFS that has room for half of them.
type fullFile struct{ vfs.File }

func (fullFile) SyncTo(int64) (bool, error) { return false, syscall.ENOSPC }

func (f *fullFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	names, err := f.List(testDir)
	if err == nil && f.limit > 0 && len(names) >= f.limit {
		err = syscall.ENOSPC
	}
	if err != nil {
		return nil, err
	}
	file, err := f.FS.OpenReadWrite(name, c, o...)
	if f.half {
		file = fullFile{file}
	}
	return file, err
}

// TestAheadCrashes: what was synced is there after a power failure at any moment, also while a file is being filled, whatever is left of
// what was not.
func TestAheadCrashes(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		h := newHarness(t)
		h.ahead = true
		h.open()
		synced, last, first := uint64(5), uint64(5), uint64(6)
		for range 1 + rng.IntN(40) {
			last++
			h.mustPut(last)
			if rng.IntN(2) == 0 {
				if err := h.j.Sync(h.at); err != nil {
					t.Fatal(err)
				}
				synced = last
			}
			if first < synced && rng.IntN(4) == 0 {
				first = synced
				h.j.Truncate(1, first-1)
				h.j.Free(h.j.Dead())
			}
		}
		h.fs = h.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng})
		text := h.open()
		if h.j == nil {
			t.Fatalf("seed %d: %s", seed, text)
		}
		got, end, ok := h.j.Bounds(1)
		if synced > 5 && (!ok || got > first || end < synced || end > last) {
			t.Fatalf("seed %d: %d to %d, %t; synced were %d to %d of %d", seed, got, end, ok, first, synced, last)
		}
		h.mustPut(end + 1)
	}
}
