package e2e

import (
	"os"

	"golang.org/x/sys/unix"
)

// forgetFile has the system drop what it remembers of a file, so that the next read of it comes from the disk.
func forgetFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}
