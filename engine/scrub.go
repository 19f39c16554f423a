package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/shard"
)

// pieceBytes is what is read of a table at once: enough for a disk to read in a row, and at any sensible rate a pause of
// a fraction of a second.
const pieceBytes = 256 << 10

// Scrubbed is what Scrub read.
type Scrubbed struct {
	Tables int   // that were read whole
	Gone   int   // that a compaction replaced before their turn came
	Bytes  int64 // read; a little more than the tables hold
}

// take waits until n more bytes may be read. The error ends the reading.
type take func(ctx context.Context, n int) error

// Scrub reads every table that the store has now, whole, from the filesystem and not from the block cache, and verifies all
// checksums. What is written meanwhile is left to the next time. A table that is damaged or missing stops the store, as a
// read that met it would, and is the error, which wraps ErrCorruption and names the file. The write-ahead log and the
// manifest are not read: a start reads them, and until then nobody does.
//
// It asks may before it reads, and blocks nowhere else. An error of may ends it and is returned.
func (e *Engine) Scrub(ctx context.Context, may func(ctx context.Context, n int) error) (Scrubbed, error) {
	var done Scrubbed
	if e.synced != nil {
		// In a simulated world it does not replay which tables there are, and how large. So nobody may see how much is read.
		if err := may(ctx, pieceBytes); err != nil {
			return done, err
		}
		may = func(context.Context, int) error { return nil }
	}
	files, err := e.liveTables()
	if err != nil {
		return done, err
	}
	return e.scrubTables(e.newTableCheck(ctx, may), files)
}

// scrubTables reads those of the files that are live when their turn comes.
func (e *Engine) scrubTables(c *tableCheck, files []uint64) (done Scrubbed, err error) {
	for _, n := range files {
		path := e.path(dbDir, tableName(n))
		err := c.check(path, n)
		done.Bytes = c.read
		switch {
		case err == nil:
			done.Tables++
		case c.refused != nil:
			return done, c.refused
		case errors.Is(err, os.ErrNotExist):
			// INVARIANT: nobody is forgiven for a missing table because compactions delete some: Pebble deletes a table after
			// the version that has it, so one that is live now is damage.
			live, listErr := e.liveTables()
			if listErr != nil {
				return done, listErr
			}
			if slices.Contains(live, n) {
				return done, e.tableDamaged(path, err)
			}
			done.Gone++
		default:
			return done, e.tableDamaged(path, err)
		}
	}
	return done, nil
}

// liveTables are the files of all tables of the database as it is now, each once, in the order in which they were made.
// Virtual tables are parts of a file: an excise makes them.
func (e *Engine) liveTables() ([]uint64, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	levels, err := e.db.SSTables()
	if err != nil {
		return nil, e.readFailed("list tables", err)
	}
	var out []uint64
	for _, tables := range levels {
		for i := range tables {
			out = append(out, uint64(tables[i].BackingSSTNum))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// tableName is how Pebble names the file of a table.
func tableName(n uint64) string { return fmt.Sprintf("%06d%s", n, tableSuffix) }

// tableSuffix ends the names of tables, and of nothing else.
const tableSuffix = ".sst"

// tableNum is tableName backwards; 0 of what has no such name.
func tableNum(name string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(name, tableSuffix), 10, 64)
	return n
}

// tableDamaged stops the store because of a table.
func (e *Engine) tableDamaged(path string, err error) error {
	if e.closed.Load() {
		return shard.ErrClosed
	}
	if !isDamage(err) { // the disk does not read at all
		return e.fail(fmt.Errorf("check table %s: %w", path, err))
	}
	return e.fail(fmt.Errorf("check table %s: %w: %w; %s", path, ErrCorruption, err, rotAdvice))
}

// rotAdvice ends the reason of a store that stops because of a table.
const rotAdvice = "the disk or its filesystem changed the file after it was written; the other replicas have what it held; " + restoreAdvice

// isDamage tells a file that holds something else, or less, from one that cannot be read.
func isDamage(err error) bool {
	return pebble.IsCorruptionError(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrNotExist)
}

// tableCheck verifies tables, one after the other.
type tableCheck struct {
	ctx     context.Context
	may     take
	fs      vfs.FS
	options sstable.ReaderOptions
	buf     []byte
	read    int64 // bytes, of all tables
	refused error // by may
}

func (e *Engine) newTableCheck(ctx context.Context, may take) *tableCheck {
	return &tableCheck{ctx: ctx, may: may, fs: e.fs, options: e.pebbleOptions(Options{}, false).MakeReaderOptions(), buf: make([]byte, pieceBytes)}
}

// check reads a table, every block and the footer. Its reader has no block cache.
func (c *tableCheck) check(path string, num uint64) error {
	f, err := c.fs.Open(path)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	p := &pieces{c: c, f: f, size: info.Size(), ahead: c.buf[:0]}
	setNum(&c.options.CacheOpts.FileNum, num)
	r, err := sstable.NewReader(c.ctx, p, c.options)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// setNum sets a number whose type is Pebble's own: its errors name it.
func setNum[T ~uint64](to *T, n uint64) { *to = T(n) }

// pieces is a table's file, read in pieces of pieceBytes, however small the blocks are that the reader asks for: it asks in
// the order in which they lie. For one goroutine.
type pieces struct {
	c     *tableCheck
	f     vfs.File
	size  int64
	ahead []byte // what was read last, in c.buf
	at    int64  // where that begins
}

// ReadAt implements objstorage.Readable.
func (p *pieces) ReadAt(_ context.Context, b []byte, off int64) error {
	if off+int64(len(b)) > p.size {
		return io.ErrUnexpectedEOF
	}
	if off < p.at || off+int64(len(b)) > p.at+int64(len(p.ahead)) {
		if len(b) > len(p.c.buf) {
			p.c.buf = make([]byte, len(b))
		}
		p.ahead, p.at = p.c.buf[:min(int64(len(p.c.buf)), p.size-off)], off
		if err := p.load(); err != nil {
			p.ahead = p.ahead[:0]
			return err
		}
	}
	copy(b, p.ahead[off-p.at:])
	return nil
}

// load reads the piece.
func (p *pieces) load() error {
	if err := p.c.may(p.c.ctx, len(p.ahead)); err != nil {
		p.c.refused = err
		return err
	}
	forgetPages(p.f, p.at, int64(len(p.ahead)))
	n, err := p.f.ReadAt(p.ahead, p.at)
	p.c.read += int64(n)
	if n == len(p.ahead) {
		return nil // with or without io.EOF
	}
	return err
}

// Close implements objstorage.Readable.
func (p *pieces) Close() error { return p.f.Close() }

// Size implements objstorage.Readable.
func (p *pieces) Size() int64 { return p.size }

// NewReadHandle implements objstorage.Readable.
func (p *pieces) NewReadHandle(objstorage.ReadBeforeSize) objstorage.ReadHandle {
	h := objstorage.MakeNoopReadHandle(p)
	return &h
}
