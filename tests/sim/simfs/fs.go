package simfs

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// diskBytes is how large a disk says that it is, unless SetUsage says otherwise.
const diskBytes = 1 << 40

// FS is a filesystem in memory. Safe for concurrent use. What it keeps is freed with it.
type FS struct {
	mu     sync.RWMutex
	root   *node
	locked map[string]bool // by clean path; only looked up
	usage  vfs.DiskUsage
	faults faults
	torn   bool // see Torn

	// frozen is set once nothing becomes durable any more.
	frozen bool
	// wal and manifest are the newest of the database, nil if there is none.
	wal, manifest *node
	promised      promise
}

var _ vfs.FS = (*FS)(nil)

// New makes an empty disk.
func New() *FS {
	return &FS{root: &node{dir: true}, locked: map[string]bool{},
		usage: vfs.DiskUsage{AvailBytes: diskBytes, TotalBytes: diskBytes}}
}

func pathError(op, name string, err error) error { return &os.PathError{Op: op, Path: name, Err: err} }

// lookup finds the node of a path, nil if there is none.
func (f *FS) lookup(op, name string) (*node, error) {
	n := f.root
	for _, s := range split(name) {
		if !n.dir {
			return nil, pathError(op, name, syscall.ENOTDIR)
		}
		if n = n.entries.get(s); n == nil {
			return nil, pathError(op, name, os.ErrNotExist)
		}
	}
	return n, nil
}

// parent finds the directory that holds the last name of a path.
func (f *FS) parent(op, name string) (dir *node, base string, err error) {
	names := split(name)
	if len(names) == 0 {
		return nil, "", pathError(op, name, os.ErrInvalid)
	}
	base = names[len(names)-1]
	dir, err = f.lookup(op, strings.Join(names[:len(names)-1], "/"))
	if err == nil && !dir.dir {
		err = pathError(op, name, syscall.ENOTDIR)
	}
	return dir, base, err
}

// Create implements vfs.FS.
func (f *FS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.create(name)
	if err != nil {
		return nil, err
	}
	return &file{fs: f, n: n, name: name, write: true}, nil
}

func (f *FS) create(name string) (*node, error) {
	dir, base, err := f.parent("create", name)
	if err != nil {
		return nil, err
	}
	old := dir.entries.get(base)
	if old != nil && old.dir {
		return nil, pathError("create", name, syscall.EISDIR)
	}
	if old != nil {
		f.unlink(dir, base)
	}
	n := &node{}
	n.kind, n.num = classify(base)
	dir.entries = dir.entries.with(base, n)
	switch n.kind {
	case walLog:
		f.wal = n
	case manifest:
		f.manifest, dir.db = n, true
	}
	return n, nil
}

// unlink removes a name. Of a database, what may be needed again goes to limbo.
func (f *FS) unlink(dir *node, base string) {
	n := dir.entries.get(base)
	dir.entries = dir.entries.without(base)
	// A file whose name is not durable is of no use to anybody after a crash, except for a log.
	if dir.db && !n.dir && (n.kind == walLog || dir.durable.get(base) != nil) {
		dir.limbo = append(dir.limbo, removed{entry: entry{base, n}, at: f.position()})
		if n.kind == walLog {
			f.collect(dir)
		}
	}
}

// Link implements vfs.FS.
func (f *FS) Link(oldname, newname string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.lookup("link", oldname)
	if err == nil && n.dir {
		err = pathError("link", oldname, syscall.EPERM)
	}
	if err != nil {
		return err
	}
	dir, base, err := f.parent("link", newname)
	if err != nil {
		return err
	}
	if dir.entries.get(base) != nil {
		return &os.LinkError{Op: "link", Old: oldname, New: newname, Err: os.ErrExist}
	}
	dir.entries = dir.entries.with(base, n)
	return nil
}

func (f *FS) open(op, name string, write bool, opts []vfs.OpenOption) (vfs.File, error) {
	n, err := f.lookup(op, name)
	if err != nil {
		return nil, err
	}
	h := &file{fs: f, n: n, name: name, write: write && !n.dir}
	for _, o := range opts {
		o.Apply(h)
	}
	return h, nil
}

// Open implements vfs.FS.
func (f *FS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.open("open", name, false, opts)
}

// OpenReadWrite implements vfs.FS.
func (f *FS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := f.lookup("open", name); os.IsNotExist(err) {
		if _, err := f.create(name); err != nil {
			return nil, err
		}
	}
	return f.open("open", name, true, opts)
}

// OpenDir implements vfs.FS.
func (f *FS) OpenDir(name string) (vfs.File, error) { return f.Open(name) }

// Remove implements vfs.FS.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.parent("remove", name)
	if err != nil {
		return err
	}
	n := dir.entries.get(base)
	if n == nil {
		return pathError("remove", name, os.ErrNotExist)
	}
	if len(n.entries) > 0 {
		return pathError("remove", name, syscall.ENOTEMPTY)
	}
	f.unlink(dir, base)
	return nil
}

// RemoveAll implements vfs.FS.
func (f *FS) RemoveAll(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir, base, err := f.parent("remove", name)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if dir.entries.get(base) != nil {
		f.unlink(dir, base)
	}
	return nil
}

// Rename implements vfs.FS.
func (f *FS) Rename(oldname, newname string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	from, oldbase, err := f.parent("rename", oldname)
	if err != nil {
		return err
	}
	n := from.entries.get(oldbase)
	if n == nil {
		return pathError("rename", oldname, os.ErrNotExist)
	}
	to, newbase, err := f.parent("rename", newname)
	if err != nil {
		return err
	}
	if old := to.entries.get(newbase); old != nil && old != n && old.dir {
		return pathError("rename", newname, syscall.EEXIST)
	}
	from.entries = from.entries.without(oldbase)
	to.entries = to.entries.with(newbase, n)
	return nil
}

// ReuseForWrite implements vfs.FS. It makes a new file and removes the old one, as its contract allows.
func (f *FS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := f.Remove(oldname); err != nil {
		return nil, err
	}
	return f.Create(newname, c)
}

// MkdirAll implements vfs.FS.
func (f *FS) MkdirAll(name string, _ os.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.root
	for _, s := range split(name) {
		c := n.entries.get(s)
		if c == nil {
			c = &node{dir: true}
			n.entries = n.entries.with(s, c)
		}
		if !c.dir {
			return pathError("mkdir", name, syscall.ENOTDIR)
		}
		n = c
	}
	return nil
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := path.Clean("/" + name)
	if f.locked[p] {
		return nil, pathError("lock", name, syscall.EAGAIN)
	}
	if _, err := f.create(name); err != nil {
		return nil, err
	}
	f.locked[p] = true
	return &lock{fs: f, path: p}, nil
}

// lock is a held lock.
type lock struct {
	fs   *FS
	path string // "" once it is released
}

// Close releases the lock. That of the database is released last, when its log is complete: all of it has been synced
// then, and is durable.
func (l *lock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	if l.path == "" {
		return nil
	}
	delete(l.fs.locked, l.path)
	if dir, _, err := l.fs.parent("unlock", l.path); err == nil && dir.db {
		l.fs.settle(dir)
	}
	l.path = ""
	return nil
}

// List implements vfs.FS. The names are sorted.
func (f *FS) List(name string) ([]string, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, err := f.lookup("list", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, pathError("list", name, syscall.ENOTDIR)
	}
	out := make([]string, len(n.entries))
	for i, e := range n.entries {
		out[i] = e.name
	}
	return out, nil
}

// Stat implements vfs.FS.
func (f *FS) Stat(name string) (vfs.FileInfo, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	n, err := f.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return n.stat(name), nil
}

// GetDiskUsage implements vfs.FS. What it says is set, not counted: how many bytes the files take depends on compactions.
func (f *FS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.usage, nil
}

// SetUsage sets what GetDiskUsage says; 1 TiB free at first.
func (f *FS) SetUsage(u vfs.DiskUsage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.usage = u
}

// PathBase implements vfs.FS.
func (*FS) PathBase(p string) string { return path.Base(p) }

// PathJoin implements vfs.FS.
func (*FS) PathJoin(elem ...string) string { return path.Join(elem...) }

// PathDir implements vfs.FS.
func (*FS) PathDir(p string) string { return path.Dir(p) }

// Unwrap implements vfs.FS.
func (*FS) Unwrap() vfs.FS { return nil }

// String lists all files with their sizes and how much of them is synced, sorted.
func (f *FS) String() string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	var b strings.Builder
	f.root.print(&b, "")
	return b.String()
}

func (n *node) print(b *strings.Builder, at string) {
	if !n.dir {
		fmt.Fprintf(b, "%s %d (%d)\n", at, n.data.size, n.synced)
		return
	}
	fmt.Fprintf(b, "%s/\n", at)
	for _, e := range n.entries {
		e.n.print(b, at+"/"+e.name)
	}
}
