package engine

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/engine/journal"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

// Defaults of Options.
const (
	defaultCacheBytes    = 64 << 20
	defaultMemTableBytes = 64 << 20
	defaultTailBytes     = 128 << 20
)

// Options configures an Engine. The zero value is a server's.
type Options struct {
	// FS is the filesystem; nil is the operating system's, with checks for slow operations.
	FS vfs.FS
	// CacheBytes is the size of the block cache if Cache is nil; 0 is 64 MiB.
	CacheBytes int64
	// MemTableBytes is the size at which a memtable is flushed; up to four of them may exist. 0 is 64 MiB.
	MemTableBytes int64
	// TailBytes bounds the raft log entries kept in memory over all replicas of the store; 0 is 128 MiB.
	TailBytes int64
	// Cache is a block cache shared by several stores of one process. The caller closes it after them.
	Cache *Cache
	// Logger receives what people should know; nil discards it.
	Logger *slog.Logger
	// OnBroken is called once, when the store has to stop, with the reason. It may be called on any goroutine, while
	// locks of the engine are held: it must not call the engine nor block.
	OnBroken func(error)
	// Synced is called after a batch that asked for it is on disk, with the sequence number up to which the write-ahead
	// log is durable; after an ingest or excise too. Simulated disks use it, which let only one goroutine at a time call
	// the engine; it is nil in production.
	Synced func(seq uint64)
	// Ingesting is called before an ingest or excise, with the sequence number up to which the write-ahead log must be
	// durable by then. Only with Synced.
	Ingesting func(seq uint64)
	// BulkBytes is from where on a snapshot is ingested and the data of a replica excised, where less is written as a
	// batch; 0 is 128 KiB and 8 MiB.
	BulkBytes int64
	// SegmentBytes is the size of a segment of the raft log; 0 is 16 MiB.
	SegmentBytes int64
	// LogInDatabase keeps the raft log of a new directory in the database, as programs did that knew of no journal. For tests: an
	// upgraded store begins its journal when it is opened without it.
	LogInDatabase bool
	// CapacityBytes is how much of its disk the store may take, as Free and DiskUsage tell it; 0 is all of it.
	CapacityBytes int64
}

// Cache is a cache of uncompressed blocks that several engines share.
type Cache struct{ c *pebble.Cache }

// NewCache makes a cache of this many bytes.
func NewCache(bytes int64) *Cache { return &Cache{c: pebble.NewCache(bytes)} }

// Close releases the cache. The engines that use it are closed first.
func (c *Cache) Close() { c.c.Unref() }

// Engine is the storage of one store. Safe for concurrent use.
type Engine struct {
	dir      string
	fs       vfs.FS
	plain    vfs.FS // fs without Pebble's watch over slow disks, which ends with the database
	lock     io.Closer
	capacity uint64        // Options.CapacityBytes
	creating bool          // the directory is being made; only in Open
	raising  sync.Mutex    // held while the STORE file is written after Open
	version  atomic.Uint64 // see Version; written under raising
	db       *pebble.DB
	opts     *pebble.Options // as the database runs with them; for writing tables
	rested   atomic.Uint64   // bytes written before the last call of Rest
	log      *slog.Logger

	onBroken  func(error)
	synced    func(seq uint64) // nil in production
	ingesting func(seq uint64) // nil in production
	// unfinished is empty in production.
	unfinished unfinished
	// broken is the first error that stopped the store, nil while it runs.
	broken atomic.Pointer[stopped]
	closed atomic.Bool

	// files is the raft log; nil while it lies in the database. See journal.
	files         atomic.Pointer[journal.Journal]
	segmentBytes  int64
	logInDatabase bool
	logAhead      bool                          // see journal.Options.Ahead: on the system's filesystem
	logs          atomic.Bool                   // a Log was made
	spareJournal  atomic.Pointer[journal.Batch] // nil if it is in use

	tails   tailPool
	syncs   syncStats
	urgency urgency
	warm    *warmer // nil in simulated worlds, which have no threads
	// See Options.BulkBytes.
	ingestBytes int64
	exciseBytes uint64
	tableBytes  int
	// spareState are the buffers of the last StateBatch that was closed; nil if they are in use.
	spareState atomic.Pointer[stateBuffers]
}

// stopped says why a store stopped.
type stopped struct {
	err error
	// stuck is set if Pebble was left in the middle of a write, holding locks. It cannot be closed any more.
	stuck bool
}

// Open opens the store in dir, creating it if dir is empty or absent, and locks dir until Close.
func Open(dir string, o Options) (*Engine, error) {
	e := &Engine{dir: dir, fs: o.FS, capacity: uint64(max(0, o.CapacityBytes)), log: o.Logger, onBroken: o.OnBroken, synced: o.Synced, ingesting: o.Ingesting,
		ingestBytes: orDefault(o.BulkBytes, smallSnapshotBytes), exciseBytes: uint64(orDefault(o.BulkBytes, defaultExciseBytes)), tableBytes: snapshotTableBytes}
	e.segmentBytes, e.logInDatabase = o.SegmentBytes, o.LogInDatabase
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.tails.limit = orDefault(o.TailBytes, defaultTailBytes)
	real := e.fs == nil
	if e.logAhead = real; real {
		e.fs = vfs.Default
	}
	if err := e.openDir(real); err != nil {
		return nil, fmt.Errorf("engine: open store in %s: %w", dir, err)
	}
	if err := e.openDB(o, real); err != nil {
		_ = e.lock.Close()
		return nil, fmt.Errorf("engine: open store in %s: %w", dir, err)
	}
	return e, nil
}

// roomToOpen is what must be free on the disk. Opening writes what is in the log into tables, and Pebble tries that for
// ever on a disk that is full, without a word.
const roomToOpen = 32 << 20

// checkRoom refuses a disk that is full, as far as the filesystem can tell.
func (e *Engine) checkRoom() error {
	u, err := e.fs.GetDiskUsage(e.dir)
	if err != nil || u.TotalBytes == 0 || u.AvailBytes >= roomToOpen {
		return nil
	}
	return fault.Errorf(fault.NoRoom, "the disk of %s has %d KiB free, and opening the store may take %d MiB; make room and start it again",
		e.dir, u.AvailBytes>>10, roomToOpen>>20)
}

func (e *Engine) openDB(o Options, real bool) error {
	if err := e.checkRoom(); err != nil {
		return err
	}
	e.plain = e.fs
	if !e.creating {
		if err := e.breakSeal(); err != nil {
			return err
		}
	}
	e.opts = e.pebbleOptions(o, real)
	e.fs = e.opts.FS
	if o.Cache == nil {
		c := pebble.NewCache(orDefault(o.CacheBytes, defaultCacheBytes))
		defer c.Unref() // the database holds its own reference
		e.opts.Cache = c
	} else {
		e.opts.Cache = o.Cache.c
	}
	if real {
		e.warm = newWarmer(e, e.opts.Cache)
	}
	db, err := pebble.Open(e.path(dbDir), e.opts)
	e.opts.Cache = nil // only the database may use it from here on
	if err != nil {
		e.stopWarming(false)
		return err
	}
	e.db = db
	if err = e.check(); err == nil {
		err = e.openJournal()
	}
	if err == nil {
		err = e.finishCreating()
	}
	if err == nil && e.warm != nil {
		err = e.warm.start()
	}
	if err != nil {
		s := e.broken.Load()
		stuck := s != nil && s.stuck
		e.stopWarming(stuck)
		if !stuck {
			_ = db.Close()
		}
	}
	return err
}

func (e *Engine) stopWarming(stuck bool) {
	if e.warm != nil {
		e.warm.close(stuck)
	}
}

func orDefault(v, def int64) int64 {
	if v <= 0 {
		return def
	}
	return v
}

func (e *Engine) path(elem ...string) string {
	return e.fs.PathJoin(append([]string{e.dir}, elem...)...)
}

// Close closes the store and unlocks its directory. Everything made from the engine is closed first, and no call is
// under way. (With Options.Synced, it closes views and discards snapshots itself.)
//
// A store that stopped in the middle of a write cannot be closed: Close returns the reason, and the directory stays
// locked until the process ends.
func (e *Engine) Close() error {
	if e.closed.Swap(true) {
		return shard.ErrClosed
	}
	if s := e.broken.Load(); s != nil && s.stuck {
		e.stopWarming(true)
		return s.err
	}
	e.stopWarming(false)
	e.closeUnfinished()
	err := errors.Join(e.db.Close(), e.closeJournal())
	if err == nil && e.broken.Load() == nil {
		e.fs = e.plain
		err = e.seal()
	}
	if err2 := e.lock.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return fmt.Errorf("engine: close store in %s: %w", e.dir, err)
	}
	return nil
}

// check returns why the engine does not serve, nil if it does.
func (e *Engine) check() error {
	if s := e.broken.Load(); s != nil {
		return s.err
	}
	if e.closed.Load() {
		return shard.ErrClosed
	}
	return nil
}

// fail stops the store with err, unless it has stopped before, and returns the reason for which it stopped.
//
// INVARIANT: a failed write, sync or checksum stops the store and is never retried in place. After a failed fsync the
// kernel may have dropped the pages and report the next one as good.
func (e *Engine) fail(err error) error { return e.stop(&stopped{err: err}) }

func (e *Engine) stop(s *stopped) error {
	s.err = fault.With(fault.DiskFailed, fmt.Errorf("engine: store in %s stopped: %w", e.dir, s.err))
	if e.broken.CompareAndSwap(nil, s) {
		e.log.Error("store stopped", "dir", e.dir, "err", s.err)
		if e.onBroken != nil {
			e.onBroken(s.err)
		}
		return s.err
	}
	first := e.broken.Load()
	if s.stuck && !first.stuck {
		e.broken.CompareAndSwap(first, &stopped{err: first.err, stuck: true})
	}
	return first.err
}

// write runs f, which writes to the database; what says what is attempted. Pebble reports some failed writes by a panic
// and some by Logger.Fatalf, after which it returns as if nothing had happened: both end here as an error.
func (e *Engine) write(what string, f func() error) (err error) {
	if err := e.check(); err != nil {
		return err
	}
	defer func() {
		if r := recover(); r != nil {
			err = e.stop(&stopped{err: fmt.Errorf("%s: %v", what, r), stuck: true})
		}
	}()
	if err := f(); err != nil {
		return e.fail(fmt.Errorf("%s: %w", what, err))
	}
	return e.check()
}

// readFailed stops the store after a read that returned err. A replica that goes on without what it could not read would
// evaluate commands differently from the others.
func (e *Engine) readFailed(what string, err error) error {
	if errors.Is(err, shard.ErrClosed) || e.closed.Load() {
		return shard.ErrClosed
	}
	if pebble.IsCorruptionError(err) {
		err = fmt.Errorf("%w: %w", ErrCorruption, err)
	}
	return e.fail(fmt.Errorf("%s: %w", what, err))
}

// get reads the latest value of a physical key, copied.
func (e *Engine) get(k []byte) (v []byte, ok bool, err error) {
	ok, err = e.peek(k, func(p []byte) { v = append(make([]byte, 0, len(p)), p...) })
	return v, ok, err
}

// peek calls f with the latest value of a physical key, which is there until f returns.
func (e *Engine) peek(k []byte, f func(v []byte)) (ok bool, err error) {
	if err := e.check(); err != nil {
		return false, err
	}
	p, c, err := e.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, e.readFailed("read "+keys.Format(k), err)
	}
	f(p)
	if err := c.Close(); err != nil {
		return false, e.readFailed("read "+keys.Format(k), err)
	}
	return true, nil
}

// iter opens an iterator over a span. The caller closes it.
func (e *Engine) iter(s keys.Span) (*pebble.Iterator, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: s.Start, UpperBound: s.End})
	if err != nil {
		return nil, e.readFailed("open iterator", err)
	}
	return it, nil
}

// SyncWAL returns when everything that was committed before, by any batch, is on disk.
func (e *Engine) SyncWAL() error {
	var seq uint64
	err := e.write("sync write-ahead log", func() error {
		b := e.db.NewBatch()
		defer b.Close()
		if err := b.LogData(nil, nil); err != nil {
			return err
		}
		if err := b.Commit(pebble.Sync); err != nil {
			return err
		}
		seq = e.seqOf(b)
		return nil
	})
	if err == nil {
		e.noteSynced(seq)
	}
	return err
}
