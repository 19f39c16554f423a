package engine

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/version"
)

// TestVersionIsWrittenDown: a store knows the version of its cluster from its directory alone, never a lower one, and a
// program that does not know it is refused and changes nothing.
func TestVersionIsWrittenDown(t *testing.T) {
	dir := t.TempDir()
	open := func() *Engine {
		t.Helper()
		e, err := Open(dir, Options{MemTableBytes: 1 << 20})
		must(t, err)
		return e
	}
	path := filepath.Join(dir, storeFile)
	text := func() string {
		t.Helper()
		b, err := os.ReadFile(path)
		must(t, err)
		return string(b)
	}
	e := open()
	if v := e.Version(); v != version.First || strings.Contains(text(), versionLine) {
		t.Fatalf("a new directory is of version %s: %q", v, text())
	}
	must(t, e.RaiseVersion(version.Newest()))
	must(t, e.RaiseVersion(version.First))
	if err := e.RaiseVersion(version.Newest() + 1); fault.Of(err) != fault.ProgramOld {
		t.Fatalf("a version that is not known here: %v", err)
	}
	if v := e.Version(); v != version.Newest() {
		t.Fatalf("it goes by version %s", v)
	}
	mustClose(t, e)
	e = open()
	if v := e.Version(); v != version.Newest() {
		t.Fatalf("opened again, it goes by version %s", v)
	}
	mustClose(t, e)

	good := text()
	next := strings.Replace(good, versionLine+version.Newest().String(), versionLine+(version.Newest()+1).String(), 1)
	must(t, os.WriteFile(path, []byte(next), 0o600))
	if _, err := Open(dir, Options{}); fault.Of(err) != fault.ProgramOld {
		t.Fatalf("the directory of a newer version: %v", err)
	}
	if _, err := Inspect(dir, nil); fault.Of(err) != fault.ProgramOld {
		t.Fatalf("a look at the directory of a newer version: %v", err)
	}
	if text() != next {
		t.Fatal("it was changed")
	}
	for _, bad := range []string{"version 0\n", "version 1\n", "version x\n", "version 2", "version 2\nversion 2\n"} {
		must(t, os.WriteFile(path, []byte(storeFileText(version.First)+bad), 0o600))
		if _, err := Open(dir, Options{}); fault.Of(err) != fault.DirFormat {
			t.Errorf("%q: %v", bad, err)
		}
	}
	must(t, os.WriteFile(path, []byte(good), 0o600))
	mustClose(t, open())
}

// TestVersionIsDurableFirst: a version that could not be written down does not hold, and the store stops.
func TestVersionIsDurableFirst(t *testing.T) {
	for _, op := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileSync, errorfs.OpRename} {
		var failing atomic.Bool
		mem := vfs.NewMem()
		fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(o errorfs.Op) error {
			if failing.Load() && o.Kind == op && strings.Contains(o.Path, storeTemp) {
				return errors.New("no")
			}
			return nil
		}))
		e, err := Open("d", Options{FS: fs, MemTableBytes: 1 << 20})
		must(t, err)
		failing.Store(true)
		if err := e.RaiseVersion(version.Newest()); err == nil || e.Version() != version.First {
			t.Fatalf("%d: version %s although it was not written: %v", op, e.Version(), err)
		}
		if err := e.SetRecord("x", nil); err == nil {
			t.Fatalf("%d: the store goes on", op)
		}
		failing.Store(false)
		_ = e.Close()
		e, err = Open("d", Options{FS: mem, MemTableBytes: 1 << 20})
		must(t, err)
		must(t, e.RaiseVersion(version.Newest()))
		mustClose(t, e)
	}
}
