package engine

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// limitedFile fails every write that ends behind its limit, and all after it.
type limitedFile struct {
	vfs.File
	left   int
	synced bool
}

var errFull = errors.New("no space left")

func (f *limitedFile) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFull
	}
	return f.File.Write(p)
}

func (f *limitedFile) Sync() error {
	f.synced = true
	return f.File.Sync()
}

// TestBehind: what is written behind lies in the file in order once it is synced, in whatever pieces it came; a write that fails is told
// by Sync at the latest, which then has not synced, and by Close.
func TestBehind(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, limit := range []int{1 << 30, 0, 1, tableBuffer, 3 << 20} {
		path := filepath.Join(t.TempDir(), "table")
		under, err := vfs.Default.Create(path, vfs.WriteCategoryUnspecified)
		must(t, err)
		below := &limitedFile{File: under, left: limit}
		f := writeBehind(below)
		if _, ok := f.(*behindFile); !ok {
			t.Fatal("a file of a disk is not written behind")
		}
		var want []byte
		for i := 0; len(want) < 4<<20 && err == nil; i++ {
			piece := bytes.Repeat([]byte{byte(i)}, rnd.IntN(3)*rnd.IntN(200<<10))
			want = append(want, piece...)
			_, err = f.Write(piece)
			clear(piece)
			if i%7 == 6 && err == nil {
				if info, err := f.Stat(); err == nil && info.Size() != int64(len(want)) {
					t.Fatalf("%d bytes, of %d", info.Size(), len(want))
				}
				if err = []func() error{f.Sync, f.SyncData}[i%2](); err == nil {
					have, readErr := os.ReadFile(path)
					must(t, readErr)
					if !bytes.Equal(have, want) {
						t.Fatalf("synced: %d bytes, which are not the %d that were written", len(have), len(want))
					}
				}
			}
		}
		fails := limit < len(want)
		below.synced = false
		if err := f.Sync(); fails != errors.Is(err, errFull) || fails == below.synced {
			t.Fatalf("limit %d, %d bytes: sync %v, synced %t", limit, len(want), err, below.synced)
		}
		if err := f.Close(); fails != errors.Is(err, errFull) {
			t.Fatalf("limit %d: close %v", limit, err)
		}
	}
	f, err := vfs.NewMem().Create("table", vfs.WriteCategoryUnspecified)
	must(t, err)
	if writeBehind(f) != f {
		t.Error("a file in memory is written behind")
	}
	must(t, f.Close())
}
