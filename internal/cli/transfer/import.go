package transfer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// Bounds of a batch: large enough to spread over the shards, small enough that what is under way does not fill memory.
const (
	batchBytes = 1 << 20
	batchKeys  = 4096
)

// checkpointInterval is how often the position is written at most. What lies behind it is written again after a crash.
const checkpointInterval = time.Second

// Waits between two attempts for a batch whose outcome is unknown or that nobody could serve.
const (
	firstRetryWait = 200 * time.Millisecond
	maxRetryWait   = 2 * time.Second
)

// ImportOptions say how to import.
type ImportOptions struct {
	Prefix   []byte // stands before every key
	Parallel int    // batches written at once, at least 1
	// RetryFor is how long one batch is tried again while parts of the cluster are away, beyond what the client does.
	RetryFor time.Duration
	// Checkpoint is where to begin and where to keep the position; must not be nil, may keep nothing.
	Checkpoint *CheckpointFile
	// Progress hears of every batch that is written.
	Progress func(keys int, bytes int64)
}

// importer is one run of Import. Goroutines: the caller's reads the source and cuts batches; Parallel workers each write
// one batch at a time and end when batches is closed or ctx ends.
type importer struct {
	db      DB
	o       ImportOptions
	ctx     context.Context
	cancel  context.CancelCauseFunc
	batches chan *batch

	mu sync.Mutex
	// idle is signalled when a batch is done or ctx ended.
	idle *sync.Cond
	// inFlight holds the keys of batches that are being written. INVARIANT: no key is in two of them, so that of equal
	// keys in the source the last one wins.
	inFlight map[string]struct{}
	// done holds batches that were written before one that stands earlier in the source.
	done  map[uint64]*batch
	next  uint64 // the first batch that is not written
	keys  int64  // written before next
	saved time.Time
}

// batch is a run of records that are written by one call.
type batch struct {
	seq   uint64
	kvs   []client.KV
	keys  int // how many, when kvs is gone
	size  int // bytes of keys and values
	read  int64
	pos   string // of the last record
	index map[string]int
}

// Import writes everything that src has behind the checkpoint. When it returns nil all of it is written and the
// checkpoint file is removed; after an error the same import goes on where the checkpoint says.
func Import(ctx context.Context, db DB, src Source, o ImportOptions) error {
	im := &importer{db: db, o: o, batches: make(chan *batch), inFlight: make(map[string]struct{}),
		done: make(map[uint64]*batch), keys: o.Checkpoint.State().Keys, saved: time.Now()}
	im.idle = sync.NewCond(&im.mu)
	im.ctx, im.cancel = context.WithCancelCause(ctx)
	defer im.cancel(nil)
	defer context.AfterFunc(im.ctx, func() {
		im.mu.Lock()
		defer im.mu.Unlock()
		im.idle.Broadcast()
	})()
	var workers sync.WaitGroup
	for range max(o.Parallel, 1) {
		workers.Go(im.work)
	}
	err := im.read(src)
	if err != nil {
		im.cancel(err)
	}
	close(im.batches)
	workers.Wait()
	if cause := context.Cause(im.ctx); cause != nil {
		return errors.Join(cause, im.flush())
	}
	return o.Checkpoint.remove()
}

// read cuts the source into batches and hands them to the workers.
func (im *importer) read(src Source) error {
	b := &batch{index: make(map[string]int)}
	for rec, err := range src.Records(string(im.o.Checkpoint.State().Pos)) {
		if err != nil {
			return err
		}
		kv, err := im.place(rec)
		if err != nil {
			return err
		}
		if n := len(kv.Key) + len(kv.Value); len(b.kvs) > 0 && (b.size+n > batchBytes || len(b.kvs) == batchKeys) {
			if err := im.hand(b); err != nil {
				return err
			}
			b = &batch{seq: b.seq + 1, index: make(map[string]int)}
		}
		b.add(kv, rec)
	}
	if len(b.kvs) == 0 {
		return nil
	}
	return im.hand(b)
}

// add puts a record behind the others. An equal key takes the place of the earlier one.
func (b *batch) add(kv client.KV, rec Record) {
	b.size += len(kv.Key) + len(kv.Value)
	b.read += rec.Bytes
	b.pos = rec.Pos
	if i, ok := b.index[string(kv.Key)]; ok {
		b.kvs[i] = kv
		return
	}
	b.index[string(kv.Key)] = len(b.kvs)
	b.kvs = append(b.kvs, kv)
}

// place puts the prefix before a record's key and checks both sizes here, where the position can be named.
func (im *importer) place(rec Record) (client.KV, error) {
	key := append(append(make([]byte, 0, len(im.o.Prefix)+len(rec.Key)), im.o.Prefix...), rec.Key...)
	switch {
	case len(key) == 0:
		return client.KV{}, fmt.Errorf("record %s: the key is empty", rec.Pos)
	case len(key) > shard.MaxKeyBytes:
		return client.KV{}, fmt.Errorf("record %s: the key has %d bytes, at most %d", rec.Pos, len(key), shard.MaxKeyBytes)
	case len(rec.Value) > shard.MaxValueBytes:
		return client.KV{}, fmt.Errorf("record %s: the value has %d bytes, at most %d", rec.Pos, len(rec.Value), shard.MaxValueBytes)
	}
	return client.KV{Key: key, Value: rec.Value}, nil
}

// hand waits until none of the batch's keys is being written, and gives it to a worker.
func (im *importer) hand(b *batch) error {
	im.mu.Lock()
	for im.ctx.Err() == nil && im.overlapsLocked(b) {
		im.idle.Wait()
	}
	for k := range b.index {
		im.inFlight[k] = struct{}{}
	}
	im.mu.Unlock()
	select {
	case im.batches <- b:
		return nil
	case <-im.ctx.Done():
		return context.Cause(im.ctx)
	}
}

func (im *importer) overlapsLocked(b *batch) bool {
	for k := range b.index {
		if _, ok := im.inFlight[k]; ok {
			return true
		}
	}
	return false
}

func (im *importer) work() {
	for b := range im.batches {
		if err := im.write(b); err != nil {
			im.cancel(err)
			return
		}
		if err := im.finish(b); err != nil {
			im.cancel(err)
			return
		}
	}
}

// write writes a batch, and again those of its keys of which it is not known, or known not to be written. To write the
// same value again is harmless; that is why an import may do what a client must not.
func (im *importer) write(b *batch) error {
	kvs, wait, began := b.kvs, firstRetryWait, time.Now()
	for {
		err := im.db.PutMany(im.ctx, kvs)
		if err == nil {
			return nil
		}
		if im.ctx.Err() != nil {
			return context.Cause(im.ctx)
		}
		kvs = remaining(kvs, err)
		if !again(err) || time.Since(began) > im.o.RetryFor {
			return err
		}
		select {
		case <-time.After(wait):
		case <-im.ctx.Done():
			return context.Cause(im.ctx)
		}
		wait = min(2*wait, maxRetryWait)
	}
}

// remaining are the keys that err does not say are done.
func remaining(kvs []client.KV, err error) []client.KV {
	var be *client.BatchError
	if !errors.As(err, &be) || len(be.Errs) != len(kvs) {
		return kvs
	}
	var out []client.KV
	for i, e := range be.Errs {
		if e != nil {
			out = append(out, kvs[i])
		}
	}
	return out
}

// again reports whether all that went wrong may go well later.
func again(err error) bool {
	var be *client.BatchError
	if errors.As(err, &be) {
		for _, e := range be.Errs {
			if e != nil && !again(e) {
				return false
			}
		}
		return true
	}
	return errors.Is(err, client.ErrAmbiguous) || errors.Is(err, client.ErrUnavailable)
}

// finish notes that a batch is written.
func (im *importer) finish(b *batch) error {
	im.o.Progress(len(b.kvs), b.read)
	im.mu.Lock()
	defer im.mu.Unlock()
	for k := range b.index {
		delete(im.inFlight, k)
	}
	im.idle.Broadcast()
	im.done[b.seq] = &batch{pos: b.pos, keys: len(b.kvs)} // the values need not wait for earlier batches
	return im.advanceLocked(time.Since(im.saved) >= checkpointInterval)
}

// advanceLocked moves the position over all batches without a gap, and saves it if asked to.
//
// INVARIANT: the saved position lies before every record that is not written. Batches end out of order; the position
// moves in the order of the source only.
func (im *importer) advanceLocked(save bool) error {
	pos := string(im.o.Checkpoint.State().Pos)
	for b := im.done[im.next]; b != nil; b = im.done[im.next] {
		delete(im.done, im.next)
		im.next++
		im.keys += int64(b.keys)
		pos = b.pos
	}
	im.o.Checkpoint.state.Pos = []byte(pos)
	if !save {
		return nil
	}
	im.saved = time.Now()
	return im.o.Checkpoint.save(pos, im.keys)
}

// flush saves the position after an error.
func (im *importer) flush() error {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.next == 0 && len(im.done) == 0 {
		return nil // nothing is new
	}
	return im.advanceLocked(true)
}
