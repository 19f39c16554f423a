package engine

import (
	"context"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// A block that is not in the cache costs its first reader far more than the read itself: a call, a copy, a checksum, and memory that is
// touched for the first time (docs/performance.md, "A cache that is warm"). What was written is often read, and after a flush or a
// compaction none of it is in the cache. So once compactions are done, what they wrote is read into the cache, as long as that has room,
// on a thread that gives way, as compactions do. RocksDB fills its cache with what it flushes while it has that in hand
// (prepopulate_block_cache); Pebble has no such thing, and its compactions write more than its flushes.

const (
	// warmDelay is for how long nothing was flushed or compacted before what was written is read: what a flush wrote is mostly
	// compacted at once.
	warmDelay = time.Second
	// warmPiece is how many blocks are read with one iterator, between two looks at the room that there is: some 10 ms of a processor.
	warmPiece = 256
	// warmLook is how long to read before it is judged whether others want the processor: less than that says nothing.
	warmLook = 20 * time.Millisecond
	// warmPatience is how many times longer than it should reading may take, and warmPause how many times as long nothing is read after
	// some that took longer. Beside one thread that wants the processor it takes ten times as long, beside other warmers two or three.
	warmPatience = 4
	warmPause    = 16
	// longestPause bounds that.
	longestPause = 2 * time.Second
	// warmTables is of how many tables is known that they were not read; beyond, the oldest were likely compacted since.
	warmTables = 4096
	// warmSpare of the cache, one part of so many, stays free.
	warmSpare = 16
)

// warmer reads tables into the cache. Its goroutine ends with the engine.
type warmer struct {
	e      *Engine
	cache  *pebble.Cache
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended; nil while it was not started
	wake   chan struct{} // something was written, or a compaction has ended

	pace pace // of the goroutine that reads

	mu    sync.Mutex
	fresh []uint64 // files of tables that were written and not read
	busy  int      // compactions under way, whose input is of no use soon

	blocks atomic.Int64 // that were looked for
}

// newWarmer makes a warmer of e's tables that is not yet told of any. The caller closes it.
func newWarmer(e *Engine, c *pebble.Cache) *warmer {
	c.Ref()
	w := &warmer{e: e, cache: c, wake: make(chan struct{}, 1)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// start begins with all tables that there are, if the cache can hold them: with more than that, nobody knows which are wanted.
func (w *warmer) start() error {
	levels, err := w.e.db.SSTables()
	if err != nil {
		return w.e.readFailed("list tables", err)
	}
	var bytes uint64
	var files []uint64
	for _, tables := range levels {
		for i := range tables {
			bytes += tables[i].Size
			files = append(files, uint64(tables[i].BackingSSTNum))
		}
	}
	if int64(bytes) > w.free() {
		files = nil
	}
	w.add(files)
	w.done = make(chan struct{})
	go w.run()
	return nil
}

// close ends the goroutine. It waits for that, unless Pebble may hold locks for ever.
func (w *warmer) close(stuck bool) {
	w.cancel()
	if w.done != nil && !stuck {
		<-w.done
	}
	w.cache.Unref()
}

// wrote is called by Pebble's listener, when a flush or an ingest is over.
func (w *warmer) wrote(tables ...pebble.TableInfo) { w.add(numbers(tables)) }

// compacting and compacted are called by Pebble's listener.
func (w *warmer) compacting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy++
}

func (w *warmer) compacted(i *pebble.CompactionInfo) {
	w.mu.Lock()
	w.busy--
	w.mu.Unlock()
	if i.Err != nil || i.Reason == "move" { // a table that is moved is the same file
		w.add(nil)
		return
	}
	w.add(numbers(i.Output.Tables))
}

func numbers(tables []pebble.TableInfo) (out []uint64) {
	for i := range tables {
		out = append(out, uint64(tables[i].FileNum))
	}
	return out
}

// add has tables read.
func (w *warmer) add(files []uint64) {
	w.mu.Lock()
	w.fresh = append(w.fresh, files...)
	w.fresh = w.fresh[max(0, len(w.fresh)-warmTables):]
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// next is a table to be read, if it is time for that. It stays the next until drop.
func (w *warmer) next() (file uint64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.busy > 0 || len(w.fresh) == 0 || w.ctx.Err() != nil {
		return 0, false
	}
	return w.fresh[0], true
}

// drop forgets the next n tables, or all there are.
func (w *warmer) drop(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = w.fresh[min(n, len(w.fresh)):]
}

func (w *warmer) run() {
	defer close(w.done)
	for w.await() {
		if _, ok := w.next(); !ok {
			continue
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			// For threadTime, and until the end: lowerPriority has a reason of its own.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			lowerPriority(politeBy)
			w.readAll()
		}()
		<-done
	}
}

// await returns when warmDelay has passed since something was written, or false at the end.
func (w *warmer) await() bool {
	select {
	case <-w.ctx.Done():
		return false
	case <-w.wake:
	}
	for {
		select {
		case <-w.ctx.Done():
			return false
		case <-w.wake:
		case <-time.After(warmDelay):
			return true
		}
	}
}

// readAll reads fresh tables until there are none, a compaction begins, or the cache is full.
func (w *warmer) readAll() {
	for {
		file, ok := w.next()
		switch {
		case !ok:
			return
		case w.read(file):
			w.drop(1)
		default:
			w.drop(math.MaxInt)
		}
	}
}

// read has the cache hold a table's blocks, and what lies in other levels beside them. False means that there is no room, or an end.
func (w *warmer) read(file uint64) bool {
	// One that is damaged, or was compacted meanwhile, is not this one's business: whoever reads it or checks it (Scrub) says so.
	ends, _ := w.e.blockEnds(file)
	for i, to := 0, 0; i < len(ends); i = to {
		to = min(i+warmPiece, len(ends))
		if w.free() < int64(to-i)*blockBytes {
			return false
		}
		wall, cpu := time.Now(), threadTime()
		if !w.seek(ends, i, to) {
			return false
		}
		w.blocks.Add(int64(to - i))
		if !w.pause(w.pace.read(time.Since(wall), threadTime()-cpu)) {
			return false
		}
	}
	return w.ctx.Err() == nil
}

// pace is how much was read since it was judged last: how long that took, and how much of the processor.
type pace struct{ wall, cpu time.Duration }

// read is told of a piece, and says how long to pause: others want the processor, or the disk is slow.
func (p *pace) read(wall, cpu time.Duration) time.Duration {
	p.wall, p.cpu = p.wall+wall, p.cpu+cpu
	if p.wall < warmLook {
		return 0
	}
	all := *p
	*p = pace{}
	if all.wall > warmPatience*all.cpu {
		return min(warmPause*all.wall, longestPause)
	}
	return 0
}

func (w *warmer) pause(d time.Duration) bool {
	if d == 0 {
		return w.ctx.Err() == nil
	}
	select {
	case <-w.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// free is how many bytes may yet go into the cache. Pebble keeps room free in it for memtables: those that it has, and those that it has
// for later.
func (w *warmer) free() int64 {
	most, m := w.cache.MaxSize(), &w.e.db.Metrics().MemTable
	return most - most/warmSpare - int64(m.Size+m.ZombieSize) - w.cache.Size()
}

// seek goes to where some of a table's blocks end, which brings those in. It looks no further than to the end of the next block, however
// much was deleted there. An iterator keeps tables alive, and is there for one piece only.
func (w *warmer) seek(ends [][]byte, from, to int) bool {
	if w.e.check() != nil {
		return false
	}
	it, err := w.e.db.NewIter(nil)
	if err != nil {
		_ = w.e.readFailed("open iterator", err)
		return false
	}
	for i := from; i < to; i++ {
		if i+1 < len(ends) {
			it.SeekGEWithLimit(ends[i], ends[i+1])
			continue
		}
		// Nobody looks into a table from behind its last key, so the last block is entered backwards.
		var limit []byte
		if i > 0 {
			limit = ends[i-1]
		}
		it.SeekLTWithLimit(ends[i], limit)
	}
	if err := it.Close(); err != nil {
		_ = w.e.readFailed("read into the cache", err)
		return false
	}
	return true
}
