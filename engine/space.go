package engine

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// boundlessBytes is what a filesystem without a size, as one in memory, is said to hold.
const boundlessBytes = 1 << 40

// Free is how many bytes the store may still take, and how many in all; ok is false if the filesystem cannot tell, as one
// in memory cannot, or the engine has stopped. Without Options.CapacityBytes it asks nothing but the filesystem.
func (e *Engine) Free() (free, total uint64, ok bool) {
	u, err := e.fs.GetDiskUsage(e.dir)
	if err != nil || u.TotalBytes == 0 {
		return 0, 0, false
	}
	if e.capacity == 0 {
		return u.AvailBytes, u.TotalBytes, true
	}
	if e.check() != nil {
		return 0, 0, false
	}
	free, total = within(e.capacity, e.diskBytes(), u)
	return free, total, true
}

// DiskUsage returns how many bytes the store's files take, how many it may still take, and how many in all: of its
// filesystem, or of the part of it that Options.CapacityBytes gives it.
func (e *Engine) DiskUsage() (used, free, total uint64, err error) {
	if err := e.check(); err != nil {
		return 0, 0, 0, err
	}
	used = e.diskBytes()
	u, err := e.fs.GetDiskUsage(e.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		u, err = vfs.DiskUsage{AvailBytes: boundlessBytes - min(used, boundlessBytes), TotalBytes: boundlessBytes}, nil
	}
	if err != nil {
		return 0, 0, 0, fmt.Errorf("engine: disk usage of %s: %w", e.dir, err)
	}
	free, total = within(e.capacity, used, u)
	return used, free, total, nil
}

// diskBytes is how many bytes the files of database and raft log take.
func (e *Engine) diskBytes() uint64 {
	n := e.db.Metrics().DiskSpaceUsage()
	if j := e.journal(); j != nil {
		files, _ := j.Bytes()
		n += uint64(files)
	}
	return n
}

// within is what is free, and how much there is in all, for a store that may take no more than capacity bytes of a disk;
// zero: all of it. Other files may have left it less than its capacity.
func within(capacity, used uint64, u vfs.DiskUsage) (free, total uint64) {
	if capacity == 0 {
		return u.AvailBytes, u.TotalBytes
	}
	total = min(capacity, u.TotalBytes)
	return min(u.AvailBytes, total-min(total, used)), total
}
