package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// Inspector looks at a store that is stopped, and changes nothing in it. It is for people who want to know what is there,
// or what is damaged. For one goroutine at a time.
type Inspector struct{ e *Engine }

// Inspect opens the store in dir for an Inspector. fs nil is the real filesystem. A directory that a process uses is
// refused with ErrInUse.
func Inspect(dir string, fs vfs.FS) (*Inspector, error) {
	e, err := inspected(dir, fs)
	if err == nil {
		if err = e.openToRead(); err != nil {
			_ = e.lock.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("look at the store in %s: %w", dir, err)
	}
	return &Inspector{e}, nil
}

// inspected locks a store's directory and checks what it is.
func inspected(dir string, fs vfs.FS) (*Engine, error) {
	e := &Engine{dir: dir, fs: fs, log: slog.New(slog.DiscardHandler)}
	e.tails.limit = defaultTailBytes
	real := fs == nil
	if real {
		e.fs = vfs.Default
	}
	fresh, err := e.lookDir()
	switch {
	case err != nil:
		return nil, err
	case fresh:
		return nil, fmt.Errorf("%w: it is empty", ErrNotStore)
	}
	if e.lock, err = lockToRead(e.fs, e.path(lockFile), real); err != nil {
		return nil, err
	}
	if err = e.checkStoreFile(); err == nil && e.creating {
		err = errors.New("a crash cut its creation short: there is nothing in it")
	}
	if err != nil {
		_ = e.lock.Close()
		return nil, err
	}
	return e, nil
}

// lockToRead is lockDir without making the file.
func lockToRead(fs vfs.FS, path string, real bool) (io.Closer, error) {
	if !real {
		return lockDir(fs, path, false)
	}
	l, err := fileutil.TryLockFile(path, os.O_RDWR, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, ErrInUse
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

func (e *Engine) openToRead() error {
	o := e.pebbleOptions(Options{}, false)
	o.ReadOnly = true
	o.Cache = pebble.NewCache(defaultCacheBytes)
	defer o.Cache.Unref()
	db, err := pebble.Open(e.path(dbDir), o)
	if err != nil {
		return err
	}
	e.db = db
	if err = e.check(); err == nil {
		err = e.openJournalToRead()
	}
	if err != nil {
		_ = db.Close()
	}
	return err
}

// Close gives the directory free.
func (i *Inspector) Close() error {
	err := errors.Join(i.e.db.Close(), i.e.closeJournal())
	return errors.Join(err, i.e.lock.Close())
}

// Ident is whose store it is; false if it has no identity yet.
func (i *Inspector) Ident() (Ident, bool, error) { return i.e.Ident() }

// Replicas are the replicas of the store as a start would find them, by shard.
func (i *Inspector) Replicas() ([]ReplicaState, error) {
	all, err := i.e.findStates()
	if err == nil {
		err = i.e.adoptLogs(all)
	}
	if err != nil {
		return nil, err
	}
	var out []ReplicaState
	for _, f := range all {
		if f.hard == nil && f.desc == nil && f.applied == nil {
			continue
		}
		rs, err := i.e.recoverReplica(f)
		if err != nil {
			return out, err
		}
		out = append(out, rs)
	}
	return out, checkOverlaps(all)
}

// Entry is one entry of a raft log, as it lies on disk. Data alias a buffer that the next one overwrites.
type Entry struct {
	Shard               shard.ID
	Index, Term, Commit uint64
	Type                pb.EntryType
	Data                []byte
}

// Log calls f with the entries of a shard's log from lo to hi, until f returns false. Those that were truncated may still
// be there.
func (i *Inspector) Log(id shard.ID, lo, hi uint64, f func(*Entry) bool) error {
	return i.e.eachEntry(id, lo, hi, f)
}

func (e *Engine) eachEntry(id shard.ID, lo, hi uint64, f func(*Entry) bool) error {
	return e.eachLogged(id, lo, hi, func(index uint64, h logHeader, data []byte) (bool, error) {
		return f(&Entry{Shard: id, Index: index, Term: h.term, Commit: h.commit, Type: h.typ, Data: data}), nil
	})
}

// each calls f with what lies in a span, until it returns false or an error.
func (e *Engine) each(span keys.Span, f func(k, v []byte) (bool, error)) error {
	it, err := e.iter(span)
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			break // it.Error says it
		}
		more, err := f(it.Key(), v)
		if err != nil || !more {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return e.readFailed("read", err)
	}
	return nil
}

// Keys calls f with the keys of a range in order, until f returns false.
func (i *Inspector) Keys(rg shard.Range, f func(k shard.Key, v []byte) bool) error {
	r := i.e.NewReader()
	defer func() { _ = r.Close() }()
	return r.Scan(rg, false, f)
}

// Checked is what CheckStore looked at.
type Checked struct {
	Sealed   bool // it was closed in order, and its files are what they were then
	Tables   int
	Replicas int
	Entries  int
	Keys     int
}

// CheckStore reads everything that lies in the directory of a stopped store, and returns what is damaged, each with what was
// being read. Nothing is changed. After a crash there is no seal: then a damaged end of the write-ahead log or the manifest
// cannot be told from what the crash left.
func CheckStore(dir string, fs vfs.FS) (Checked, []error) {
	var c Checked
	e, err := inspected(dir, fs)
	if err != nil {
		return c, []error{fmt.Errorf("look at the store in %s: %w", dir, err)}
	}
	defer func() { _ = e.lock.Close() }()
	var bad []error
	if err := e.checkDiverged(); err != nil {
		bad = append(bad, err)
	}
	if c.Sealed, err = e.checkSeal(); err != nil {
		c.Sealed, bad = false, append(bad, err)
	}
	bad = append(bad, e.checkTables(&c)...)
	if err := e.openToRead(); err != nil {
		return c, append(bad, fmt.Errorf("open the database in %s: %w", dir, asCorruption(err)))
	}
	defer func() { _ = errors.Join(e.db.Close(), e.closeJournal()) }()
	for _, step := range []struct {
		what string
		f    func(*Checked) error
	}{{"records", e.checkRecords}, {"replicas", e.checkReplicas}, {"data", e.checkData}} {
		if err := step.f(&c); err != nil {
			bad = append(bad, fmt.Errorf("%s: %w", step.what, err))
			break // the engine has stopped
		}
	}
	return c, bad
}

func asCorruption(err error) error {
	if pebble.IsCorruptionError(err) && !errors.Is(err, ErrCorruption) {
		return fmt.Errorf("%w: %w", ErrCorruption, err)
	}
	return err
}

// checkTables reads every block of every table.
func (e *Engine) checkTables(c *Checked) (bad []error) {
	names, err := e.fs.List(e.path(dbDir))
	if err != nil {
		return []error{err}
	}
	slices.Sort(names)
	check := e.newTableCheck(context.Background(), func(context.Context, int) error { return nil })
	for _, n := range names {
		if !strings.HasSuffix(n, tableSuffix) {
			continue
		}
		c.Tables++
		if err := check.check(e.path(dbDir, n), tableNum(n)); err != nil {
			bad = append(bad, fmt.Errorf("%w: table %s: %w", ErrCorruption, e.path(dbDir, n), err))
		}
	}
	return bad
}

func (e *Engine) checkRecords(*Checked) error {
	return e.each(keys.RecordSpan(), func(k, v []byte) (bool, error) {
		_, err := decodeRecord(k, v)
		return true, err
	})
}

// checkReplicas checks the states, and that each log is whole from behind its base to its end.
func (e *Engine) checkReplicas(c *Checked) error {
	replicas, err := (&Inspector{e}).Replicas()
	if err != nil {
		return err
	}
	c.Replicas = len(replicas)
	for _, rs := range replicas {
		next := rs.truncated().index + 1
		err := e.eachEntry(rs.Shard, 0, math.MaxUint64, func(n *Entry) bool {
			if n.Index < next {
				return true // truncated, and not yet deleted
			}
			if n.Index != next {
				return false
			}
			c.Entries++
			next++
			return true
		})
		if err != nil {
			return err
		}
		if next != rs.LastIndex+1 && rs.LastIndex >= rs.truncated().index {
			return corrupt(keys.Log(rs.Shard, next), "log entry is missing, the last one is %d", rs.LastIndex)
		}
	}
	return nil
}

// checkData reads every key, and counts those that belong to a replica.
func (e *Engine) checkData(c *Checked) error {
	for _, span := range []keys.Span{keys.AllData(), {Start: []byte{byte(keys.KindLock)}, End: []byte{byte(keys.KindLock) + 1}}} {
		err := e.each(span, func(_, _ []byte) (bool, error) {
			c.Keys++
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
