package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/version"
)

// FormatVersion is the version of everything that the engine writes. A directory of another version is refused.
const FormatVersion = 1

// Names in a store directory.
const (
	storeFile  = "STORE"
	storeTemp  = "STORE.tmp"
	lockFile   = "LOCK"
	dbDir      = "db"
	stagingDir = "staging"
	logDir     = "log"
)

// ErrInUse is returned by Open if another process, or another engine of this one, holds the directory.
var ErrInUse = fault.New(fault.DirInUse, "the directory is in use by another process; stop it, or name another directory (--data)")

// ErrNotStore is returned by Open for a directory that holds something else than a store.
var ErrNotStore = fault.New(fault.DirForeign, "the directory is not empty and holds no store")

// ErrFormat is returned by Open for a store that this program cannot read.
var ErrFormat = fault.New(fault.DirFormat, "the store has another format")

// openDir makes or checks the directory and locks it.
func (e *Engine) openDir(real bool) error {
	if err := makeDir(e.fs, e.dir); err != nil {
		return err
	}
	// Look before locking, so that a directory that is not ours is left as it is.
	fresh, err := e.lookDir()
	if err != nil {
		return err
	}
	if e.lock, err = lockDir(e.fs, e.path(lockFile), real); err != nil {
		return err
	}
	err = func() error {
		if fresh, err = e.lookDir(); err != nil { // another process may have made it meanwhile
			return err
		}
		if fresh {
			e.creating = true
			e.version.Store(uint64(version.Oldest)) // it is of no cluster yet
			if err := e.writeStoreFile(storeFileText(e.Version()) + creatingLine); err != nil {
				return err
			}
		} else if err := e.checkStoreFile(); err != nil {
			return err
		}
		if err := e.checkDiverged(); err != nil {
			return err
		}
		if e.creating {
			// A crash cut an earlier creation short. Pebble does not open what it may have left, and nothing is in it.
			for _, d := range []string{dbDir, logDir} {
				if err := e.fs.RemoveAll(e.path(d)); err != nil {
					return err
				}
			}
		}
		for _, d := range []string{dbDir, stagingDir} {
			if err := makeDir(e.fs, e.path(d)); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil {
		_ = e.lock.Close()
	}
	return err
}

// lookDir reports whether the directory is still to become a store.
func (e *Engine) lookDir() (fresh bool, err error) {
	names, err := e.fs.List(e.dir)
	if err != nil {
		return false, err
	}
	foreign := ""
	for _, n := range names {
		switch n {
		case storeFile:
			return false, nil
		case lockFile, storeTemp, "lost+found": // left by a crash while being made; the root of a filesystem
		default:
			foreign = n
		}
	}
	if foreign != "" {
		return false, fmt.Errorf("%w: it contains %q; name an empty directory", ErrNotStore, foreign)
	}
	return true, nil
}

// storeFileText says how a directory is to be read. A store of a cluster of the first version has no line for it, as
// programs wrote it that knew of no versions; any other line makes those refuse the directory.
func storeFileText(v version.Number) string {
	text := fmt.Sprintf("skerry store\nformat %d\nkeys %s\nschema %s\n", FormatVersion, comparerName, keySchemaName)
	if v > version.First {
		text += versionLine + v.String() + "\n"
	}
	return text
}

// versionLine begins the line with the version of the store's cluster.
const versionLine = "version "

// creatingLine ends the STORE file until the database was created and is durable.
const creatingLine = "creating\n"

// finishCreating removes the creatingLine.
func (e *Engine) finishCreating() error {
	if !e.creating {
		return nil
	}
	e.creating = false
	return e.writeStoreFile(storeFileText(e.Version()))
}

// writeStoreFile writes the file whose presence makes the directory a store. It comes before everything else, so that a
// directory without it holds nothing of ours.
func (e *Engine) writeStoreFile(text string) error {
	return e.writeFile(storeTemp, storeFile, text)
}

func (e *Engine) checkStoreFile() error {
	have, err := e.readFile(storeFile)
	if err != nil {
		return err
	}
	have, v := cutVersion(have)
	want := storeFileText(version.First)
	if e.creating = have == want+creatingLine; e.creating || have == want {
		e.version.Store(uint64(v))
		return checkVersion(v)
	}
	haveLines, wantLines := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i, w := range wantLines {
		if i >= len(haveLines) || haveLines[i] != w {
			h := "nothing"
			if i < len(haveLines) {
				h = fmt.Sprintf("%q", haveLines[i])
			}
			return fmt.Errorf("%w: its %s file says %s, this program needs %q; use the version that wrote it",
				ErrFormat, storeFile, h, w)
		}
	}
	return fmt.Errorf("%w: its %s file has %d lines", ErrFormat, storeFile, len(haveLines))
}

// cutVersion takes the version out of the text of a STORE file. What is no version stays, and is a line too many.
func cutVersion(text string) (string, version.Number) {
	before, rest, found := strings.Cut(text, "\n"+versionLine)
	number, after, ended := strings.Cut(rest, "\n")
	v, err := strconv.ParseUint(number, 10, 64)
	if !found || !ended || err != nil || version.Number(v) <= version.First {
		return text, version.First
	}
	return before + "\n" + after, version.Number(v)
}

// checkVersion refuses the directory of a cluster in which this program cannot take part.
func checkVersion(v version.Number) error {
	switch ours := version.Ours(); {
	case v > ours.Newest:
		return fault.Errorf(fault.ProgramOld, "its cluster has version %s and this program knows %s: what is written there may not be understood here; "+
			"start the newer program that was here before", v, ours)
	case v < ours.Oldest:
		return fault.Errorf(fault.ProgramNew, "its cluster has version %s and this program knows %s: start the program that was here before, "+
			"and upgrade by way of a release between the two (skerry ctl version finalize)", v, ours)
	}
	return nil
}

// Version is the version of the store's cluster, as far as the directory was told.
func (e *Engine) Version() version.Number {
	return max(version.First, version.Number(e.version.Load()))
}

// RaiseVersion writes down, durably, that the store's cluster has a version. It is never lowered.
//
// INVARIANT: it returns before anything is written here that only programs of that version understand. An older program
// that is started on the directory is refused by its STORE file, and has changed nothing.
func (e *Engine) RaiseVersion(v version.Number) error {
	v = max(v, version.First)
	if err := checkVersion(v); err != nil {
		return err
	}
	e.raising.Lock()
	defer e.raising.Unlock()
	if v <= e.Version() {
		return nil
	}
	if err := e.check(); err != nil {
		return err
	}
	if err := e.writeStoreFile(storeFileText(v)); err != nil {
		return e.fail(fmt.Errorf("write that the cluster has version %s: %w", v, err))
	}
	e.version.Store(uint64(v))
	return e.beginJournal()
}

// lockDir takes the lock that keeps a second process out. On the real filesystem it is etcd's, whose locks belong to
// the open file: they also exclude a second engine of this process, and no other close of the file drops them.
func lockDir(fs vfs.FS, path string, real bool) (io.Closer, error) {
	if real {
		l, err := fileutil.TryLockFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fileutil.ErrLocked) {
			return nil, ErrInUse
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return l, nil
	}
	l, err := fs.Lock(path)
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		return nil, ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

// makeDir makes a directory and what is missing above it, and syncs the entries that it made.
func makeDir(fs vfs.FS, dir string) error {
	var made []string
	for d := dir; ; {
		if _, err := fs.Stat(d); err == nil {
			break
		}
		made = append(made, d)
		up := fs.PathDir(d)
		if up == d {
			break
		}
		d = up
	}
	if len(made) == 0 {
		return nil
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, d := range made {
		if err := syncDir(fs, fs.PathDir(d)); err != nil {
			return err
		}
	}
	return nil
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if err2 := d.Close(); err == nil {
		err = err2
	}
	return err
}
