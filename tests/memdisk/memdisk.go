// Package memdisk is a disk in memory that loses power while it is written to.
package memdisk

import (
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// FS is Pebble's filesystem in memory, of which a clone may be taken at any moment. MemFS takes the lock against clones twice in
// the methods below, and hangs for ever if a clone is asked for between. Safe for concurrent use.
type FS struct {
	*vfs.MemFS
	mu sync.RWMutex // held by what must not be cloned between
}

// New makes an empty one.
func New() *FS { return &FS{MemFS: vfs.NewCrashableMem()} }

// CrashClone is what a power failure leaves: what was synced, and of the rest what cfg says.
func (f *FS) CrashClone(cfg vfs.CrashCloneCfg) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &FS{MemFS: f.MemFS.CrashClone(cfg)}
}

// Link implements vfs.FS.
func (f *FS) Link(oldname, newname string) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.MemFS.Link(oldname, newname)
}

// Create implements vfs.FS.
func (f *FS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return writable(f.MemFS.Create(name, c))
}

// OpenReadWrite implements vfs.FS.
func (f *FS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return writable(f.MemFS.OpenReadWrite(name, c, opts...))
}

// ReuseForWrite implements vfs.FS.
func (f *FS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return writable(f.MemFS.ReuseForWrite(oldname, newname, c))
}

// Lock implements vfs.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.MemFS.Lock(name)
}
