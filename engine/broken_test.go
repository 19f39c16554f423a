package engine

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// brokenStore is a store whose files fail from a moment on.
type brokenStore struct {
	e      *Engine
	l      *Log
	fail   atomic.Bool
	calls  atomic.Int64 // of OnBroken
	reason atomic.Value
	failed atomic.Int64 // operations that failed
}

func openBroken(t *testing.T, hit func(op errorfs.Op) bool) *brokenStore {
	s := &brokenStore{}
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if s.fail.Load() && hit(op) {
			s.failed.Add(1)
			return fmt.Errorf("disk says no: %w", errorfs.ErrInjected)
		}
		return nil
	}))
	e, err := Open(testDir, Options{FS: fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20, OnBroken: func(err error) {
		s.calls.Add(1)
		s.reason.Store(err)
	}})
	must(t, err)
	s.e = e
	s.l = create(t, e, newState(desc(1001, rng("a", "m"), 11), 11))
	return s
}

func (s *brokenStore) appendOne() error {
	last, _ := s.l.LastIndex()
	b := s.e.NewLogBatch()
	b.Append(s.l, entries(last+1, last+1, 5), nil, last)
	if err := b.Commit(); err != nil {
		return err
	}
	return b.Wait()
}

// checkStopped: the reason was reported once, and everything returns it.
func (s *brokenStore) checkStopped(t *testing.T, want string) {
	t.Helper()
	for range 500 {
		if s.calls.Load() > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	reason, _ := s.reason.Load().(error)
	if s.calls.Load() != 1 || reason == nil || !strings.Contains(reason.Error(), want) {
		t.Fatalf("OnBroken called %d times, with %v", s.calls.Load(), reason)
	}
	b := s.e.NewStateBatch()
	defer b.Close()
	b.Set(rk("b"), nil)
	_, _, getErr := s.e.Get(rk("a"))
	_, _, readErr := s.e.NewReader().Get(rk("a"))
	_, sinkErr := s.e.NewSnapshotSink(1, "x")
	_, replicasErr := s.e.Replicas()
	d := rng("a", "b")
	for i, err := range []error{s.appendOne(), b.Commit(true), b.Commit(false), s.e.SyncWAL(), s.e.SetRecord("x", nil), getErr,
		readErr, sinkErr, replicasErr, s.e.FinishDestroy(1002, d), s.e.check()} {
		if !errors.Is(err, reason) {
			t.Errorf("call %d after the stop: %v", i, err)
		}
	}
	if m := s.e.Metrics(); m != (Metrics{}) {
		t.Error("a stopped store has metrics")
	}
	_ = s.e.Close()
}

func isWAL(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") }

// TestFailedWrites: whichever write or sync fails, the store stops with that reason, and does not try again.
func TestFailedWrites(t *testing.T) {
	flush := func(_ *testing.T, s *brokenStore) error {
		_, err := s.e.db.AsyncFlush()
		return errors.Join(err, errors.New("in the background"))
	}
	for _, c := range []struct {
		name string
		hit  func(op errorfs.Op) bool
		do   func(t *testing.T, s *brokenStore) error
		want string
	}{
		{"sync of the log", func(op errorfs.Op) bool {
			return isWAL(op) && slices.Contains([]errorfs.OpKind{errorfs.OpFileSync, errorfs.OpFileSyncData}, op.Kind)
		},
			func(_ *testing.T, s *brokenStore) error { return s.appendOne() }, "sync raft logs"},
		{"write of the log", func(op errorfs.Op) bool { return isWAL(op) && op.Kind == errorfs.OpFileWrite },
			func(_ *testing.T, s *brokenStore) error { return s.appendOne() }, "sync raft logs"},
		{"synced state", isWAL, func(_ *testing.T, s *brokenStore) error {
			b := s.e.NewStateBatch()
			defer b.Close()
			b.Set(rk("a"), nil)
			return b.Commit(true)
		}, "disk says no"},
		{"sync on demand", isWAL, func(_ *testing.T, s *brokenStore) error { return s.e.SyncWAL() }, "disk says no"},
		{"record", isWAL, func(_ *testing.T, s *brokenStore) error { return s.e.SetRecord("x", nil) }, "disk says no"},
		{"flush", func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpCreate },
			flush, "flush or compact"},
		{"write of a table", func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".sst") && op.Kind == errorfs.OpFileWrite },
			flush, "flush or compact"},
		{"flush at rest", func(op errorfs.Op) bool { return isWAL(op) && op.Kind == errorfs.OpCreate },
			func(_ *testing.T, s *brokenStore) error {
				b := s.e.NewStateBatch()
				defer b.Close()
				b.Set(rk("a"), make([]byte, 128<<10))
				b.SetApplied(1001, shard.Applied{Index: 11, Term: 5})
				return errors.Join(b.Commit(false), s.e.Rest(), s.e.Rest())
			}, "flush"},
		{"manifest", func(op errorfs.Op) bool { return strings.Contains(op.Path, "MANIFEST") && op.Kind != errorfs.OpRemove },
			func(t *testing.T, s *brokenStore) error {
				d := desc(1002, rng("m", "z"), 12)
				must(t, s.e.db.Flush())
				s.fail.Store(false)
				sink := large(t, s.e, d, "s")
				s.fail.Store(true)
				return sink.Install(Install{State: newState(d, 12)})
			}, "MANIFEST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openBroken(t, c.hit)
			must(t, s.appendOne())
			if c.name == "manifest" {
				must(t, s.e.db.Flush())
			}
			s.fail.Store(c.name != "manifest")
			if err := c.do(t, s); err == nil {
				t.Fatal("no error")
			}
			s.checkStopped(t, c.want)
			// Pebble itself repeats a failed flush, into a new file each time, until the store is closed.
			if n := s.failed.Load(); n == 0 || n > 20 && c.want != "flush or compact" {
				t.Fatalf("%d operations failed", n)
			}
		})
	}
}

// TestFailedSnapshot: a sink that cannot be written fails alone, also if that is a table which goes to the disk beside what follows it.
func TestFailedSnapshot(t *testing.T) {
	for name, hit := range map[string]func(op errorfs.Op) bool{
		"write":        func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite },
		"first table":  func(op errorfs.Op) bool { return syncs(op) && strings.HasSuffix(op.Path, "000000.sst") },
		"last but one": func(op errorfs.Op) bool { return syncs(op) && strings.HasSuffix(op.Path, "000006.sst") },
	} {
		t.Run(name, func(t *testing.T) {
			testFailedSnapshot(t, func(op errorfs.Op) bool { return strings.Contains(op.Path, stagingDir) && hit(op) })
		})
	}
}

func syncs(op errorfs.Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
}

func testFailedSnapshot(t *testing.T, hit func(op errorfs.Op) bool) {
	s := openBroken(t, hit)
	s.e.tableBytes = 100 << 10
	s.fail.Store(true)
	sink, err := s.e.NewSnapshotSink(1002, "s")
	must(t, err)
	var w chunkWriter
	w.begin(0, 0)
	for i := range 100 {
		w.add(keys.Data(rk(fmt.Sprintf("m%03d", i))), make([]byte, 8<<10))
	}
	err = sink.Write(w.finish(true))
	if err == nil {
		err = sink.Finish()
	}
	if err == nil || !strings.Contains(err.Error(), "disk says no") || sink.Finish() == nil {
		t.Fatal(err)
	}
	d := desc(1002, rng("m", "z"), 12)
	if err := sink.Install(Install{State: newState(d, 12)}); err == nil {
		t.Fatal("installed")
	}
	sink.Discard()
	sink.Discard()
	must(t, s.appendOne())
	must(t, s.e.clearStaging())
	mustClose(t, s.e)
}

// TestCorruptRecords: a bit that flips in a log entry or a state record stops the store, with the key in the reason.
func TestCorruptRecords(t *testing.T) {
	read := func(e *Engine) error { _, err := e.Replicas(); return err }
	for _, c := range []struct {
		key  []byte
		read func(e *Engine) error
	}{
		{keys.State(1001, keys.StateHard), read},
		{keys.State(1001, keys.StateApplied), read},
		{keys.State(1001, keys.StateDescriptor), read},
		{keys.Log(1001, 7), read},
		{keys.Log(1001, 6), func(e *Engine) error {
			l := e.OpenLog(ReplicaState{Shard: 1001, Applied: shard.Applied{Index: 5, Term: 5}, LastIndex: 7, LastTerm: 5})
			_, err := l.Entries(6, 8, 1)
			return err
		}},
		{keys.Log(1001, 6), func(e *Engine) error {
			l := e.OpenLog(ReplicaState{Shard: 1001, Applied: shard.Applied{Index: 5, Term: 5}, LastIndex: 7, LastTerm: 5})
			_, err := l.Term(6)
			return err
		}},
		{keys.Record(identRecord), func(e *Engine) error { _, _, err := e.Ident(); return err }},
		{keys.State(1001, keys.StateTombstone), func(e *Engine) error { _, _, err := e.Tombstone(1001); return err }},
		{keys.State(1001, keys.StateDestroying), func(e *Engine) error { return e.FinishDestroy(1001, rng("a", "b")) }},
		{keys.State(1001, keys.StateApplied), func(e *Engine) error {
			r := e.NewReader()
			defer r.Close()
			_, _, err := r.Applied(1001)
			return err
		}},
	} {
		var once sync.Once
		var reason error
		fs := vfs.NewMem()
		e, err := Open(testDir, Options{FS: fs, MemTableBytes: 1 << 20, OnBroken: func(err error) { once.Do(func() { reason = err }) }})
		must(t, err)
		d := desc(1001, rng("a", "m"), 11)
		l := create(t, e, newState(d, 11))
		appendSync(t, e, l, entries(6, 7, 5), nil, 5)
		must(t, e.SetIdent(Ident{Store: 1}))
		tk, mk := keys.State(1001, keys.StateTombstone), keys.State(1001, keys.StateDestroying)
		set(t, e, true, func(b *StateBatch) {
			b.setKey(tk, encodeTombstone(tk, 3))
			b.setKey(mk, encodeMarks(mk, nil))
		})
		v, ok, err := e.get(c.key)
		if err != nil || !ok {
			t.Fatal(keys.Format(c.key), err)
		}
		v[len(v)/2] ^= 4
		must(t, e.db.Set(c.key, v, pebble.Sync))
		err = c.read(e)
		if !errors.Is(err, ErrCorruption) || !strings.Contains(err.Error(), keys.Format(c.key)) || !errors.Is(err, reason) {
			t.Errorf("%s: %v, reported %v", keys.Format(c.key), err, reason)
		}
		mustClose(t, e)
	}
}

// A flush that an excise cancels is begun again by Pebble: it says so as it says that a disk fails.
func TestCancelledFlushIsNoFailure(t *testing.T) {
	e, err := Open("store", Options{FS: vfs.NewMem()})
	must(t, err)
	defer func() { must(t, e.Close()) }()
	e.listener(false).BackgroundError(fmt.Errorf("flush: %w", pebble.ErrCancelledCompaction))
	must(t, e.SyncWAL())
}

// fullFS says that nothing is free.
type fullFS struct{ vfs.FS }

func (fullFS) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{TotalBytes: 1 << 40, AvailBytes: 1 << 20}, nil
}

// A store is not opened on a full disk, and says so. With room it opens, and has what it had.
func TestOpenOnFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	e, err := Open("store", Options{FS: mem})
	must(t, err)
	must(t, e.SetRecord("x", []byte("y")))
	must(t, e.Close())
	if _, err := Open("store", Options{FS: fullFS{mem}}); err == nil || !strings.Contains(err.Error(), "has 1024 KiB free") {
		t.Fatalf("got %v", err)
	}
	e, err = Open("store", Options{FS: mem})
	must(t, err)
	defer func() { must(t, e.Close()) }()
	if v, ok, err := e.Record("x"); err != nil || !ok || string(v) != "y" {
		t.Fatalf("got %q, %t, %v", v, ok, err)
	}
}
