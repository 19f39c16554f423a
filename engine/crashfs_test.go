package engine

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/tests/memdisk"
)

// crashFS calls point before every operation after which a crash can differ from one before it.
type crashFS struct {
	vfs.FS
	point func()
}

func (c *crashFS) Create(n string, w vfs.DiskWriteCategory) (vfs.File, error) {
	c.point()
	return c.wrap(c.FS.Create(n, w))
}

func (c *crashFS) ReuseForWrite(a, b string, w vfs.DiskWriteCategory) (vfs.File, error) {
	c.point()
	return c.wrap(c.FS.ReuseForWrite(a, b, w))
}

func (c *crashFS) OpenReadWrite(n string, w vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	c.point()
	return c.wrap(c.FS.OpenReadWrite(n, w, o...))
}

func (c *crashFS) OpenDir(n string) (vfs.File, error) { return c.wrap(c.FS.OpenDir(n)) }
func (c *crashFS) Rename(a, b string) error           { c.point(); return c.FS.Rename(a, b) }
func (c *crashFS) Link(a, b string) error             { c.point(); return c.FS.Link(a, b) }
func (c *crashFS) Remove(n string) error              { c.point(); return c.FS.Remove(n) }
func (c *crashFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &crashFile{File: f, point: c.point}, nil
}

type crashFile struct {
	vfs.File
	point func()
}

func (f *crashFile) Sync() error     { f.point(); return f.File.Sync() }
func (f *crashFile) SyncData() error { f.point(); return f.File.SyncData() }
func (f *crashFile) WriteAt(p []byte, off int64) (int, error) {
	f.point()
	return f.File.WriteAt(p, off)
}

// crashPoints gathers what a crash of the machine leaves of fs.
type crashPoints struct {
	fs  *memdisk.FS
	cfg vfs.CrashCloneCfg // what of the unsynced is left

	mu     sync.Mutex // points come from Pebble's goroutines too
	on     bool
	clones []*memdisk.FS
}

// watched is fs, for the store that crashes.
func (p *crashPoints) watched() vfs.FS { return &crashFS{FS: p.fs, point: p.take} }

func (p *crashPoints) take() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on {
		p.clones = append(p.clones, p.fs.CrashClone(p.cfg))
	}
}

// during runs f and gives what a crash leaves before it, at every file operation meanwhile, and after it.
func (p *crashPoints) during(f func()) []*memdisk.FS {
	p.turn(true)
	p.take()
	f()
	p.take()
	return p.turn(false)
}

// turn begins or ends to gather, and gives what was gathered.
func (p *crashPoints) turn(on bool) []*memdisk.FS {
	p.mu.Lock()
	defer p.mu.Unlock()
	gathered := p.clones
	p.on, p.clones = on, nil
	return gathered
}
