package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// DB is what the load generator needs of *client.DB.
type DB interface {
	Get(ctx context.Context, key []byte, opts ...client.ReadOption) ([]byte, error)
	Put(ctx context.Context, key, value []byte, opts ...client.PutOption) error
	PutMany(ctx context.Context, kvs []client.KV, opts ...client.PutOption) error
	Scan(ctx context.Context, r client.Range, opts ...client.ScanOption) iter.Seq2[client.KV, error]
	Update(ctx context.Context, f func(tx *client.Txn) error, opts ...client.TxnOption) error
}

// Options say what load to make.
type Options struct {
	Workload     Workload
	Distribution Distribution // empty: the workload's
	Clients      int
	Duration     time.Duration // of what is measured, after Warmup
	Warmup       time.Duration
	Keys         uint64 // records; zero: as many as the workload has
	ValueSize    int    // bytes
	ScanLength   int    // a scan takes 1 to that many keys
	// Rate is operations a second of all clients together; zero is a closed loop.
	Rate     float64
	Prefix   string // of all keys
	SkipLoad bool   // the records are there already
	Seed     uint64

	// Loaded hears of records that were loaded; may be nil.
	Loaded func(keys int, bytes int64)
	// Begun hears that the load is done, if there was one, and that the clients start; may be nil.
	Begun func()
	// Tick hears of each Every that was measured; may be nil.
	Tick  func(Interval)
	Every time.Duration
}

func (o *Options) check() error {
	switch {
	case o.Distribution != "" && !o.Distribution.Valid():
		return fmt.Errorf("unknown distribution %q; use uniform, zipfian or latest", o.Distribution)
	case o.Clients < 1:
		return errors.New("at least one client is needed (--clients)")
	case o.Duration <= 0:
		return errors.New("the duration must be above zero (--duration)")
	case o.ScanLength < 1 && o.Workload.Share[Scan] > 0:
		return errors.New("the scan length must be at least 1 (--scan-length)")
	case o.ValueSize > shard.MaxValueBytes:
		return fmt.Errorf("values of %d bytes: at most %d can be stored (--value-size)", o.ValueSize, shard.MaxValueBytes)
	case o.Rate < 0 || o.ValueSize < 0 || o.Warmup < 0:
		return errors.New("rate, value size and warmup cannot be below zero")
	}
	return nil
}

// Records is how many records the run has.
func (o *Options) Records() uint64 {
	return cmp.Or(o.Keys, o.Workload.Keys, defaultKeys)
}

// run is one run. Goroutines: Clients clients, each with one operation under way, which end at the end time; and one
// that takes what they recorded, once per Every.
type run struct {
	o       Options
	db      DB
	rec     *recorder
	records records
	begin   time.Time // of the schedule: warmup first
	measure time.Time // operations due from here on are recorded
	end     time.Time
	started atomic.Int64 // operations that were due in the measured time and were sent

	mu    sync.Mutex
	first error // the first error of an operation
}

// Run loads the records if the workload needs them, warms up, and measures. An error of single operations is counted in
// the Result; Run fails if the load fails or ctx ends.
func Run(ctx context.Context, db DB, o Options) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Distribution == "" {
		o.Distribution = o.Workload.Distribution
	}
	o.Keys = o.Records()
	r := &run{o: o, db: db, rec: newRecorder(o.Clients)}
	r.records.next.Store(o.Keys)
	r.records.acked.Store(o.Keys)
	if o.Workload.Load && !o.SkipLoad {
		if err := r.load(ctx); err != nil {
			return nil, fmt.Errorf("load the records: %w", err)
		}
	}
	if o.Begun != nil {
		o.Begun()
	}
	r.begin = time.Now()
	r.measure = r.begin.Add(o.Warmup)
	r.end = r.measure.Add(o.Duration)
	var clients, collector sync.WaitGroup
	total, stop := sample{}, make(chan struct{})
	collector.Go(func() { r.collect(&total, stop) })
	for i := range o.Clients {
		clients.Go(func() { r.client(ctx, i) })
	}
	clients.Wait()
	close(stop)
	collector.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return r.result(&total, time.Since(r.measure)), nil
}

// client sends one operation after the other.
func (r *run) client(ctx context.Context, i int) {
	rng := rand.New(rand.NewPCG(r.o.Seed, uint64(i)))
	c := &worker{run: r, rng: rng, choose: newChooser(r.o.Distribution, rng)}
	for n := 0; ; n++ {
		due, ok := r.due(ctx, i, n)
		if !ok {
			return
		}
		kind := r.o.Workload.pick(rng.IntN(100))
		measured := !due.Before(r.measure)
		if measured {
			r.started.Add(1)
		}
		out := r.classify(c.do(ctx, kind))
		if ctx.Err() != nil {
			return
		}
		if measured {
			r.rec.record(i, kind, time.Since(due), out)
		}
	}
}

// due waits until the client's n-th operation is due and returns that time; false if the run is over.
func (r *run) due(ctx context.Context, i, n int) (time.Time, bool) {
	now := time.Now()
	if r.o.Rate == 0 {
		return now, ctx.Err() == nil && now.Before(r.end)
	}
	slot := float64(n*r.o.Clients + i)
	due := r.begin.Add(time.Duration(slot / r.o.Rate * float64(time.Second)))
	if !due.Before(r.end) || !now.Before(r.end) {
		return due, false
	}
	if wait := due.Sub(now); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return due, false
		}
	}
	return due, true
}

// outcome is how an operation ended.
type outcome struct {
	notFound bool
	label    string // of the error; empty: none
}

func (r *run) classify(err error) outcome {
	switch {
	case err == nil:
		return outcome{}
	case errors.Is(err, client.ErrNotFound):
		return outcome{notFound: true}
	}
	r.mu.Lock()
	if r.first == nil {
		r.first = err
	}
	r.mu.Unlock()
	switch {
	case errors.Is(err, client.ErrAmbiguous):
		return outcome{label: "ambiguous"}
	case errors.Is(err, client.ErrUnavailable):
		return outcome{label: "unavailable"}
	case errors.Is(err, client.ErrConflict):
		return outcome{label: "conflict"}
	}
	return outcome{label: "other"}
}

// collect takes what was recorded, tells Tick, and adds it up, until stop is closed.
func (r *run) collect(total *sample, stop chan struct{}) {
	every := r.o.Every
	if every <= 0 {
		every = time.Second
	}
	t := time.NewTicker(every)
	defer t.Stop()
	last := r.begin
	take := func() {
		s, now := r.rec.take(), time.Now()
		if r.o.Tick != nil && now.Before(r.end) {
			r.o.Tick(makeInterval(&s, now.Sub(r.begin), now.Sub(last), !now.After(r.measure)))
		}
		last = now
		if last.Before(r.measure) {
			last = r.measure // nothing was recorded before
		}
		total.add(&s)
	}
	for {
		select {
		case <-t.C:
			take()
		case <-stop:
			take()
			return
		}
	}
}

// worker carries out the operations of one client.
type worker struct {
	*run
	rng    *rand.Rand
	choose *chooser
}

func (w *worker) do(ctx context.Context, k Kind) error {
	switch k {
	case Put:
		return w.db.Put(ctx, w.key(), valueOf(w.rng, w.o.ValueSize))
	case Insert:
		index := w.records.next.Add(1) - 1
		err := w.db.Put(ctx, keyOf(w.o.Prefix, index), valueOf(w.rng, w.o.ValueSize))
		w.records.ack(index)
		return err
	case Scan:
		return w.scan(ctx)
	case ReadModifyWrite:
		key := w.key()
		if _, err := w.db.Get(ctx, key); err != nil && !errors.Is(err, client.ErrNotFound) {
			return err
		}
		return w.db.Put(ctx, key, valueOf(w.rng, w.o.ValueSize))
	case Transfer:
		return w.transfer(ctx)
	case Add:
		key := w.key()
		return w.db.Update(ctx, func(tx *client.Txn) error { return tx.Add(key, 1) })
	case Locked:
		return w.locked(ctx)
	case NewOrder:
		return w.newOrder(ctx)
	}
	_, err := w.db.Get(ctx, w.key())
	return err
}

func (w *worker) key() []byte { return keyOf(w.o.Prefix, w.choose.next(w.records.acked.Load())) }

func (w *worker) scan(ctx context.Context) error {
	rng := client.Prefix(w.o.Prefix)
	rng.Start = w.key()
	for _, err := range w.db.Scan(ctx, rng, client.Limit(1+w.rng.IntN(w.o.ScanLength)), client.ReuseRows()) {
		if err != nil {
			return err
		}
	}
	return nil
}

// records counts the records that exist. Inserts end in any order, but only records below acked are chosen, so that
// nobody reads one that is still being written.
type records struct {
	next  atomic.Uint64 // index of the next insert
	acked atomic.Uint64 // all below were tried

	mu   sync.Mutex
	done map[uint64]struct{} // above acked
}

func (r *records) ack(index uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done = make(map[uint64]struct{})
	}
	r.done[index] = struct{}{}
	at := r.acked.Load()
	for ; ; at++ {
		if _, ok := r.done[at]; !ok {
			break
		}
		delete(r.done, at)
	}
	r.acked.Store(at)
}
