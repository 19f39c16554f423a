package engine

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// crashFS calls point before every operation after which a crash can differ from one before it.
type crashFS struct {
	vfs.FS
	point func()
	// mu keeps point, which clones the file system, away from Link: MemFS.Link takes the lock against clones twice, and hangs if one
	// comes between.
	mu sync.RWMutex
}

func (c *crashFS) at() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.point()
}

func (c *crashFS) Create(n string, w vfs.DiskWriteCategory) (vfs.File, error) {
	c.at()
	return c.wrap(c.FS.Create(n, w))
}

func (c *crashFS) ReuseForWrite(a, b string, w vfs.DiskWriteCategory) (vfs.File, error) {
	c.at()
	return c.wrap(c.FS.ReuseForWrite(a, b, w))
}

func (c *crashFS) OpenReadWrite(n string, w vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	c.at()
	return c.wrap(c.FS.OpenReadWrite(n, w, o...))
}

func (c *crashFS) OpenDir(n string) (vfs.File, error) { return c.wrap(c.FS.OpenDir(n)) }
func (c *crashFS) Rename(a, b string) error           { c.at(); return c.FS.Rename(a, b) }
func (c *crashFS) Link(a, b string) error {
	c.at()
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.FS.Link(a, b)
}
func (c *crashFS) Remove(n string) error { c.at(); return c.FS.Remove(n) }
func (c *crashFS) wrap(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &crashFile{File: f, point: c.at}, nil
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
	fs  *vfs.MemFS
	cfg vfs.CrashCloneCfg // what of the unsynced is left

	mu     sync.Mutex // points come from Pebble's goroutines too
	on     bool
	clones []*vfs.MemFS
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
func (p *crashPoints) during(f func()) []*vfs.MemFS {
	p.turn(true)
	p.take()
	f()
	p.take()
	return p.turn(false)
}

// turn begins or ends to gather, and gives what was gathered.
func (p *crashPoints) turn(on bool) []*vfs.MemFS {
	p.mu.Lock()
	defer p.mu.Unlock()
	gathered := p.clones
	p.on, p.clones = on, nil
	return gathered
}
