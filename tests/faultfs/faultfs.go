// Package faultfs is a filesystem for tests whose disk misbehaves on command: it becomes slow, it hangs, it is full, its
// syncs fail. Reads are never harmed; what a disk gives back wrongly is the business of the engine's own tests.
//
// A sync that failed loses what was written since the last good one, if the filesystem below can (lossyfs): a kernel
// marks the pages clean, so that the next sync succeeds without them. Whoever tries again has lost data and is found.
package faultfs

import (
	"os"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Faults are what is wrong with the disk. The zero value is a good disk.
type Faults struct {
	// Path is a regular expression: only files with such a path are concerned. Empty is all of them.
	Path string
	// WriteDelay and SyncDelay are added to every write and every sync.
	WriteDelay, SyncDelay time.Duration
	// Hang lets no sync return until the faults are set again.
	Hang bool
	// NoSpace fails every write and every new file with ENOSPC.
	NoSpace bool
	// FailSync fails every sync with EIO.
	FailSync bool
}

// FS wraps a filesystem. Safe for concurrent use.
type FS struct {
	vfs.FS

	mu      sync.Mutex
	changed *sync.Cond
	faults  Faults
	path    *regexp.Regexp // of faults, nil for all paths
}

// New makes a good disk over a filesystem.
func New(below vfs.FS) *FS {
	fs := &FS{FS: below}
	fs.changed = sync.NewCond(&fs.mu)
	return fs
}

// Set changes what is wrong from now on; whoever hangs looks again.
func (fs *FS) Set(f Faults) error {
	var path *regexp.Regexp
	if f.Path != "" {
		var err error
		if path, err = regexp.Compile(f.Path); err != nil {
			return err
		}
	}
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.faults, fs.path = f, path
	fs.changed.Broadcast()
	return nil
}

// of returns the faults that concern a file. The caller holds mu.
func (fs *FS) of(name string) Faults {
	if fs.path != nil && !fs.path.MatchString(name) {
		return Faults{}
	}
	return fs.faults
}

// write waits and fails as a write or the making of a file must.
func (fs *FS) write(op, name string) error {
	fs.mu.Lock()
	f := fs.of(name)
	fs.mu.Unlock()
	if f.WriteDelay > 0 {
		time.Sleep(f.WriteDelay)
	}
	if f.NoSpace {
		return &os.PathError{Op: op, Path: name, Err: syscall.ENOSPC}
	}
	return nil
}

// sync waits and fails as a sync must.
func (fs *FS) sync(name string) error {
	fs.mu.Lock()
	for fs.of(name).Hang {
		fs.changed.Wait()
	}
	f := fs.of(name)
	fs.mu.Unlock()
	if f.SyncDelay > 0 {
		time.Sleep(f.SyncDelay)
	}
	if f.FailSync {
		return &os.PathError{Op: "sync", Path: name, Err: syscall.EIO}
	}
	return nil
}

func (fs *FS) wrap(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{File: f, fs: fs, name: name}, nil
}

// Create implements vfs.FS.
func (fs *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.write("create", name); err != nil {
		return nil, err
	}
	f, err := fs.FS.Create(name, c)
	return fs.wrap(name, f, err)
}

// OpenReadWrite implements vfs.FS.
func (fs *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.OpenReadWrite(name, c, o...)
	return fs.wrap(name, f, err)
}

// OpenDir implements vfs.FS.
func (fs *FS) OpenDir(name string) (vfs.File, error) {
	f, err := fs.FS.OpenDir(name)
	return fs.wrap(name, f, err)
}

// ReuseForWrite implements vfs.FS.
func (fs *FS) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.write("reuse", name); err != nil {
		return nil, err
	}
	f, err := fs.FS.ReuseForWrite(old, name, c)
	return fs.wrap(name, f, err)
}

// Unwrap implements vfs.FS.
func (fs *FS) Unwrap() vfs.FS { return fs.FS }

// forgetter is a file that can lose what was not synced.
type forgetter interface{ Forget() }

type file struct {
	vfs.File
	fs   *FS
	name string
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	if err := f.fs.write("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	if err := f.fs.write("write", f.name); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

// Sync implements vfs.File.
func (f *file) Sync() error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *file) SyncData() error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *file) fail() error {
	err := f.fs.sync(f.name)
	if l, ok := f.File.(forgetter); ok && err != nil {
		l.Forget()
	}
	return err
}

// SyncTo promises nothing, as its contract allows.
func (f *file) SyncTo(int64) (bool, error) { return false, nil }

// Fd hides the file below from system calls that would go past this one.
func (f *file) Fd() uintptr { return vfs.InvalidFd }
