package engine

import (
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble hands a table to the filesystem in pieces of 4 to 16 KiB, as its blocks come. Each is a call, and the system keeps it in pages of
// that size and writes those one by one: 512 MiB in pieces of 4 and 16 KiB take the system 1.0 and 0.5 s, and the disk 3.3 and 2.0 s; in
// pieces of 64 KiB 0.36 and 1.6 s (docs/performance.md). So what goes into a table is gathered first, as RocksDB does it
// (writable_file_max_buffer_size).

// tableBuffer is handed to the filesystem at once.
const tableBuffer = 64 << 10

// tableBuffers holds *[]byte of tableBuffer bytes, for tables that are being written: a few at a time.
var tableBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, tableBuffer)
	return &b
}}

// tableFS is a filesystem that gathers what is written into new tables. All other files are those of the filesystem below.
type tableFS struct{ vfs.FS }

// Create implements vfs.FS.
func (fs tableFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := fs.FS.Create(name, category)
	if err != nil || !strings.HasSuffix(name, tableSuffix) {
		return f, err
	}
	return &tableFile{File: f, buf: tableBuffers.Get().(*[]byte)}, nil
}

// Unwrap implements vfs.FS.
func (fs tableFS) Unwrap() vfs.FS { return fs.FS }

// tableFile is a table that is being written, from its beginning to its end, by one task; nobody reads it before it is closed.
//
// INVARIANT: after Sync or SyncData without an error, all that was written before is on the disk. A write that fails fails all syncs
// after it.
type tableFile struct {
	vfs.File
	buf     *[]byte // not yet written; nil once the file is closed
	flushed int64   // bytes before buf
	err     error   // of the first write that failed
}

// Write implements vfs.File.
func (f *tableFile) Write(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n := len(p)
	for len(p) > 0 {
		if len(*f.buf) == 0 && len(p) >= tableBuffer { // gathered already, by who writes behind
			if err := f.write(p[:tableBuffer]); err != nil {
				return 0, err
			}
			p = p[tableBuffer:]
			continue
		}
		k := min(len(p), tableBuffer-len(*f.buf))
		*f.buf = append(*f.buf, p[:k]...)
		if p = p[k:]; len(*f.buf) == tableBuffer {
			if err := f.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (f *tableFile) flush() error {
	if f.err != nil || len(*f.buf) == 0 {
		return f.err
	}
	err := f.write(*f.buf)
	*f.buf = (*f.buf)[:0]
	return err
}

// write hands a piece to the filesystem.
func (f *tableFile) write(p []byte) error {
	n, err := f.File.Write(p)
	f.flushed += int64(n)
	f.err = err
	return err
}

// Sync implements vfs.File.
func (f *tableFile) Sync() error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.Sync()
}

// SyncData implements vfs.File.
func (f *tableFile) SyncData() error {
	if err := f.flush(); err != nil {
		return err
	}
	return f.File.SyncData()
}

// SyncTo implements vfs.File.
func (f *tableFile) SyncTo(length int64) (fullSync bool, err error) {
	if length > f.flushed {
		if err := f.flush(); err != nil {
			return false, err
		}
	}
	return f.File.SyncTo(length)
}

// Stat implements vfs.File.
func (f *tableFile) Stat() (vfs.FileInfo, error) {
	if err := f.flush(); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

// Close implements vfs.File.
func (f *tableFile) Close() error {
	err := f.flush()
	if err2 := f.File.Close(); err == nil {
		err = err2
	}
	*f.buf = (*f.buf)[:0] // the next table begins with it, whatever failed here
	tableBuffers.Put(f.buf)
	f.buf = nil
	return err
}
