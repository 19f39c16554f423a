package simfs

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const crashesPerWorld = 12

// TestEngine: whatever was waited for survives a crash, and of the rest a prefix in the order of commits.
func TestEngine(t *testing.T) {
	t.Parallel()
	var all stats
	for seed := range uint64(10) {
		w := newWorld(t, seed)
		if _, err := w.run(crashesPerWorld); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		all.add(w.stats)
	}
	t.Logf("%+v", all)
	if all.lostNothing == 0 || all.lostSome == 0 || all.lostTail == 0 {
		t.Fatalf("the test has not met everything: %+v", all)
	}
}

// TestSame: what survives does not depend on when Pebble's goroutines run.
func TestSame(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for seed := uint64(100); seed < 102; seed++ {
		var want []string
		for run := range 20 {
			runtime.GOMAXPROCS(1 + run%4)
			w := newWorld(t, seed)
			if run > 0 {
				w.wrap = func(fs vfs.FS) vfs.FS { return noisyFS{fs} }
			}
			shown, err := w.run(4)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if want == nil {
				want = shown
			}
			for i := range want {
				if shown[i] != want[i] {
					t.Fatalf("seed %d run %d: after crash %d the store shows\n%s\nand in the first run\n%s", seed, run, i+1, shown[i], want[i])
				}
			}
		}
	}
}

// noisyFS lets calls take a random time.
type noisyFS struct{ vfs.FS }

func noise() {
	if rand.IntN(4) == 0 {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
}

func (n noisyFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	noise()
	f, err := n.FS.Create(name, c)
	return noisyFile{f}, err
}

func (n noisyFS) ReuseForWrite(a, b string, c vfs.DiskWriteCategory) (vfs.File, error) {
	noise()
	f, err := n.FS.ReuseForWrite(a, b, c)
	return noisyFile{f}, err
}

func (n noisyFS) Remove(name string) error { noise(); return n.FS.Remove(name) }

type noisyFile struct{ vfs.File }

func (n noisyFile) Write(p []byte) (int, error) { noise(); return n.File.Write(p) }
func (n noisyFile) Sync() error                 { noise(); return n.File.Sync() }
func (n noisyFile) SyncData() error             { noise(); return n.File.SyncData() }

// TestFindsLostSync: a store that does not say what it has promised loses it, and the test above would see that.
func TestFindsLostSync(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed)
		w.hook = false
		_, err := w.run(crashesPerWorld)
		if err == nil {
			continue
		}
		if !strings.Contains(err.Error(), "shows none of the versions") && !strings.Contains(err.Error(), "start after crash") {
			t.Fatal(err)
		}
		t.Logf("seed %d: %.60s", seed, err)
		return
	}
	t.Fatal("not found")
}
