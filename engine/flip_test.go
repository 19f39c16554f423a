package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/memdisk"
)

// stoppedStore is the filesystem of a store that was closed in order: with an identity, a replica with a log in a journal, data in
// tables and more in the write-ahead log.
func stoppedStore(t *testing.T) *vfs.MemFS {
	t.Helper()
	fs := vfs.NewMem()
	e := openJournaled(t, fs)
	fillStore(t, e)
	must(t, e.Close())
	return fs
}

func fillStore(t *testing.T, e *Engine) {
	t.Helper()
	must(t, e.SetIdent(Ident{Cluster: 7, Store: 9, Format: 1}))
	l := create(t, e, newState(desc(1001, rng("a", "m"), 11), 11))
	fill := func(lo, hi uint64) {
		b := e.NewLogBatch()
		last, _ := l.LastIndex()
		b.Append(l, entries(last+1, last+hi-lo, 5), nil, last)
		must(t, b.Commit())
		must(t, b.Wait())
		s := e.NewStateBatch()
		defer s.Close()
		for i := lo; i < hi; i++ {
			s.Set(rk(fmt.Sprintf("b%04d", i)), bytes.Repeat([]byte{byte(i)}, 100))
		}
		must(t, s.Commit(false))
	}
	fill(0, 200)
	must(t, e.db.Flush())
	fill(200, 290)
	fill(290, 300)
}

// content reads everything from a store, or says why not.
func content(fs vfs.FS) (string, error) {
	e, err := Open(testDir, Options{FS: fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		return "", err
	}
	defer func() { _ = e.Close() }()
	var b strings.Builder
	id, _, err := e.Ident()
	if err != nil {
		return "", err
	}
	replicas, err := e.Replicas()
	if err != nil {
		return "", err
	}
	for _, rs := range replicas {
		fmt.Fprintln(&b, id, rs.Shard, rs.Replica, rs.Hard, rs.Applied, rs.LastIndex, rs.LastTerm)
	}
	if err := e.eachEntry(1001, 0, math.MaxUint64, func(n *Entry) bool { fmt.Fprintln(&b, n.Index, n.Term, n.Data); return true }); err != nil {
		return "", err
	}
	r := e.NewReader()
	err = r.Scan(shard.Range{}, false, func(k shard.Key, v []byte) bool { fmt.Fprintln(&b, k, v); return true })
	return b.String(), errors.Join(err, r.Close())
}

func clone(t *testing.T, fs vfs.FS) *vfs.MemFS {
	t.Helper()
	out := vfs.NewMem()
	_, err := vfs.Clone(fs, out, testDir, testDir)
	must(t, err)
	return out
}

func read(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	must(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	must(t, err)
	return b
}

// TestFlippedByte flips one byte of every file of a stopped store, at many places: `skerry debug check` finds it, and a start
// either refuses it, or what is read afterwards is right or refused. Nothing wrong is ever served.
func TestFlippedByte(t *testing.T) {
	fs := stoppedStore(t)
	want, err := content(clone(t, fs))
	must(t, err)
	if c, bad := CheckStore(testDir, clone(t, fs)); len(bad) > 0 || !c.Sealed || c.Tables == 0 || c.Replicas != 1 || c.Entries != 300 || c.Keys != 300 {
		t.Fatalf("a sound store: %+v, %v", c, bad)
	}
	names := []string{storeFile, sealFile}
	kinds := make(map[string]int)
	names = append(names, filesIn(t, fs, dbDir)...)
	names = append(names, filesIn(t, fs, logDir)...)
	for _, n := range names {
		file := path.Join(testDir, n)
		text := read(t, fs, file)
		for _, at := range places(len(text)) {
			hurt := bytes.Clone(text)
			hurt[at] ^= 0x10
			damaged := func() *vfs.MemFS {
				c := clone(t, fs)
				f, err := c.Create(file, vfs.WriteCategoryUnspecified)
				must(t, err)
				_, err = f.Write(hurt)
				must(t, err)
				must(t, f.Close())
				return c
			}
			if _, bad := CheckStore(testDir, damaged()); !said(bad) {
				t.Errorf("%s, byte %d of %d: the check says %v", n, at, len(text), bad)
			}
			got, err := content(damaged())
			switch {
			case err == nil && got != want:
				t.Errorf("%s, byte %d of %d: something else is served", n, at, len(text))
			case err != nil && !said([]error{err}):
				t.Errorf("%s, byte %d of %d: it is not said clearly: %v", n, at, len(text), err)
			case err == nil && !strings.HasSuffix(n, ".sst"):
				t.Errorf("%s, byte %d of %d: the start does not mind", n, at, len(text))
			}
			kinds[kindOf(n)]++
		}
	}
	t.Logf("flipped: %v", kinds)
	for _, kind := range []string{"sst", "log", "raft", "MANIFEST", "OPTIONS", "STORE", "SEAL"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s was hurt: %v", kind, kinds)
		}
	}
}

// filesIn are the files of a directory of the store, without the lock.
func filesIn(t *testing.T, fs vfs.FS, dir string) (names []string) {
	t.Helper()
	all, err := fs.List(path.Join(testDir, dir))
	must(t, err)
	slices.Sort(all)
	for _, n := range all {
		if n != "LOCK" {
			names = append(names, dir+"/"+n)
		}
	}
	return names
}

// TestFlippedLog flips one byte of the raft log of a store that crashed, at every place: it does not start, or nothing is missing.
// Only of the last record it cannot tell that it was there.
func TestFlippedLog(t *testing.T) {
	fs := memdisk.New()
	e := openJournaled(t, fs)
	fillStore(t, e)
	crashed := fs.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, e)
	last := func(fs vfs.FS) (uint64, error) {
		e, err := Open(testDir, Options{FS: fs, SegmentBytes: testSegmentBytes})
		if err != nil {
			return 0, err
		}
		defer mustClose(t, e)
		all, err := e.Replicas()
		if err != nil {
			return 0, err
		}
		return all[0].LastIndex, nil
	}
	want, err := last(clone(t, crashed))
	must(t, err)
	refused, missing := 0, 0
	for _, n := range filesIn(t, crashed, logDir) {
		text := read(t, crashed, path.Join(testDir, n))
		for at := 0; at < len(text); at += 13 {
			c := clone(t, crashed)
			hurt := bytes.Clone(text)
			hurt[at] ^= 0x10
			f, err := c.Create(path.Join(testDir, n), vfs.WriteCategoryUnspecified)
			must(t, err)
			_, err = f.Write(hurt)
			must(t, errors.Join(err, f.Close()))
			switch have, err := last(c); {
			case err != nil && !said([]error{err}):
				t.Errorf("%s, byte %d of %d: it is not said clearly: %v", n, at, len(text), err)
			case err != nil:
				refused++
			case have == want-10:
				missing++ // the last record
			case have != want:
				t.Errorf("%s, byte %d of %d: the log ends at %d, not at %d", n, at, len(text), have, want)
			}
		}
	}
	t.Logf("%d refused, %d without the last record", refused, missing)
	if refused == 0 || missing > refused/5 {
		t.Errorf("%d refused, %d without the last record", refused, missing)
	}
}

// said reports whether an error says that the directory is damaged, or of another format.
func said(errs []error) bool {
	err := errors.Join(errs...)
	return errors.Is(err, ErrCorruption) || errors.Is(err, ErrFormat)
}

func kindOf(name string) string {
	name = path.Base(name)
	if i := strings.LastIndexByte(name, '.'); i >= 0 && !strings.HasPrefix(name, "marker") {
		return name[i+1:]
	}
	kind, _, _ := strings.Cut(strings.ReplaceAll(name, ".", "-"), "-")
	return kind
}

// places are offsets all over a file, its ends among them.
func places(size int) []int {
	const most = 24
	var out []int
	for i := range most {
		out = append(out, i*size/most)
	}
	out = append(out, 1, 5, 7, size-1, size-5, size-9)
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(at int) bool { return at < 0 || at >= size })
}

// TestSealIsBroken: a start takes the seal away before it changes anything, a crash leaves none, and a file that is missing,
// or came from elsewhere, is found by it.
func TestSealIsBroken(t *testing.T) {
	fs := stoppedStore(t)
	has := func(fs vfs.FS) bool {
		names, err := fs.List(testDir)
		must(t, err)
		return slices.Contains(names, sealFile)
	}
	if !has(fs) {
		t.Fatal("a store that was closed has no seal")
	}
	open := clone(t, fs)
	e, err := Open(testDir, Options{FS: open})
	must(t, err)
	if has(open) {
		t.Error("an open store has a seal")
	}
	must(t, e.Close())
	if !has(open) {
		t.Error("it was not sealed again")
	}
	for _, n := range append(filesIn(t, fs, dbDir), filesIn(t, fs, logDir)...) {
		c := clone(t, fs)
		must(t, c.Remove(path.Join(testDir, n)))
		if _, err := content(c); !said([]error{err}) || !strings.Contains(err.Error(), n) {
			t.Errorf("without %s: %v", n, err)
		}
	}
}

// TestInspect: who looks changes nothing, and is refused while somebody uses the store.
func TestInspect(t *testing.T) {
	fs := stoppedStore(t)
	i, err := Inspect(testDir, fs)
	must(t, err)
	if id, ok, err := i.Ident(); err != nil || !ok || id.Store != 9 {
		t.Errorf("identity %v, %t, %v", id, ok, err)
	}
	replicas, err := i.Replicas()
	if err != nil || len(replicas) != 1 || replicas[0].Shard != 1001 {
		t.Errorf("replicas %v, %v", replicas, err)
	}
	n := 0
	must(t, i.Log(1001, 10, 19, func(*Entry) bool { n++; return true }))
	must(t, i.Keys(rng("b", "c"), func(shard.Key, []byte) bool { n++; return true }))
	if n != 310 {
		t.Errorf("%d entries and keys", n)
	}
	if _, err := Open(testDir, Options{FS: fs}); err == nil {
		t.Error("a store is opened while somebody looks at it")
	}
	must(t, i.Close())
	if c, bad := CheckStore(testDir, fs); len(bad) > 0 || !c.Sealed {
		t.Errorf("whoever looked changed it: %+v %v", c, bad)
	}
	for _, c := range []struct {
		dir  string
		want error
	}{{"/empty", ErrNotStore}} {
		must(t, fs.MkdirAll(c.dir, 0o755))
		if _, err := Inspect(c.dir, fs); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.dir, err)
		}
	}
	e, err := Open(testDir, Options{FS: fs})
	must(t, err)
	defer e.Close()
	if _, err := Inspect(testDir, fs); err == nil {
		t.Error("a store in use is looked at")
	}
}
