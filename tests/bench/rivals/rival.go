package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// rival is one side.
type rival interface {
	name() string
	servers() []*process
	// fill writes every key of the keyspace once.
	fill(ctx context.Context, k *keyspace) error
	// op makes the operation of a kind for one client; it says how many rows it moved.
	op(kind kind, k *keyspace, client int) func(ctx context.Context, rnd *rand.Rand) (rows int, err error)
	// kill ends a server that leads with SIGKILL, and says how long it took from then until all that it led took a put.
	kill(ctx context.Context, k *keyspace) (time.Duration, error)
	// heal starts what was killed again, and waits until everything is as it was before.
	heal(ctx context.Context) error
}

// kind is what an operation does.
type kind int

const (
	put      kind = iota
	get           // linearizable
	getMany       // 100 keys; etcd has no such call and gets one
	putBatch      // 100 keys of one shard at once, all or nothing
	scan          // 100 rows from a key on
	swap          // compare and swap of one key, by everybody
	add           // a transaction that adds one to a counter, by everybody
	modify        // a transaction that reads a counter and writes it, by everybody
	failover      // not an operation: a server is killed, see failover.go
)

// batchRows is the size of batches and scans.
const batchRows = 100

// fillers is how many clients fill, and fillBatch how many keys each writes at once.
const (
	fillers   = 16
	fillBatch = 100
)

// filled writes all keys with a function that writes some.
func filled(ctx context.Context, k *keyspace, write func(ctx context.Context, keys []string, values [][]byte) error) error {
	batches := k.batches(fillBatch)
	return each(fillers, func(w int) error {
		rnd := rand.New(rand.NewPCG(3, uint64(w)))
		for i := w; i < len(batches); i += fillers {
			var keys []string
			var values [][]byte
			for _, p := range batches[i] {
				keys, values = append(keys, keyOf(p)), append(values, k.value(rnd))
			}
			if err := write(ctx, keys, values); err != nil {
				return err
			}
		}
		return nil
	})
}
