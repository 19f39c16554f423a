package memdisk

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestFile: whatever mixture of reads and writes, behind the end or within, the file holds what one of the system's would, and a clone
// what was synced.
func TestFile(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		fs := New()
		f, err := fs.OpenReadWrite("f", vfs.WriteCategoryUnspecified)
		var want, synced []byte
		pos := 0
		put := func(p []byte, at int) {
			if grow := at + len(p) - len(want); grow > 0 {
				want = append(want, make([]byte, grow)...)
			}
			copy(want[at:], p)
		}
		for range 40 {
			must(t, err)
			p := make([]byte, 1+rng.IntN(100))
			for i := range p {
				p[i] = byte(1 + rng.IntN(255))
			}
			switch rng.IntN(6) {
			case 0:
				_, err = f.Write(p)
				put(p, pos)
				pos += len(p)
			case 1:
				if pos+len(p) <= len(want) {
					_, err = io.ReadFull(f, p)
					if !bytes.Equal(p, want[pos:pos+len(p)]) {
						t.Fatalf("read %x at %d of %x", p, pos, want)
					}
					pos += len(p)
				}
			case 2:
				err = f.SyncData()
				synced = bytes.Clone(want)
			case 3: // what was written in another life is written over
				must(t, f.Close())
				f, err = fs.OpenReadWrite("f", vfs.WriteCategoryUnspecified)
				pos = 0
			default:
				at := rng.IntN(len(want) + 200)
				_, err = f.WriteAt(p, int64(at))
				put(p, at)
			}
		}
		same(t, fs, want)
		dir, err := fs.OpenDir("")
		must(t, err)
		must(t, dir.Sync())
		same(t, fs.CrashClone(vfs.CrashCloneCfg{}), synced)
	}
}

func same(t *testing.T, fs *FS, want []byte) {
	t.Helper()
	f, err := fs.Open("f")
	must(t, err)
	got, err := io.ReadAll(f)
	if must(t, err); !bytes.Equal(got, want) {
		t.Fatalf("the file holds %x, not %x", got, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
