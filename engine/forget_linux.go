package engine

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// forgetPages has the system drop what it remembers of a part of a file, so that a read of it comes from the disk: a bit
// that flips there is not seen in a copy in memory. Pages at the ends are dropped whole. It is advice, and a filesystem
// that is not the system's has no use for it.
func forgetPages(f vfs.File, off, n int64) {
	fd := f.Fd()
	if fd == vfs.InvalidFd {
		return
	}
	page := int64(os.Getpagesize())
	begin := off / page * page
	_ = unix.Fadvise(int(fd), begin, off+n-begin+page, unix.FADV_DONTNEED)
}
