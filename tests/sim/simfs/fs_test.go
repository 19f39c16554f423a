package simfs

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"
)

// machine does the same to a disk and to pebble's crashable filesystem in memory.
type machine struct {
	t    *rapid.T
	fs   *FS
	mem  *vfs.MemFS
	open []pair
}

// pair is one file, open in both.
type pair struct{ a, b vfs.File }

// TestSemantics: a disk answers as pebble's filesystem in memory does, and after a crash it holds what that one holds if
// nothing unsynced survives.
func TestSemantics(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{t: t, fs: New(), mem: vfs.NewCrashableMem()}
		m.both("mkdir", func(fs vfs.FS) error { return fs.MkdirAll("/d/e", 0o755) })
		actions := []func(){m.create, m.create, m.openFile, m.write, m.write, m.writeAt, m.read, m.sync, m.sync, m.syncDir,
			m.syncDir, m.rename, m.link, m.remove, m.removeAll, m.mkdir, m.reuse, m.lock, m.close}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			actions[rapid.IntRange(0, len(actions)-1).Draw(t, "action")]()
			m.compare("live", m.fs, m.mem)
		}
		clone := m.mem.CrashClone(vfs.CrashCloneCfg{})
		m.fs.Freeze()
		for range rapid.IntRange(0, 20).Draw(t, "steps after freeze") {
			actions[rapid.IntRange(0, len(actions)-1).Draw(t, "action")]()
		}
		m.compare("still live", m.fs, m.mem)
		after := m.fs.Crash(rapid.Uint64().Draw(t, "seed"), 1)
		m.compare("crashed", after, clone)
		m.compare("crashed twice", after.Crash(1, 2), clone)
	})
}

func class(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, os.ErrNotExist):
		return "not exist"
	case errors.Is(err, os.ErrExist):
		return "exist"
	case errors.Is(err, syscall.EAGAIN):
		return "locked"
	case errors.Is(err, io.EOF):
		return "eof"
	}
	return "error"
}

func (m *machine) both(what string, f func(vfs.FS) error) bool {
	a, b := f(m.fs), f(m.mem)
	if class(a) != class(b) {
		m.t.Fatalf("%s: %v, pebble's says %v", what, a, b)
	}
	return a == nil
}

var dirs = []string{"/", "/d", "/d/e", "/d/f"}

func (m *machine) dir() string { return rapid.SampledFrom(dirs).Draw(m.t, "dir") }

// name is a path of a file, or of a directory that a file is in the place of.
func (m *machine) name(what string) string {
	return path.Join(m.dir(), rapid.SampledFrom([]string{"a", "b", "c.sst"}).Draw(m.t, what))
}

func (m *machine) keep(what string, f func(vfs.FS) (vfs.File, error)) {
	var p pair
	var err1, err2 error
	p.a, err1 = f(m.fs)
	p.b, err2 = f(m.mem)
	if class(err1) != class(err2) {
		m.t.Fatalf("%s: %v, pebble's says %v", what, err1, err2)
	}
	if err1 == nil {
		m.open = append(m.open, p)
	}
}

func (m *machine) create() {
	name := m.name("name")
	m.keep("create "+name, func(fs vfs.FS) (vfs.File, error) { return fs.Create(name, "") })
}

func (m *machine) openFile() {
	name := m.name("name")
	rw := rapid.Bool().Draw(m.t, "write")
	m.keep("open "+name, func(fs vfs.FS) (vfs.File, error) {
		if rw {
			return fs.OpenReadWrite(name, "")
		}
		return fs.Open(name)
	})
}

// onFile does the same to an open file in both.
func (m *machine) onFile(what string, f func(vfs.File) (string, error)) {
	if len(m.open) == 0 {
		return
	}
	p := m.open[rapid.IntRange(0, len(m.open)-1).Draw(m.t, "file")]
	ra, ea := f(p.a)
	rb, eb := f(p.b)
	if ra != rb || class(ea) != class(eb) {
		m.t.Fatalf("%s: %.80q %v, pebble's says %.80q %v", what, ra, ea, rb, eb)
	}
}

func (m *machine) bytes() []byte {
	n := rapid.SampledFrom([]int{1, 10, 1000, chunkBytes - 1, chunkBytes, 3*chunkBytes + 7}).Draw(m.t, "bytes")
	b := rapid.Byte().Draw(m.t, "byte")
	p := make([]byte, n)
	for i := range p {
		p[i] = b + byte(i/7)
	}
	return p
}

func (m *machine) write() {
	p := m.bytes()
	m.onFile("write", func(f vfs.File) (string, error) {
		n, err := f.Write(slices.Clone(p))
		return fmt.Sprint(n), err
	})
}

func (m *machine) offset() int64 {
	return int64(rapid.SampledFrom([]int{0, 5, 900, chunkBytes - 3, 2 * chunkBytes}).Draw(m.t, "offset"))
}

func (m *machine) writeAt() {
	p, off := m.bytes(), m.offset()
	m.onFile("write at", func(f vfs.File) (string, error) {
		n, err := f.WriteAt(slices.Clone(p), off)
		return fmt.Sprint(n), err
	})
}

func (m *machine) read() {
	n, off := len(m.bytes()), m.offset()
	at := rapid.Bool().Draw(m.t, "at")
	m.onFile("read", func(f vfs.File) (string, error) {
		p := make([]byte, n)
		if at {
			n, err := f.ReadAt(p, off)
			return string(p[:n]), err
		}
		n, err := io.ReadFull(f, p) // the only way in which a short read is defined
		return string(p[:n]), err
	})
}

func (m *machine) sync() {
	data := rapid.Bool().Draw(m.t, "data")
	m.onFile("sync", func(f vfs.File) (string, error) {
		if data {
			return "", f.SyncData()
		}
		return "", f.Sync()
	})
}

func (m *machine) syncDir() {
	d := m.dir()
	m.both("sync "+d, func(fs vfs.FS) error {
		f, err := fs.OpenDir(d)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}

func (m *machine) rename() {
	from, to := m.name("from"), m.name("to")
	// Where the new directory does not exist, pebble's filesystem loses the file.
	if _, err := m.mem.Stat(path.Dir(to)); err == nil {
		m.both("rename "+from+" "+to, func(fs vfs.FS) error { return fs.Rename(from, to) })
	}
}

func (m *machine) link() {
	from, to := m.name("from"), m.name("to")
	m.both("link "+from+" "+to, func(fs vfs.FS) error { return fs.Link(from, to) })
}

func (m *machine) remove() {
	name := m.name("name")
	if rapid.Bool().Draw(m.t, "dir") {
		name = "/d/f"
	}
	m.both("remove "+name, func(fs vfs.FS) error { return fs.Remove(name) })
}

func (m *machine) removeAll() {
	name := rapid.SampledFrom([]string{"/d/e", "/d/f", "/d/f/a", "/d/e/b"}).Draw(m.t, "name")
	m.both("remove all "+name, func(fs vfs.FS) error { return fs.RemoveAll(name) })
}

func (m *machine) mkdir() {
	d := m.dir()
	m.both("mkdir "+d, func(fs vfs.FS) error { return fs.MkdirAll(d, 0o755) })
}

func (m *machine) reuse() {
	from, to := m.name("from"), m.name("to")
	_, err := m.mem.Stat(path.Dir(to))
	_, err2 := m.mem.Stat(from)
	if err != nil || err2 != nil || from == to {
		return
	}
	// It need not keep the contents; here it does not.
	m.both("reuse", func(fs vfs.FS) error { return fs.Remove(from) })
	m.keep("reuse", func(fs vfs.FS) (vfs.File, error) {
		if fs == m.fs {
			f, err := fs.Create(from, "")
			if err == nil {
				err = f.Close()
			}
			if err != nil {
				return nil, err
			}
			return fs.ReuseForWrite(from, to, "")
		}
		return fs.Create(to, "")
	})
}

func (m *machine) lock() {
	d := m.dir()
	if m.both("lock", func(fs vfs.FS) error { _, err := fs.Lock(path.Join(d, "LOCK")); return err }) {
		m.both("lock again", func(fs vfs.FS) error { _, err := fs.Lock(path.Join(d, "LOCK")); return err })
	}
}

func (m *machine) close() {
	if len(m.open) == 0 {
		return
	}
	i := rapid.IntRange(0, len(m.open)-1).Draw(m.t, "file")
	if a, b := m.open[i].a.Close(), m.open[i].b.Close(); a != nil || b != nil {
		m.t.Fatalf("close: %v, %v", a, b)
	}
	m.open = slices.Delete(m.open, i, i+1)
}

func (m *machine) compare(when string, a, b vfs.FS) {
	if x, y := tree(m.t, a, "/"), tree(m.t, b, "/"); x != y {
		m.t.Fatalf("%s:\n%s\npebble's:\n%s", when, x, y)
	}
}

// tree is everything below a directory.
func tree(t *rapid.T, fs vfs.FS, dir string) string {
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := fs.(*FS); !ok {
		slices.Sort(names)
	}
	var b strings.Builder
	for _, n := range names {
		p := fs.PathJoin(dir, n)
		st, err := fs.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if st.IsDir() {
			fmt.Fprintf(&b, "%s %s/\n%s", p, st.Name(), tree(t, fs, p))
			continue
		}
		f, err := fs.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(f)
		if err != nil || f.Close() != nil || int64(len(all)) != st.Size() {
			t.Fatalf("read %s of %d bytes: %d bytes, %v", p, st.Size(), len(all), err)
		}
		fmt.Fprintf(&b, "%s %s %d %x\n", p, st.Name(), len(all), mixBytes(all))
	}
	return b.String()
}

func mixBytes(p []byte) uint64 {
	h := uint64(len(p))
	for _, c := range p {
		h = h*1099511628211 + uint64(c)
	}
	return h
}

// TestShared: a disk and what a crash made of it share memory, and do not see what the other writes.
func TestShared(t *testing.T) {
	fs := New()
	f, err := fs.Create("/a", "")
	must(t, err)
	_, err = f.Write([]byte("123"))
	must(t, err)
	must(t, f.Sync())
	syncRoot(t, fs)
	after := fs.Crash(1, 1)
	g, err := after.OpenReadWrite("/a", "")
	must(t, err)
	for i, f := range []vfs.File{f, g, f, g} {
		_, err = f.WriteAt([]byte{byte('a' + i)}, int64(3-i/2*3))
		must(t, err)
	}
	var p [4]byte
	for f, want := range map[vfs.File]string{f: "c23a", g: "d23b"} {
		if _, err := f.ReadAt(p[:], 0); err != nil || string(p[:]) != want {
			t.Fatalf("%q %v, want %q", p, err, want)
		}
	}
}

// TestHardLink: what is written through one name is synced through the other, also after a crash.
func TestHardLink(t *testing.T) {
	fs := New()
	f, err := fs.Create("/a", "")
	must(t, err)
	must(t, fs.Link("/a", "/b"))
	_, err = f.Write([]byte("x"))
	must(t, err)
	must(t, f.Sync())
	syncRoot(t, fs)
	after := fs.Crash(1, 1)
	f, err = after.OpenReadWrite("/a", "")
	must(t, err)
	_, err = f.Write([]byte("y"))
	must(t, err)
	if got := tree2(t, after); got != "/a 1 (1)\n/b 1 (1)\n" {
		t.Fatal(got)
	}
	g, err := after.Open("/b")
	must(t, err)
	if all, err := io.ReadAll(g); err != nil || string(all) != "y" {
		t.Fatalf("%q %v", all, err)
	}
}

func tree2(t *testing.T, fs *FS) string {
	t.Helper()
	return strings.TrimPrefix(fs.String(), "/\n")
}

func syncRoot(t *testing.T, fs *FS) {
	t.Helper()
	d, err := fs.OpenDir("/")
	must(t, err)
	must(t, d.Sync())
	must(t, d.Close())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestRaftLogCrash: of a segment of the raft log what was synced survives, also where it was written over since, or what it was
// written over with; and of what came since nothing, everything, the first writes, and single sectors are all seen.
func TestRaftLogCrash(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(64) {
		fs := New()
		f, err := fs.OpenReadWrite("000007.raft", vfs.WriteCategoryUnspecified)
		must(t, err)
		write := func(c string, sectors int, at int64) {
			_, err := f.WriteAt([]byte(strings.Repeat(c, sectors*sectorBytes)), at*sectorBytes)
			must(t, err)
		}
		write("a", 3, 0)
		must(t, f.SyncData())
		root, err := fs.OpenDir("")
		must(t, err)
		must(t, root.Sync())
		write("b", 1, 2)
		write("c", 2, 3)
		fs.Freeze()
		write("d", 5, 0)
		got := fs.Crash(seed, 1)
		g, err := got.Open("000007.raft")
		must(t, err)
		st, err := g.Stat()
		must(t, err)
		p := make([]byte, st.Size())
		_, err = g.ReadAt(p, 0)
		must(t, err)
		var sectors []byte
		for i := 0; i < len(p); i += sectorBytes {
			sectors = append(sectors, p[i])
		}
		shown := strings.ReplaceAll(string(sectors), "\x00", ".")
		if !strings.HasPrefix(shown, "aa") || strings.ContainsAny(shown, "d") {
			t.Fatalf("seed %d: %s", seed, shown)
		}
		seen[shown] = true
	}
	for _, want := range []string{"aaa", "aabcc", "aab", "aab.c", "aaacc"} {
		if !seen[want] {
			t.Errorf("never %s, of %v", want, slices.Sorted(maps.Keys(seen)))
		}
	}
}
