package simfs

import (
	"path"
	"strings"
)

// faults are what is wrong with a disk. They depend on files and offsets, never on how often something is called.
type faults struct {
	failWrite func(name string) bool // nil: none fails
	failSync  func(name string) bool
	// ever is set once there was a fault: a store that stopped may not have written the end of its log, so the batches
	// that are not durable are lost, all of them.
	ever bool
}

// SetFull makes every write fail with ENOSPC, or work again. Pebble may find that at any moment, on any of its
// goroutines: to let the store stop at a moment that replays, call Engine.SyncWAL right after it.
func (f *FS) SetFull(full bool) {
	if !full {
		f.FailWrites(nil)
		return
	}
	f.FailWrites(func(string) bool { return true })
}

// FailWrites makes writes to the files whose paths match fail with ENOSPC; nil ends it. See SetFull for when it is found.
func (f *FS) FailWrites(match func(name string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.failWrite = match
	f.faults.ever = f.faults.ever || match != nil
}

// IsLog matches the write-ahead logs of a database.
func IsLog(name string) bool { k, _ := classify(path.Base(name)); return k == walLog }

// IsRaftLog matches the segments of the raft log.
func IsRaftLog(name string) bool { k, _ := classify(path.Base(name)); return k == raftLog }

// IsManifest matches the manifests of a database.
func IsManifest(name string) bool { k, _ := classify(path.Base(name)); return k == manifest }

// faultError is the error of a fault that was ordered. It leaves out the number of the file, which depends on how many
// flushes and compactions there were.
func faultError(op, name string, err error) error {
	dir, base := path.Split(name)
	numberless := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return 'N'
		}
		return r
	}, base)
	return pathError(op, dir+numberless, err)
}

// FailSyncs makes syncs of the files and directories whose paths match fail with EIO, and leaves them undone; nil ends
// it. See SetFull for when it is found.
func (f *FS) FailSyncs(match func(name string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults.failSync = match
	f.faults.ever = f.faults.ever || match != nil
}

// CorruptLog flips a bit of a record of the newest write-ahead log, chosen by h, but not of the last keep ones. It
// reports whether there is such a record.
func (f *FS) CorruptLog(h uint64, keep int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wal == nil {
		return false
	}
	l := scanLog(f.wal)
	n := len(l.batches) - keep
	if n <= 0 {
		return false
	}
	i, start := mix(h)%uint64(n), int64(0)
	if i > 0 {
		start = l.batches[i-1].end
	}
	// The last byte of a record is its own; what lies before its first may be the rest of a block.
	f.flip(f.wal, l.batches[i].end-1-int64(mix(h, 1)%uint64(min(l.batches[i].end-start, batchHeader))))
	return true
}

// Corrupt flips a bit of the byte at an offset of a file, for ever. It reports whether the file has such a byte. When it
// is found depends on caches and compactions; after a restart all data are in tables, and no block is in a cache.
func (f *FS) Corrupt(name string, off int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.lookup("corrupt", name)
	if err != nil || n.dir || off < 0 || off >= n.data.size {
		return false
	}
	f.flip(n, off)
	return true
}

func (f *FS) flip(n *node, off int64) {
	f.faults.ever = true
	var b [1]byte
	_, _ = n.data.readAt(b[:], off)
	b[0] ^= 1 << (mix(uint64(off)) % 8)
	n.data.overwrite(b[:], off)
	n.scannedBytes = -1
}

// Tables are the paths of all tables below a directory, in their order.
func (f *FS) Tables(dir string) []string {
	names, _ := f.List(dir)
	var out []string
	for _, name := range names {
		p := f.PathJoin(dir, name)
		if strings.HasSuffix(name, ".sst") {
			out = append(out, p)
		}
		if st, err := f.Stat(p); err == nil && st.IsDir() {
			out = append(out, f.Tables(p)...)
		}
	}
	return out
}

// tableFooter is a little more than what ends a table and holds no block.
const tableFooter = 64

// PickBlock chooses a byte of a block of a table below a directory by h; ok is false if there is no table. Which tables
// there are depends on timing.
func (f *FS) PickBlock(dir string, h uint64) (name string, off int64, ok bool) {
	tables := f.Tables(dir)
	if len(tables) == 0 {
		return "", 0, false
	}
	name = tables[mix(h)%uint64(len(tables))]
	st, err := f.Stat(name)
	if err != nil || st.Size() <= tableFooter {
		return "", 0, false
	}
	return name, int64(mix(h, 1) % uint64(st.Size()-tableFooter)), true
}

// CorruptTables flips a bit in every block-sized piece of every table below a directory, so that whatever is read first
// from a table finds it: the moment replays if the store has been restarted since. It returns how many tables there
// are.
func (f *FS) CorruptTables(dir string) int {
	const piece = 4 << 10
	tables := f.Tables(dir)
	for _, name := range tables {
		for off := int64(0); f.Corrupt(name, off); off += piece {
		}
	}
	return len(tables)
}
