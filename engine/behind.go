package engine

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// behindBuffers is how many buffers of tableBuffer bytes a file has that is written behind.
const behindBuffers = 16

// behindFile is a file that is written by a goroutine of its own, so that whoever makes a table goes on while the system takes it:
// Pebble hands over block by block, and waits each time until the one before is written. One task writes to it, from its beginning to
// its end.
//
// INVARIANT: after Sync or SyncData without an error all that was written before is on the disk. A write that fails fails what follows it, Sync at
// the latest.
type behindFile struct {
	vfs.File
	buf   []byte      // being filled
	full  chan []byte // to be written, in order
	empty chan []byte
	ended chan struct{} // the goroutine has

	mu      sync.Mutex
	written sync.Cond // pending is less, guarded by mu
	pending int       // of full, and in the goroutine's hands
	err     error     // of the first write that failed
}

// writeBehind has f written behind. A file without a descriptor stays as it is: it lies in memory, and in simulated worlds nothing may
// run beside what is simulated.
func writeBehind(f vfs.File) vfs.File {
	if f.Fd() == vfs.InvalidFd {
		return f
	}
	b := &behindFile{File: f, full: make(chan []byte, behindBuffers), empty: make(chan []byte, behindBuffers), ended: make(chan struct{})}
	b.written.L = &b.mu
	for range behindBuffers - 1 {
		b.empty <- nil // made when it is needed
	}
	go b.run()
	return b
}

// run writes what is full until there will be no more.
func (f *behindFile) run() {
	defer close(f.ended)
	for b := range f.full {
		err := f.failed()
		if err == nil {
			_, err = f.File.Write(b)
		}
		f.mu.Lock()
		f.err = err
		f.pending--
		f.written.Signal()
		f.mu.Unlock()
		f.empty <- b[:0]
	}
}

func (f *behindFile) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Write implements vfs.File.
func (f *behindFile) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if f.buf == nil {
			f.buf = make([]byte, 0, tableBuffer)
		}
		k := min(len(p), tableBuffer-len(f.buf))
		f.buf = append(f.buf, p[:k]...)
		if p = p[k:]; len(f.buf) == tableBuffer {
			f.pass()
			if err := f.failed(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// pass hands over what was gathered.
func (f *behindFile) pass() {
	if len(f.buf) == 0 {
		return
	}
	f.mu.Lock()
	f.pending++
	f.mu.Unlock()
	f.full <- f.buf
	f.buf = <-f.empty
}

// settle waits until all that was written before was given to the system.
func (f *behindFile) settle() error {
	f.pass()
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.pending > 0 {
		f.written.Wait()
	}
	return f.err
}

// Sync implements vfs.File.
func (f *behindFile) Sync() error {
	if err := f.settle(); err != nil {
		return err
	}
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *behindFile) SyncData() error {
	if err := f.settle(); err != nil {
		return err
	}
	return f.File.SyncData()
}

// SyncTo implements vfs.File.
func (f *behindFile) SyncTo(length int64) (fullSync bool, err error) {
	if err := f.settle(); err != nil {
		return false, err
	}
	return f.File.SyncTo(length)
}

// Stat implements vfs.File.
func (f *behindFile) Stat() (vfs.FileInfo, error) {
	if err := f.settle(); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

// Close implements vfs.File.
func (f *behindFile) Close() error {
	f.pass()
	close(f.full)
	<-f.ended
	err := f.err
	if err2 := f.File.Close(); err == nil {
		err = err2
	}
	return err
}
