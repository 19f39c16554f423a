package engine

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/codec"
)

// tableBlock is how many bytes of rows go to the writer of a table at once.
const tableBlock = 128 << 10

// defaultWaitingBytes is, if Options.WaitingBytes says nothing else, how many bytes of rows may wait for the writer of one table.
const defaultWaitingBytes = 8 << 20

// table is one that is being written outside the database, from its first row to its last. To make blocks of rows costs more than to
// read them from what arrives, so a goroutine of its own does it, and is behind; the next table is begun meanwhile. In simulated worlds,
// where nothing may run beside what is simulated, whoever brings the rows does.
//
// One task brings them. INVARIANT: finish returns nil only if the file holds all of them, and is synced.
type table struct {
	w     *sstable.Writer
	bytes int         // of keys and values
	spans []keys.Span // to be deleted, written at the end
	ended bool        // there will be no more rows
	err   error       // of writes that were not made beside, and of finish

	// --- of one that is written beside

	block []byte        // of rows, being filled: a buffer of buffer.Frames
	most  int64         // bytes that may wait
	done  chan struct{} // closed when the goroutine is; nil: there is none

	mu     sync.Mutex
	moved  sync.Cond // blocks or what is below changed
	blocks [][]byte  // in order
	queued int64     // bytes of blocks, and of the one in the goroutine's hands
	last   bool      // there will be no more blocks
	failed error
}

// newTable begins a table in a file that is still empty.
func (e *Engine) newTable(f vfs.File) *table {
	t := &table{w: sstable.NewWriter(objstorageprovider.NewFileWritable(writeBehind(f)), e.opts.MakeWriterOptions(0, e.db.TableFormat())),
		most: e.waitingBytes}
	t.moved.L = &t.mu
	if e.synced == nil {
		t.done = make(chan struct{})
		go t.run()
	}
	return t
}

// set adds a row, which is the caller's again.
func (t *table) set(k, v []byte) error {
	t.bytes += len(k) + len(v)
	if t.done == nil {
		return t.w.Set(k, v)
	}
	n := len(k) + len(v) + 2*binary.MaxVarintLen64
	if len(t.block)+n > cap(t.block) {
		if err := t.pass(); err != nil {
			return err
		}
		t.block = (*buffer.Frames.Get(max(tableBlock, n)))[:0]
	}
	t.block = codec.AppendBytes(codec.AppendBytes(t.block, k), v)
	return nil
}

// pass hands over the rows that were gathered, when there is room for them.
func (t *table) pass() error {
	if len(t.block) == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.queued > 0 && t.queued+int64(len(t.block)) > t.most && t.failed == nil {
		t.moved.Wait()
	}
	t.blocks = append(t.blocks, t.block)
	t.queued += int64(len(t.block))
	t.block = nil
	t.moved.Broadcast()
	return t.failed
}

// run writes blocks until there will be no more, and completes the table.
func (t *table) run() {
	defer close(t.done)
	for {
		b, failed := t.next()
		if b == nil {
			t.fail(t.close(failed))
			return
		}
		if failed == nil {
			t.fail(t.write(b))
		}
		t.mu.Lock()
		t.queued -= int64(len(b))
		t.moved.Broadcast()
		t.mu.Unlock()
		buffer.Frames.Give(b)
	}
}

// next waits for a block; nil: there will be none. It also tells what failed before.
func (t *table) next() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.blocks) == 0 && !t.last {
		t.moved.Wait()
	}
	if len(t.blocks) == 0 {
		return nil, t.failed
	}
	b := t.blocks[0]
	t.blocks = t.blocks[1:]
	return b, t.failed
}

func (t *table) write(block []byte) error {
	for d := (codec.Decoder{B: block}); len(d.B) > 0; {
		k, v := d.Bytes(), d.Bytes()
		if err := errors.Join(d.Err(), t.w.Set(k, v)); err != nil {
			return err
		}
	}
	return nil
}

// fail keeps the first error.
func (t *table) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = err
		t.moved.Broadcast()
	}
}

// close completes the file. What failed before fails it.
func (t *table) close(failed error) error {
	for _, s := range t.spans {
		if failed == nil {
			failed = t.w.DeleteRange(s.Start, s.End)
		}
	}
	return errors.Join(failed, t.w.Close())
}

// end says that there will be no more rows: the table is completed beside what follows.
func (t *table) end() {
	if t.ended {
		return
	}
	t.ended = true
	if t.done == nil {
		t.err = t.close(nil)
		return
	}
	_ = t.pass() // finish tells
	t.mu.Lock()
	t.last = true
	t.moved.Broadcast()
	t.mu.Unlock()
}

// finish waits until the table that ended lies on the disk. A table that there is not has nothing to wait for.
func (t *table) finish() error {
	if t == nil || t.done == nil {
		return t.result()
	}
	<-t.done
	return t.result()
}

// result is what became of the table, as far as is known.
func (t *table) result() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(t.err, t.failed)
}

var errDropped = errors.New("nobody wants the table any more")

// drop has the rows that wait forgotten, so that finish is short.
func (t *table) drop() {
	if t != nil {
		t.fail(errDropped)
	}
}

// waiting is how many bytes wait to be written.
func (t *table) waiting() int64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.queued
}
