package memdisk

import (
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// file is a file of MemFS that was opened to write, made fit for large writes, which else take seconds under the race detector. One file
// at a time may write beyond the end.
type file struct {
	vfs.File
	mu   sync.Mutex
	pos  int64 // where Read and Write go on
	next int64 // where Write of the file below goes on
}

func writable(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &file{File: f}, nil
}

// Fd implements vfs.File. It is no descriptor, but not vfs.InvalidFd either: files without any Pebble syncs each time that half a
// megabyte was written, which copies the whole of a MemFile. With one it calls SyncTo, which makes nothing durable here, as the call
// of the system below it does not.
func (f *file) Fd() uintptr { return 1 << 30 }

// Read implements vfs.File.
func (f *file) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.ReadAt(p, f.pos)
	f.pos += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

// Write implements vfs.File.
func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.put(p, f.pos)
	f.pos += int64(n)
	return n, err
}

// WriteAt implements vfs.File.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.put(p, at)
}

func (f *file) put(p []byte, at int64) (int, error) {
	if at == f.next {
		return f.goOn(p)
	}
	if err := f.grow(at + int64(len(p))); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

// goOn writes with Write of the file below, which adds all at once; its WriteAt adds byte by byte.
func (f *file) goOn(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.next += int64(n)
	return n, err
}

// grow makes the file end at end, with zeros, unless it ends later.
func (f *file) grow(end int64) error {
	info, err := f.Stat()
	if err != nil || end <= info.Size() {
		return err
	}
	b := make([]byte, end-f.next)
	if old := info.Size() - f.next; old > 0 { // what is there is written again, as it is
		if _, err := f.ReadAt(b[:old], f.next); err != nil {
			return err
		}
	}
	_, err = f.goOn(b)
	return err
}
