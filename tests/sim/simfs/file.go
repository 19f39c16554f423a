package simfs

import (
	"os"
	"path"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is an open file or directory.
type file struct {
	fs     *FS
	n      *node
	name   string // as it was opened
	write  bool
	pos    int64 // of Read and Write
	closed bool
}

var _ vfs.File = (*file)(nil)

// Close implements vfs.File.
func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, os.ErrClosed)
	}
	f.closed = true
	return nil
}

// usable says why an operation cannot be done.
func (f *file) usable(op string, dir bool) error {
	if f.closed {
		return pathError(op, f.name, os.ErrClosed)
	}
	if f.n.dir && !dir {
		return pathError(op, f.name, syscall.EISDIR)
	}
	return nil
}

// Read implements vfs.File.
func (f *file) Read(p []byte) (int, error) {
	f.fs.mu.Lock() // pos
	defer f.fs.mu.Unlock()
	if err := f.usable("read", false); err != nil {
		return 0, err
	}
	n, err := f.n.data.readAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// ReadAt implements vfs.File.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.usable("read", false); err != nil {
		return 0, err
	}
	return f.n.data.readAt(p, off)
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.put(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.put(p, off)
}

func (f *file) put(p []byte, off int64) (int, error) {
	if err := f.usable("write", false); err != nil {
		return 0, err
	}
	if !f.write {
		return 0, pathError("write", f.name, os.ErrPermission)
	}
	if f.fs.faults.failWrite != nil && f.fs.faults.failWrite(f.name) {
		return 0, faultError("write", f.name, syscall.ENOSPC)
	}
	if off < f.n.synced && f.n.before == nil {
		b := f.n.data.clone(f.n.synced)
		f.n.before = &b
	}
	if f.n.kind == raftLog && !f.fs.frozen {
		f.n.unsynced = append(f.n.unsynced, piece{off, append([]byte(nil), p...)})
	}
	f.n.data.writeAt(p, off)
	return len(p), nil
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.usable("sync", true); err != nil {
		return err
	}
	if f.fs.faults.failSync != nil && f.fs.faults.failSync(f.name) {
		return faultError("sync", f.name, syscall.EIO)
	}
	if f.fs.frozen {
		return nil
	}
	f.n.durable, f.n.synced, f.n.before, f.n.unsynced = f.n.entries, f.n.data.size, nil, nil
	return nil
}

// SyncData implements vfs.File.
func (f *file) SyncData() error { return f.Sync() }

// SyncTo implements vfs.File. It promises nothing, as its contract allows.
func (f *file) SyncTo(int64) (fullSync bool, err error) { return false, nil }

// Preallocate implements vfs.File. Pebble calls it only on files with a descriptor; crashes make zero tails instead.
func (f *file) Preallocate(int64, int64) error { return nil }

// Prefetch implements vfs.File.
func (f *file) Prefetch(int64, int64) error { return nil }

// Fd implements vfs.File.
func (f *file) Fd() uintptr { return vfs.InvalidFd }

// Stat implements vfs.File.
func (f *file) Stat() (vfs.FileInfo, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.usable("stat", true); err != nil {
		return nil, err
	}
	return f.n.stat(f.name), nil
}

func (n *node) stat(name string) vfs.FileInfo {
	return info{name: path.Base(path.Clean("/" + name)), size: n.data.size, dir: n.dir}
}

// info implements vfs.FileInfo. There are no times: nothing may depend on them.
type info struct {
	name string
	size int64
	dir  bool
}

// Name implements os.FileInfo.
func (i info) Name() string { return i.name }

// Size implements os.FileInfo.
func (i info) Size() int64 { return i.size }

// Mode implements os.FileInfo.
func (i info) Mode() os.FileMode {
	if i.dir {
		return os.ModeDir | 0o755
	}
	return 0o755
}

// ModTime implements os.FileInfo.
func (i info) ModTime() time.Time { return time.Time{} }

// IsDir implements os.FileInfo.
func (i info) IsDir() bool { return i.dir }

// Sys implements os.FileInfo.
func (i info) Sys() any { return nil }

// DeviceID implements vfs.FileInfo.
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
