package engine

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
)

// tableBytesPerSync is how much of a table is written before the disk is asked to take it.
const tableBytesPerSync = 512 << 10

// tableSet writes sorted pairs into tables of a directory. Two of them are written at once: the one that begins, and the one before it,
// which is behind or on its way to the disk.
type tableSet struct {
	e   *Engine
	dir string
	// prefix begins the names of the files. whole: there is one table, however large.
	prefix string
	whole  bool
	paths  []string
	open   *table // nil between tables
	before *table // nil: it was finished
}

func (t *tableSet) empty() bool { return len(t.paths) == 0 }

// waiting is how many bytes wait to be written.
func (t *tableSet) waiting() int64 { return t.open.waiting() + t.before.waiting() }

// begin opens another table.
func (t *tableSet) begin() error {
	if _, err := t.e.fs.Stat(t.dir); err != nil {
		if err := makeDir(t.e.fs, t.dir); err != nil {
			return err
		}
	}
	path := t.e.fs.PathJoin(t.dir, fmt.Sprintf("%s%06d.sst", t.prefix, len(t.paths)))
	f, err := t.e.fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	// What is written goes to the disk meanwhile, as with Pebble's own tables: else the sync at the end waits for all of it.
	f = vfs.NewSyncingFile(f, vfs.SyncingFileOptions{NoSyncOnClose: true, BytesPerSync: tableBytesPerSync})
	t.paths = append(t.paths, path)
	t.open = t.e.newTable(f)
	return nil
}

func (t *tableSet) set(k, v []byte) error {
	if t.open != nil && t.open.bytes >= t.e.tableBytes && !t.whole {
		if err := t.end(); err != nil {
			return err
		}
	}
	if t.open == nil {
		if err := t.begin(); err != nil {
			return err
		}
	}
	return t.open.set(k, v)
}

// deleteRange writes a range tombstone. In an ingested table it deletes what was there before, not what is ingested with
// it: all of an ingest has one place in the order of writes.
func (t *tableSet) deleteRange(s keys.Span) error {
	if t.open == nil {
		if err := t.begin(); err != nil {
			return err
		}
	}
	t.open.spans = append(t.open.spans, s)
	return nil
}

// end has the open table completed and synced beside what follows, once the one before it is.
func (t *tableSet) end() error {
	err := t.before.finish()
	t.open.end()
	t.before, t.open = t.open, nil
	return err
}

// finish completes and syncs the open table, after the one before it.
func (t *tableSet) finish() error {
	if t.open != nil {
		t.open.end()
	}
	err := errors.Join(t.before.finish(), t.open.finish())
	t.before, t.open = nil, nil
	return err
}

func (t *tableSet) discard() {
	t.before.drop()
	t.open.drop()
	_ = t.finish()
	if !t.empty() {
		_ = t.e.fs.RemoveAll(t.dir) // a start removes what stays
		t.paths = nil
	}
}
