// Package lossyfs is a filesystem for tests that holds what was not synced in the memory of the process. A process that
// is killed then loses exactly that, as a machine loses its page cache in a power failure; on a real filesystem kill -9
// loses nothing, because the kernel keeps it.
//
// What a write adds reaches the disk below at Sync or SyncData of its file. Names (create, rename, link, remove) are
// durable at once: that directories are synced is checked elsewhere, on pebble's crashable in-memory filesystem.
package lossyfs

import (
	"io"
	"os"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS wraps a filesystem. Skip, if not nil, says which syncs do nothing: a planted bug for tests of tests.
type FS struct {
	vfs.FS
	Skip func(name string) bool

	mu   sync.Mutex
	open map[string]*file // for writing, by name
}

// New makes a lossy filesystem over the real one.
func New() *FS { return &FS{FS: vfs.Default, open: make(map[string]*file)} }

type file struct {
	vfs.File
	fs   *FS
	name string

	mu     sync.Mutex
	size   int64 // of the file below
	offset int64 // where Write goes on
	writes []write
}

// write is one that the disk below has not seen.
type write struct {
	at   int64
	data []byte
}

func (fs *FS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	w := &file{File: f, fs: fs, name: name, size: st.Size()}
	fs.mu.Lock()
	fs.open[name] = w
	fs.mu.Unlock()
	return w, nil
}

// Create implements vfs.FS.
func (fs *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f, err)
}

// OpenReadWrite implements vfs.FS.
func (fs *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	return fs.wrap(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (fs *FS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	fs.forget(old)
	f, err := fs.FS.ReuseForWrite(old, name, c)
	return fs.wrap(name, f, err)
}

// Open implements vfs.FS. A file that is being written can be read only as far as it is on the disk below.
func (fs *FS) Open(name string, o ...vfs.OpenOption) (vfs.File, error) { return fs.FS.Open(name, o...) }

// Rename implements vfs.FS.
func (fs *FS) Rename(old, name string) error {
	fs.mu.Lock()
	if f := fs.open[old]; f != nil {
		delete(fs.open, old)
		fs.open[name] = f
	}
	fs.mu.Unlock()
	return fs.FS.Rename(old, name)
}

// Remove implements vfs.FS.
func (fs *FS) Remove(name string) error {
	fs.forget(name)
	return fs.FS.Remove(name)
}

func (fs *FS) forget(name string) {
	fs.mu.Lock()
	delete(fs.open, name)
	fs.mu.Unlock()
}

// Stat implements vfs.FS; it counts what is only in memory.
func (fs *FS) Stat(name string) (vfs.FileInfo, error) {
	fs.mu.Lock()
	f := fs.open[name]
	fs.mu.Unlock()
	if f != nil {
		return f.Stat()
	}
	return fs.FS.Stat(name)
}

// Unwrap implements vfs.FS.
func (fs *FS) Unwrap() vfs.FS { return fs.FS }

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, write{f.offset, append([]byte(nil), p...)})
	f.offset += int64(len(p))
	return len(p), nil
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, write{at, append([]byte(nil), p...)})
	return len(p), nil
}

// Sync gives the disk below everything that was written. The kernel keeps it through kill -9, so no fsync is needed.
func (f *file) Sync() error {
	if f.fs.Skip != nil && f.fs.Skip(f.name) {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.writes {
		if _, err := f.File.WriteAt(w.data, w.at); err != nil {
			return err
		}
		f.size = max(f.size, w.at+int64(len(w.data)))
	}
	f.writes = nil
	return nil
}

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.Sync() }

// Forget loses what was not synced, as a failed sync does.
func (f *file) Forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = nil
}

// SyncTo promises nothing, as its contract allows.
func (f *file) SyncTo(int64) (bool, error) { return false, nil }

// Close loses what was not synced: nobody can sync it any more.
func (f *file) Close() error { return f.File.Close() }

// Stat implements vfs.File.
func (f *file) Stat() (vfs.FileInfo, error) {
	st, err := f.File.Stat()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	size := st.Size()
	for _, w := range f.writes {
		size = max(size, w.at+int64(len(w.data)))
	}
	return sized{st, size}, nil
}

type sized struct {
	vfs.FileInfo
	size int64
}

func (s sized) Size() int64 { return s.size }

// ReadAt implements vfs.File; it sees what was written.
func (f *file) ReadAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.File.ReadAt(p, at)
	if err != nil && err != io.EOF {
		return n, err
	}
	end := at + int64(n)
	for _, w := range f.writes {
		lo, hi := max(at, w.at), min(at+int64(len(p)), w.at+int64(len(w.data)))
		if lo < hi {
			copy(p[lo-at:hi-at], w.data[lo-w.at:hi-w.at])
			end = max(end, hi)
		}
	}
	if n = int(end - at); n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Read is not supported on files that are open for writing.
func (f *file) Read([]byte) (int, error) { return 0, os.ErrInvalid }

// Fd hides the file below from system calls that would go past this one.
func (f *file) Fd() uintptr { return vfs.InvalidFd }
