package faultfs

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/tests/lossyfs"
)

func open(t *testing.T) (*FS, vfs.File, string) {
	t.Helper()
	fs := New(lossyfs.New())
	name := filepath.Join(t.TempDir(), "store", "f")
	if err := fs.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	return fs, f, name
}

func set(t *testing.T, fs *FS, f Faults) {
	t.Helper()
	if err := fs.Set(f); err != nil {
		t.Fatal(err)
	}
}

// onDisk is the length of a file below the one that forgets.
func onDisk(t *testing.T, name string) int64 {
	t.Helper()
	st, err := vfs.Default.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}

// TestFailedSyncLosesWrites: a sync that failed has lost what was written, and the next one, which succeeds, does not
// bring it back.
func TestFailedSyncLosesWrites(t *testing.T) {
	fs, f, name := open(t)
	write := func() {
		t.Helper()
		if _, err := f.Write([]byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if err := f.Sync(); err != nil || onDisk(t, name) != 5 {
		t.Fatalf("a good disk: %v, %d bytes", err, onDisk(t, name))
	}
	set(t, fs, Faults{FailSync: true})
	write()
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Fatalf("sync of a bad disk: %v", err)
	}
	set(t, fs, Faults{})
	if err := f.Sync(); err != nil || onDisk(t, name) != 5 {
		t.Fatalf("the sync after a failed one: %v, %d bytes, want the 5 of before", err, onDisk(t, name))
	}
}

// TestFaults: each fault does what it says, on the paths it names only, and ends when it is taken back.
func TestFaults(t *testing.T) {
	fs, f, _ := open(t)
	set(t, fs, Faults{NoSpace: true, Path: "placement/"})
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatalf("write of another path: %v", err)
	}
	set(t, fs, Faults{NoSpace: true, Path: "store/"})
	if _, err := f.Write([]byte("x")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write to a full disk: %v", err)
	}
	set(t, fs, Faults{SyncDelay: 30 * time.Millisecond})
	begun := time.Now()
	if err := f.Sync(); err != nil || time.Since(begun) < 30*time.Millisecond {
		t.Fatalf("sync of a slow disk took %s: %v", time.Since(begun), err)
	}
	set(t, fs, Faults{Hang: true})
	done := make(chan error, 1)
	go func() { done <- f.Sync() }()
	select {
	case err := <-done:
		t.Fatalf("sync of a hung disk returned: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	set(t, fs, Faults{})
	if err := <-done; err != nil {
		t.Fatalf("sync after the disk came back: %v", err)
	}
}
