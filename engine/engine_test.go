package engine

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/memdisk"
)

// TestOpenRealDirectory: on the operating system's filesystem a store keeps what it was told, and its lock keeps a
// second engine out, also one of the same process.
func TestOpenRealDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	e, err := Open(dir, Options{MemTableBytes: 1 << 20})
	must(t, err)
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second open: %v", err)
	}
	id := Ident{Cluster: 7, Store: 1001, Format: 1}
	must(t, e.SetIdent(id))
	must(t, e.SetIdent(id))
	if err := e.SetIdent(Ident{Cluster: 8, Store: 1001, Format: 1}); err == nil {
		t.Fatal("another identity was accepted")
	}
	must(t, e.SetRecord("addresses", []byte("x")))
	if used, free, total, err := e.DiskUsage(); err != nil || used == 0 || free == 0 || total < free {
		t.Fatalf("disk usage %d %d %d %v", used, free, total, err)
	}
	mustClose(t, e)
	if err := e.SetRecord("late", nil); !errors.Is(err, shard.ErrClosed) {
		t.Fatalf("after close: %v", err)
	}

	e, err = Open(dir, Options{})
	must(t, err)
	defer mustClose(t, e)
	if have, ok, err := e.Ident(); err != nil || !ok || have != id {
		t.Fatalf("identity %v %v %v", have, ok, err)
	}
	if v, ok, err := e.Record("addresses"); err != nil || !ok || string(v) != "x" {
		t.Fatalf("record %q %v %v", v, ok, err)
	}
	if _, ok, err := e.Record("none"); err != nil || ok {
		t.Fatalf("record that was never written: %v %v", ok, err)
	}
}

// TestOpenRefuses: a directory that is not a store, or another version's, is refused with a reason and left as it is.
func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "letters.txt"), nil, 0o600))
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNotStore) || !strings.Contains(err.Error(), "letters.txt") {
		t.Fatalf("foreign directory: %v", err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Fatalf("the foreign directory was changed: %v", names)
	}
	for _, c := range []struct{ old, new string }{
		{"format 1", "format 2"}, {comparerName, "skerry.keys.v9"}, {keySchemaName, "other"}, {"skerry store", "shopping list"},
	} {
		dir := t.TempDir()
		e, err := Open(dir, Options{MemTableBytes: 1 << 20})
		must(t, err)
		mustClose(t, e)
		path := filepath.Join(dir, storeFile)
		must(t, os.WriteFile(path, []byte(strings.Replace(storeFileText(version.First), c.old, c.new, 1)), 0o600))
		if _, err := Open(dir, Options{}); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.new) {
			t.Fatalf("%s: %v", c.new, err)
		}
		must(t, os.WriteFile(path, []byte(storeFileText(version.First)), 0o600))
		e, err = Open(dir, Options{})
		must(t, err)
		mustClose(t, e)
	}
}

// TestOpenInMemory: a store in memory opens at once, shares a cache, and locks like one on disk.
func TestOpenInMemory(t *testing.T) {
	fs := vfs.NewMem()
	c := NewCache(1 << 20)
	defer c.Close()
	start := time.Now()
	var open []*Engine
	for _, dir := range []string{"a", "b", "c", "d", "e", "f"} {
		e, err := Open(dir, Options{FS: fs, Cache: c, MemTableBytes: 1 << 20})
		must(t, err)
		open = append(open, e)
	}
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("six stores took %s to open", d)
	}
	if _, err := Open("a", Options{FS: fs}); !errors.Is(err, ErrInUse) {
		t.Fatalf("second open: %v", err)
	}
	for _, e := range open {
		must(t, e.SetRecord("x", nil))
		if _, free, _, err := e.DiskUsage(); err != nil || free == 0 {
			t.Fatal(free, err)
		}
		mustClose(t, e)
	}
}

// TestOpenAfterCrashWhileCreating: a crash at any point of the first open leaves a directory that opens again.
func TestOpenAfterCrashWhileCreating(t *testing.T) {
	fs := memdisk.New()
	var crashes []vfs.FS
	r := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex // Pebble's goroutines come here too
	point := func() {
		mu.Lock()
		defer mu.Unlock()
		for _, percent := range []int{0, 30, 60, 90} {
			crashes = append(crashes, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: r}))
		}
	}
	e, err := Open(testDir, Options{FS: &crashFS{FS: fs, point: point}, MemTableBytes: 1 << 20})
	must(t, err)
	must(t, e.SetIdent(Ident{Store: 1}))
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	mu.Lock()
	points := slices.Clone(crashes)
	mu.Unlock()
	mustClose(t, e)
	if len(points) < 40 {
		t.Fatalf("only %d points", len(points))
	}
	for i, c := range points {
		e, err := Open(testDir, Options{FS: c, MemTableBytes: 1 << 20})
		if err != nil {
			t.Fatalf("point %d: %v", i, err)
		}
		mustClose(t, e)
	}
	e = openMem(t, after)
	defer mustClose(t, e)
	if _, ok, err := e.Ident(); !ok || err != nil {
		t.Fatal("a synced identity is lost", err)
	}
}

// TestCapacity: a store that may take a part of its disk alone tells of that part, and of less where other files took it.
func TestCapacity(t *testing.T) {
	const disk, capacity = 100 << 30, 10 << 30
	for _, c := range []struct {
		capacity, used, avail, free, total uint64
	}{
		{0, 1 << 30, 40 << 30, 40 << 30, disk},
		{capacity, 0, 40 << 30, capacity, capacity},
		{capacity, 3 << 30, 40 << 30, 7 << 30, capacity},
		{capacity, 12 << 30, 40 << 30, 0, capacity},
		{capacity, 3 << 30, 2 << 30, 2 << 30, capacity},
		{2 * disk, 3 << 30, 40 << 30, 40 << 30, disk},
	} {
		free, total := within(c.capacity, c.used, vfs.DiskUsage{AvailBytes: c.avail, TotalBytes: disk})
		if free != c.free || total != c.total {
			t.Errorf("capacity %d, used %d, available %d: %d of %d free, want %d of %d", c.capacity, c.used, c.avail, free, total, c.free, c.total)
		}
	}

	e, err := Open(t.TempDir(), Options{CapacityBytes: 8 << 20})
	must(t, err)
	defer mustClose(t, e)
	used, free, total, err := e.DiskUsage()
	must(t, err)
	if f, all, ok := e.Free(); total != 8<<20 || free != total-used || used == 0 || f != free || all != total || !ok {
		t.Fatalf("used %d, free %d of %d; alone %d of %d, %v", used, free, total, f, all, ok)
	}
}
