package cluster

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Disk is a filesystem whose syncs can be made to hang, as a failing disk's do, and that says how full it is, if it was told.
type Disk struct {
	vfs.FS

	mu    sync.Mutex
	hung  chan struct{}  // closed when syncs go on; nil: they do not hang
	usage *vfs.DiskUsage // nil: what the filesystem below says
}

// SetFree says how many of how many bytes are free.
func (d *Disk) SetFree(free, total uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.usage = &vfs.DiskUsage{AvailBytes: free, TotalBytes: total, UsedBytes: total - free}
}

// GetDiskUsage implements vfs.FS.
func (d *Disk) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	usage := d.usage
	d.mu.Unlock()
	if usage != nil {
		return *usage, nil
	}
	return d.FS.GetDiskUsage(path)
}

// NewDisk makes a disk over fs.
func NewDisk(fs vfs.FS) *Disk { return &Disk{FS: fs} }

// Hang makes every sync from now on wait for Release.
func (d *Disk) Hang() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung == nil {
		d.hung = make(chan struct{})
	}
}

// Release lets the syncs go on.
func (d *Disk) Release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hung != nil {
		close(d.hung)
		d.hung = nil
	}
}

func (d *Disk) wait() {
	d.mu.Lock()
	hung := d.hung
	d.mu.Unlock()
	if hung != nil {
		<-hung
	}
}

// Unwrap implements vfs.FS.
func (d *Disk) Unwrap() vfs.FS { return d.FS }

// Create implements vfs.FS.
func (d *Disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(d.FS.Create(name, c))
}

// OpenReadWrite implements vfs.FS.
func (d *Disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.file(d.FS.OpenReadWrite(name, c, opts...))
}

// ReuseForWrite implements vfs.FS.
func (d *Disk) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.file(d.FS.ReuseForWrite(oldname, newname, c))
}

func (d *Disk) file(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &diskFile{File: f, d: d}, nil
}

type diskFile struct {
	vfs.File
	d *Disk
}

func (f *diskFile) Sync() error {
	f.d.wait()
	return f.File.Sync()
}

func (f *diskFile) SyncData() error {
	f.d.wait()
	return f.File.SyncData()
}

func (f *diskFile) SyncTo(n int64) (bool, error) {
	f.d.wait()
	return f.File.SyncTo(n)
}
