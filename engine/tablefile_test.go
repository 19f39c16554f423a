package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// noted is a filesystem that notes the size of each write.
type noted struct {
	vfs.FS
	sizes []int
}

func (p *noted) Create(n string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(n, c)
	return &notedFile{File: f, of: p}, err
}

type notedFile struct {
	vfs.File
	of *noted
}

func (f *notedFile) Write(p []byte) (int, error) {
	f.of.sizes = append(f.of.sizes, len(p))
	return f.File.Write(p)
}

// TestTableFile: what goes into a table reaches the filesystem in large pieces, all of it, in order; what goes into any other
// file as it comes; and what was synced is there after a power failure.
func TestTableFile(t *testing.T) {
	mem := vfs.NewCrashableMem()
	below := &noted{FS: mem}
	fs := tableFS{below}
	rng := rand.New(rand.NewPCG(1, 1))
	var want []byte
	f, err := fs.Create("/000001.sst", vfs.WriteCategoryUnspecified)
	must(t, err)
	must(t, syncDir(fs, "/"))
	add := func(n int) {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		want = append(want, b...)
		_, err := f.Write(b)
		must(t, err)
		clear(b) // a file keeps nothing of what it was given
	}
	for len(want) < 3*tableBuffer {
		add(1 + rng.IntN(20<<10))
	}
	add(2*tableBuffer + 1)
	if i := slices.IndexFunc(below.sizes, func(n int) bool { return n != tableBuffer }); i >= 0 || len(below.sizes) < 5 {
		t.Fatalf("pieces of %v bytes", below.sizes)
	}
	add(100)
	if _, err := f.SyncTo(tableBuffer); err != nil || len(below.sizes) != len(want)/tableBuffer {
		t.Fatalf("a sync of what is written already wrote more: %v %v", below.sizes, err)
	}
	st, err := f.Stat()
	must(t, err)
	if st.Size() != int64(len(want)) {
		t.Fatalf("%d bytes of %d", st.Size(), len(want))
	}
	for _, sync := range []func() error{f.Sync, f.SyncData} {
		add(10)
		must(t, sync())
		same(t, mem.CrashClone(vfs.CrashCloneCfg{}), "/000001.sst", want)
	}
	add(10)
	if _, err := f.SyncTo(int64(len(want))); err != nil {
		t.Fatal(err)
	}
	same(t, mem, "/000001.sst", want)
	add(10)
	must(t, f.Close())
	same(t, mem, "/000001.sst", want)

	below.sizes = nil
	f, err = fs.Create("/000002.log", vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write([]byte("record"))
	must(t, err)
	if fmt.Sprint(below.sizes) != "[6]" {
		t.Fatalf("pieces of %v bytes", below.sizes)
	}
	must(t, f.Close())
}

// same fails unless a file of fs has exactly this in it.
func same(t *testing.T, fs vfs.FS, name string, want []byte) {
	t.Helper()
	f, err := fs.Open(name)
	must(t, err)
	got, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	if !bytes.Equal(got, want) {
		t.Fatalf("%s has %d bytes, and not the %d that were written", name, len(got), len(want))
	}
}

// TestTableFileFails: after a write that failed, nothing more is written and no sync of the table succeeds, although nothing
// fails any more; and the next table has nothing of it.
func TestTableFileFails(t *testing.T) {
	fails := true
	fs := tableFS{errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fails && op.Kind == errorfs.OpFileWrite {
			return errorfs.ErrInjected
		}
		return nil
	}))}
	f, err := fs.Create("/000001.sst", vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write([]byte("x"))
	must(t, err)
	if _, err := f.Stat(); !errors.Is(err, errorfs.ErrInjected) {
		t.Fatal(err)
	}
	fails = false
	_, werr := f.Write([]byte("y"))
	_, terr := f.SyncTo(1)
	for i, err := range []error{werr, terr, f.Sync(), f.SyncData(), f.Close()} {
		if !errors.Is(err, errorfs.ErrInjected) {
			t.Errorf("%d: %v", i, err)
		}
	}
	same(t, fs, "/000001.sst", nil)
	f, err = fs.Create("/000002.sst", vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.Write([]byte("z"))
	must(t, errors.Join(err, f.Close()))
	same(t, fs, "/000002.sst", []byte("z"))
}
