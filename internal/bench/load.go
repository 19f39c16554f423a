package bench

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/skerrydb/skerry/client"
)

// Bounds of a batch of the load.
const (
	loadBatchBytes = 256 << 10
	loadBatchKeys  = 1024
	// loadWriters is how many batches are written at once at most.
	loadWriters = 16
)

// load writes every record once.
func (r *run) load(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	perBatch := uint64(min(max(loadBatchBytes/(r.o.ValueSize+32), 1), loadBatchKeys))
	batch := r.loadBatch
	switch {
	case r.o.Workload.Share[NewOrder] > 0:
		perBatch, batch = 1, r.loadWarehouse
	case r.o.Workload.Txn:
		batch = r.loadAccounts
	}
	var next atomic.Uint64
	var writers sync.WaitGroup
	for i := range min(r.o.Clients, loadWriters) {
		writers.Go(func() {
			rng := rand.New(rand.NewPCG(r.o.Seed, ^uint64(i)))
			for ctx.Err() == nil {
				from := next.Add(perBatch) - perBatch
				if from >= r.o.Keys {
					return
				}
				if err := batch(ctx, rng, from, min(from+perBatch, r.o.Keys)); err != nil {
					cancel(err)
				}
			}
		})
	}
	writers.Wait()
	return context.Cause(ctx)
}

func (r *run) loadBatch(ctx context.Context, rng *rand.Rand, from, to uint64) error {
	var bytes int64
	kvs := make([]client.KV, 0, to-from)
	for i := from; i < to; i++ {
		kv := client.KV{Key: keyOf(r.o.Prefix, i), Value: valueOf(rng, r.o.ValueSize)}
		bytes += int64(len(kv.Key) + len(kv.Value))
		kvs = append(kvs, kv)
	}
	if err := r.db.PutMany(ctx, kvs); err != nil {
		return err
	}
	r.loaded(len(kvs), bytes)
	return nil
}

func (r *run) loaded(keys int, bytes int64) {
	if r.o.Loaded != nil {
		r.o.Loaded(keys, bytes)
	}
}
