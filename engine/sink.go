package engine

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// smallSnapshotBytes is, if Options.BulkBytes says nothing else, up to where a snapshot is kept in memory and installed as one batch: an ingest costs tables, a
// sync of the manifest and perhaps a flush, which is much for a shard of a few keys.
const smallSnapshotBytes = 128 << 10

// snapshotTableBytes is where a received snapshot is split into tables, so that a compaction can take it up in parts. In simulated
// worlds, where nothing may run beside what is simulated, no snapshot is as large.
const snapshotTableBytes = 64 << 20

// tableBytesPerSync is how much of a table is written before the disk is asked to take it.
const tableBytesPerSync = 512 << 10

// SnapshotSink receives a snapshot into files outside the database, which become part of it at Install. A failed write
// of a sink does not stop the store: nothing depends on a snapshot before it is installed, and the sender sends another.
type SnapshotSink struct {
	e    *Engine
	id   shard.ID
	dir  string   // of the files; made when the first is
	rows []row    // of a snapshot that is still small
	mem  []byte   // what rows point into
	sst  tableSet // of one that is not
	// locks is one table, which takes the place of all locks that were there before.
	locks tableSet

	next        uint64 // number of the chunk to come
	bytes       int64  // of keys and values
	first, last []byte // physical keys of the data; nil while empty
	// firstLock and lastLock are the same of the locks, which follow the data.
	firstLock, lastLock []byte
	complete            bool // the last chunk was written
	finished            bool
	err                 error // of the first failure; returned by everything after it
}

// row is a pair in mem: the physical key mem[key:val], the value mem[val:end].
type row struct{ key, val, end int }

// NewSnapshotSink makes a sink for a snapshot of a shard. name tells its files from those of other snapshots of the
// shard, for example by index and term. The caller ends it with Install or Discard.
func (e *Engine) NewSnapshotSink(id shard.ID, name string) (*SnapshotSink, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	if name == "" || strings.ContainsAny(name, `/\`) {
		return nil, fmt.Errorf("engine: receive snapshot of %s: %q cannot be the name of a file", id, name)
	}
	dir := e.path(stagingDir, id.String()+"-"+name)
	if _, err := e.fs.Stat(dir); err == nil {
		return nil, fmt.Errorf("engine: receive snapshot of %s: %q is being received already", id, name)
	}
	s := &SnapshotSink{e: e, id: id, dir: dir}
	s.sst = tableSet{e: e, dir: dir}
	s.locks = tableSet{e: e, dir: dir, prefix: "locks-", whole: true}
	e.began(s)
	return s, nil
}

// fail keeps the first error of the sink.
func (s *SnapshotSink) fail(err error) error {
	if s.err == nil {
		s.err = fmt.Errorf("engine: receive snapshot of %s: %w", s.id, err)
	}
	return s.err
}

// Write checks a chunk and takes it in. Nothing of it is kept.
func (s *SnapshotSink) Write(chunk []byte) error {
	if err := s.e.check(); err != nil || s.err != nil {
		return errors.Join(err, s.err)
	}
	c, err := readChunk(chunk)
	if err != nil {
		return s.fail(err)
	}
	if c.number != s.next || s.complete {
		return s.fail(fmt.Errorf("chunk %d came instead of %d, last one seen: %t", c.number, s.next, s.complete))
	}
	for {
		k, v, ok, err := c.next()
		if err != nil {
			return s.fail(err)
		}
		if !ok {
			break
		}
		if err := s.add(k, v); err != nil {
			return s.fail(err)
		}
	}
	s.next++
	s.complete = c.last
	return nil
}

// add takes in one pair.
func (s *SnapshotSink) add(k, v []byte) error {
	lock, err := s.note(k)
	if err != nil {
		return err
	}
	s.bytes += int64(len(k) + len(v))
	if s.small() && s.bytes <= s.e.ingestBytes {
		r := row{key: len(s.mem)}
		s.mem = append(s.mem, k...)
		r.val = len(s.mem)
		s.mem = append(s.mem, v...)
		r.end = len(s.mem)
		s.rows = append(s.rows, r)
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	if lock {
		return s.locks.set(k, v)
	}
	return s.sst.set(k, v)
}

// note checks that k follows what came before it, and tells whether it is a lock's.
func (s *SnapshotSink) note(k []byte) (lock bool, err error) {
	first, last := &s.first, &s.last
	switch keys.Kind(k[0]) {
	case keys.KindData:
	case keys.KindLock:
		first, last, lock = &s.firstLock, &s.lastLock, true
	default:
		return false, fmt.Errorf("%w: key %s is neither of data nor of a lock", ErrCorruption, keys.Format(k))
	}
	if before := s.newest(); before != nil && keys.Compare(before, k) >= 0 {
		return false, fmt.Errorf("%w: key %s came after %s", ErrCorruption, keys.Format(k), keys.Format(before))
	}
	if *first == nil {
		*first = bytes.Clone(k)
	}
	*last = append((*last)[:0], k...)
	return lock, nil
}

// newest is the last key that came.
func (s *SnapshotSink) newest() []byte {
	if s.lastLock != nil {
		return s.lastLock
	}
	return s.last
}

// small: everything is still in memory.
func (s *SnapshotSink) small() bool { return s.sst.empty() && s.locks.empty() }

// spill moves the rows in memory to the first tables.
func (s *SnapshotSink) spill() error {
	for _, r := range s.rows {
		t := &s.sst
		if keys.Kind(s.mem[r.key]) == keys.KindLock {
			t = &s.locks
		}
		if err := t.set(s.mem[r.key:r.val], s.mem[r.val:r.end]); err != nil {
			return err
		}
	}
	s.rows, s.mem = nil, nil
	return nil
}

// Finish closes and syncs the files. All chunks must have been written.
func (s *SnapshotSink) Finish() error {
	if err := s.e.check(); err != nil || s.err != nil {
		return errors.Join(err, s.err)
	}
	if s.finished {
		return nil
	}
	if !s.complete {
		return s.fail(fmt.Errorf("it ends after chunk %d, which is not the last", int64(s.next)-1))
	}
	if err := s.sst.finish(); err != nil {
		return s.fail(err)
	}
	s.finished = true
	return nil
}

// Bytes is the size of the keys and values received.
func (s *SnapshotSink) Bytes() int64 { return s.bytes }

// Discard removes what was received. It may be called at any time, also after Install, and more than once.
func (s *SnapshotSink) Discard() {
	s.e.ended(s)
	_ = s.fail(errors.New("discarded"))
	s.rows, s.mem = nil, nil
	s.sst.discard()
	s.locks.discard()
}

// clearStaging removes what snapshots left behind that were being received when the store stopped.
func (e *Engine) clearStaging() error {
	names, err := e.fs.List(e.path(stagingDir))
	if err != nil {
		return fmt.Errorf("engine: list staged snapshots: %w", err)
	}
	for _, n := range names {
		if err := e.fs.RemoveAll(e.path(stagingDir, n)); err != nil {
			return fmt.Errorf("engine: remove staged snapshot: %w", err)
		}
	}
	return nil
}

// tableSet writes sorted pairs into tables of a directory.
type tableSet struct {
	e   *Engine
	dir string
	// prefix begins the names of the files. whole: there is one table, however large.
	prefix string
	whole  bool
	paths  []string
	w      *sstable.Writer // nil between tables
	bytes  int
	// ending tells how the table before w ended, which goes to the disk while w is written; nil: it has.
	ending chan error
}

func (t *tableSet) empty() bool { return len(t.paths) == 0 }

// open begins another table.
func (t *tableSet) open() error {
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
	t.w = sstable.NewWriter(objstorageprovider.NewFileWritable(writeBehind(f)), t.e.opts.MakeWriterOptions(0, t.e.db.TableFormat()))
	t.bytes = 0
	return nil
}

func (t *tableSet) set(k, v []byte) error {
	if t.w != nil && t.bytes >= t.e.tableBytes && !t.whole {
		if err := t.end(); err != nil {
			return err
		}
	}
	if t.w == nil {
		if err := t.open(); err != nil {
			return err
		}
	}
	t.bytes += len(k) + len(v)
	return t.w.Set(k, v)
}

// deleteRange writes a range tombstone. In an ingested table it deletes what was there before, not what is ingested with
// it: all of an ingest has one place in the order of writes.
func (t *tableSet) deleteRange(s keys.Span) error {
	if t.w == nil {
		if err := t.open(); err != nil {
			return err
		}
	}
	return t.w.DeleteRange(s.Start, s.End)
}

// end has the open table completed and synced beside what follows.
func (t *tableSet) end() error {
	if err := t.settle(); err != nil {
		return err
	}
	w := t.w
	t.w, t.ending = nil, make(chan error, 1)
	go func(ended chan<- error) { ended <- w.Close() }(t.ending)
	return nil
}

// settle waits for the table that end left behind.
func (t *tableSet) settle() error {
	if t.ending == nil {
		return nil
	}
	err := <-t.ending
	t.ending = nil
	return err
}

// finish completes and syncs the open table, after those before it.
func (t *tableSet) finish() error {
	err := t.settle()
	if t.w == nil {
		return err
	}
	w := t.w
	t.w = nil
	return errors.Join(err, w.Close())
}

func (t *tableSet) discard() {
	_ = t.finish()
	if !t.empty() {
		_ = t.e.fs.RemoveAll(t.dir) // a start removes what stays
		t.paths = nil
	}
}
