package engine

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/shard"
)

// StateBatch collects the effects of committed commands of many shards. It is not synced unless Commit is told so: the
// log has the commands.
//
// INVARIANT: the applied index is written in the same batch as the effects that it covers, so that a restart applies
// every command exactly once.
//
// Writes are gathered and sorted before they go to Pebble, because neighbours in the memtable's skip list are found
// from each other (measured: 5 to 14 % of a put). Once something is read that the batch may hold, it turns into an
// indexed batch, which keeps the order of the calls instead.
type StateBatch struct {
	e   *Engine
	err error // of filling; returned by Commit

	// buf holds keys and values of ops, which are not yet in b.
	buf []byte
	ops []stateOp
	// b holds the operations before ops; nil if there are none.
	b       *pebble.Batch
	indexed bool // b is indexed, ops is empty
	closed  bool
	// forget are the shards whose logs in the journal end with the batch.
	forget []shard.ID

	// seen is a Bloom filter of one hash over the prefixes of the keys written, ranges is set by any range deletion: together they tell
	// whether a read can go to the database without looking at the batch.
	seen   [seenWords]uint64
	ranges bool

	// view is an iterator over the store as it was at the first transactional read of the batch; nil before.
	view *pebble.Iterator
	// overlay is one over the store and the indexed batch; nil before it is needed.
	overlay *pebble.Iterator
	scratch []byte // of transactional reads
	stored  []byte // see Scratch
}

// seenWords makes a filter of 4096 bits: with the hundred keys of a usual batch one read in 40 looks for nothing.
const seenWords = 64

var seenSeed = maphash.MakeSeed()

// stateOp is a set or a delete of one key, at offsets of buf.
type stateOp struct {
	key, val, end int // the key is buf[key:val], the value buf[val:end]
	del           bool
}

// NewStateBatch makes an empty batch. The caller closes it.
func (e *Engine) NewStateBatch() *StateBatch {
	b := &StateBatch{e: e}
	if s := e.spareState.Swap(nil); s != nil {
		b.buf, b.ops, b.stored = s.buf, s.ops, s.stored
	}
	return b
}

func (b *StateBatch) fail(err error) {
	if err != nil && b.err == nil {
		b.err = err
	}
}

func (o *stateOp) keyIn(buf []byte) []byte { return buf[o.key:o.val] }

// Set writes a value. k and v are copied.
func (b *StateBatch) Set(k shard.Key, v []byte) {
	start := b.begin(len(k) + len(v))
	b.buf = keys.AppendData(b.buf, k)
	b.put(start, v, false)
}

// maxStored is for how large a value, in bytes, Scratch keeps room from one to the next.
const maxStored = 64 << 10

// Scratch implements raw.Writer.
func (b *StateBatch) Scratch(n int) []byte {
	if n > maxStored {
		return make([]byte, 0, n)
	}
	b.stored = slices.Grow(b.stored[:0], n)
	return b.stored
}

// Delete removes a key.
func (b *StateBatch) Delete(k shard.Key) {
	start := b.begin(len(k))
	b.buf = keys.AppendData(b.buf, k)
	b.put(start, nil, true)
}

// DeleteRange removes all keys of a range whose bounds are prefixes.
func (b *StateBatch) DeleteRange(r shard.Range) { b.deleteSpan(keys.DataSpan(r)) }

// setKey and deleteKey write any physical key.
func (b *StateBatch) setKey(k, v []byte) {
	start := b.begin(len(k) + len(v))
	b.buf = append(b.buf, k...)
	b.put(start, v, false)
}

func (b *StateBatch) deleteKey(k []byte) {
	start := b.begin(len(k))
	b.buf = append(b.buf, k...)
	b.put(start, nil, true)
}

// begin makes room in buf for a logical key and its value, n bytes, and returns where the key begins.
func (b *StateBatch) begin(n int) (start int) {
	b.buf = buffer.Batches.Grow(b.buf, n+keyExtra)
	return len(b.buf)
}

// keyExtra is how much longer than a logical key a physical one is: kind, and the timestamp of a version.
const keyExtra = 16

// put adds an operation on the key that was just appended to buf.
func (b *StateBatch) put(start int, v []byte, del bool) {
	k := b.buf[start:]
	b.mark(k)
	if b.indexed {
		if del {
			b.fail(b.b.Delete(k, nil))
		} else {
			b.fail(b.b.Set(k, v, nil))
		}
		b.buf = b.buf[:start]
		return
	}
	o := stateOp{key: start, val: len(b.buf), del: del}
	b.buf = append(b.buf, v...)
	o.end = len(b.buf)
	b.ops = append(b.ops, o)
}

func (b *StateBatch) mark(k []byte) {
	h := maphash.Bytes(seenSeed, keys.Prefix(k))
	b.seen[h%seenWords] |= 1 << (h >> 58)
}

func (b *StateBatch) maySee(k []byte) bool {
	h := maphash.Bytes(seenSeed, keys.Prefix(k))
	return b.ranges || b.seen[h%seenWords]&(1<<(h>>58)) != 0
}

// deleteSpan removes all keys of a span. Operations before it stay before it.
func (b *StateBatch) deleteSpan(s keys.Span) {
	if s.Empty() {
		return
	}
	b.ranges = true
	b.flush()
	b.fail(b.b.DeleteRange(s.Start, s.End, nil))
}

// flush moves ops to b in the order of keys; of several operations on one key only the last.
func (b *StateBatch) flush() {
	if b.b == nil {
		b.b = b.e.db.NewBatchWithSize(len(b.buf)+16*len(b.ops)+64, pebble.WithMaxRetainedSizeBytes(maxPebbleBatch))
	}
	order := func(x, y stateOp) int {
		if c := keys.Compare(x.keyIn(b.buf), y.keyIn(b.buf)); c != 0 {
			return c
		}
		return x.key - y.key // equal keys stay in the order of the calls
	}
	if !slices.IsSortedFunc(b.ops, order) {
		slices.SortFunc(b.ops, order)
	}
	for i := range b.ops {
		o := &b.ops[i]
		k := o.keyIn(b.buf)
		if i+1 < len(b.ops) && keys.Equal(k, b.ops[i+1].keyIn(b.buf)) {
			continue
		}
		if o.del {
			b.fail(b.b.Delete(k, nil))
		} else {
			b.fail(b.b.Set(k, b.buf[o.val:o.end], nil))
		}
	}
	b.ops, b.buf = b.ops[:0], b.buf[:0]
}

// index turns b into an indexed batch that holds everything written so far.
func (b *StateBatch) index() error {
	if b.indexed {
		return nil
	}
	ib := b.e.db.NewIndexedBatch()
	b.flush()
	if err := ib.Apply(b.b, nil); err != nil {
		_ = ib.Close()
		return b.e.fail(fmt.Errorf("index state batch: %w", err))
	}
	if err := b.b.Close(); err != nil {
		return b.e.fail(fmt.Errorf("index state batch: %w", err))
	}
	b.b, b.indexed = ib, true
	return nil
}

// Get reads a key as it is after the writes of this batch. The value is a copy.
func (b *StateBatch) Get(k shard.Key) (v []byte, ok bool, err error) { return b.get(keys.Data(k)) }

func (b *StateBatch) get(k []byte) ([]byte, bool, error) {
	if !b.maySee(k) {
		return b.e.get(k)
	}
	if err := b.e.check(); err != nil {
		return nil, false, err
	}
	if err := b.index(); err != nil {
		return nil, false, err
	}
	p, c, err := b.b.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, b.e.readFailed("read "+keys.Format(k), err)
	}
	defer c.Close()
	return append(make([]byte, 0, len(p)), p...), true, nil
}

// Scan calls f with every key of a range in order, as it is after the writes of this batch before the call, until f
// returns false. The arguments of f are valid only during the call. f may write to the batch; Scan does not show it.
func (b *StateBatch) Scan(r shard.Range, f func(k shard.Key, v []byte) bool) error {
	if r.Empty() {
		return b.e.check()
	}
	s := keys.DataSpan(r)
	if b.Empty() {
		it, err := b.e.iter(s)
		if err != nil {
			return err
		}
		return b.e.scan(it, false, f)
	}
	if err := b.e.check(); err != nil {
		return err
	}
	if err := b.index(); err != nil {
		return err
	}
	it, err := b.b.NewIter(&pebble.IterOptions{LowerBound: s.Start, UpperBound: s.End})
	if err != nil {
		return b.e.readFailed("open iterator", err)
	}
	return b.e.scan(it, false, f)
}

// scan walks and closes an iterator over data keys.
func (e *Engine) scan(it *pebble.Iterator, reverse bool, f func(k shard.Key, v []byte) bool) error {
	err := walk(it, reverse, f)
	if err2 := it.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return e.readFailed("scan", err)
	}
	return nil
}

// walk calls f along an iterator over data keys.
func walk(it *pebble.Iterator, reverse bool, f func(k shard.Key, v []byte) bool) error {
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	for ok := first(); ok; ok = next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		k, ok := keys.DecodeData(it.Key())
		if !ok || !f(k, v) {
			break
		}
	}
	return it.Error()
}

// SetApplied writes how far a replica has applied.
func (b *StateBatch) SetApplied(id shard.ID, a shard.Applied) {
	k := keys.State(id, keys.StateApplied)
	b.setKey(k, encodeApplied(k, a))
}

// SetDescriptor writes the descriptor of d.ID.
func (b *StateBatch) SetDescriptor(d *shard.Descriptor) {
	k := keys.State(d.ID, keys.StateDescriptor)
	b.setKey(k, encodeDescriptor(k, d))
}

// CreateReplica writes the first state of a replica, which has no log entries: it begins behind rs.Applied. If the
// replica was born uninitialised before, rs.Hard holds the term and vote that it has given, and nobody else writes its
// hard state meanwhile.
func (b *StateBatch) CreateReplica(rs ReplicaState) {
	rs.recovered = false
	k := keys.State(rs.Shard, keys.StateHard)
	b.setKey(k, rs.hardRecord().encode(k))
	// Nothing should be there; an entry of an earlier life would be taken for this one's.
	b.deleteLog(rs.Shard)
	if rs.Desc != nil {
		b.SetDescriptor(rs.Desc)
		b.SetApplied(rs.Shard, rs.Applied)
	}
}

// deleteLog removes the log of a shard whose replica here begins or ends. In the journal its entries are of another life from
// then on (journal.Life), which the hard state says that is written, or deleted, with it.
func (b *StateBatch) deleteLog(id shard.ID) {
	if b.e.journal() == nil {
		b.deleteSpan(keys.LogSpan(id))
		return
	}
	b.forget = append(b.forget, id)
}

// Empty reports whether nothing was written.
func (b *StateBatch) Empty() bool {
	return len(b.ops) == 0 && (b.b == nil || b.b.Empty()) && b.err == nil
}

// Bytes is about the size of the batch in the write-ahead log.
func (b *StateBatch) Bytes() int {
	n := len(b.buf)
	if b.b != nil {
		n += b.b.Len()
	}
	return n
}

// Commit writes the batch: atomically, visible at once, and on disk when it returns if sync is set.
func (b *StateBatch) Commit(sync bool) error {
	if b.err != nil {
		return b.e.fail(fmt.Errorf("fill state batch: %w", b.err))
	}
	if err := b.e.check(); err != nil {
		return err
	}
	opts := pebble.NoSync
	if sync {
		opts = pebble.Sync
	}
	b.closeViews()
	if !b.indexed {
		b.flush()
	}
	if b.err != nil {
		return b.e.fail(fmt.Errorf("fill state batch: %w", b.err))
	}
	if b.b.Empty() {
		return nil
	}
	err := b.e.write("write state batch", func() error { return b.e.db.Apply(b.b, opts) })
	if err != nil {
		b.b = nil // whether Pebble still uses it is not known
		return err
	}
	if sync {
		b.e.noteSynced(b.e.seqOf(b.b))
	}
	for _, id := range b.forget {
		b.e.journal().Forget(uint64(id))
	}
	return nil
}

// stateBuffers are those of a batch that was closed, for the next one: a pass of a worker makes one, and a fresh buffer for
// each was 7 % of a put.
type stateBuffers struct {
	buf    []byte
	ops    []stateOp
	stored []byte
}

// maxPebbleBatch bounds what Pebble keeps of a batch for the next one. It is let go of when nobody needs one for two collections.
const maxPebbleBatch = 4 << 20

// Close gives up the batch, committed or not.
func (b *StateBatch) Close() {
	if b.closed {
		return
	}
	b.closed = true
	b.closeViews()
	if b.b != nil {
		_ = b.b.Close()
	}
	if buf := buffer.Batches.Keep(b.buf, buffer.SpareBatch); cap(buf) > 0 {
		b.e.spareState.Store(&stateBuffers{buf, b.ops[:0], b.stored})
	}
	b.b, b.buf, b.ops, b.stored = nil, nil, nil, nil
}
