package transfer

import (
	"context"
	"errors"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/client"
)

// fakeDB is a cluster in a map. Its shards are cut at random keys, its batches take effect in any order, and it may be
// told to lose some answers.
type fakeDB struct {
	mu   sync.Mutex
	data map[string]string
	cuts []string
	rng  *rand.Rand
	// ambiguous is the share of keys whose outcome is not told; half of those are written all the same.
	ambiguous float64
	puts      int // batches
	rows      int // keys written, perhaps
}

func newFakeDB(cuts ...string) *fakeDB {
	return &fakeDB{data: make(map[string]string), cuts: cuts, rng: rand.New(rand.NewPCG(1, 2))}
}

var errDisk = errors.New("the disk is on fire")

func (f *fakeDB) PutMany(_ context.Context, kvs []client.KV, _ ...client.PutOption) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows += len(kvs)
	errs, bad := make([]error, len(kvs)), false
	for i, kv := range kvs {
		if f.rng.Float64() < f.ambiguous {
			errs[i], bad = &client.Error{Op: "put", Kind: client.ErrAmbiguous}, true
			if f.rng.IntN(2) == 0 {
				continue
			}
		}
		f.data[string(kv.Key)] = string(kv.Value)
	}
	if bad {
		return &client.BatchError{Op: "put many", Errs: errs}
	}
	return nil
}

func (f *fakeDB) Scan(_ context.Context, r client.Range, _ ...client.ScanOption) iter.Seq2[client.KV, error] {
	return func(yield func(client.KV, error) bool) {
		for _, k := range slices.Sorted(maps.Keys(f.data)) {
			if r.Contains([]byte(k)) && !yield(client.KV{Key: []byte(k), Value: []byte(f.data[k])}, nil) {
				return
			}
		}
	}
}

func (f *fakeDB) Partitions(_ context.Context, r client.Range) ([]client.Partition, error) {
	var out []client.Partition
	start := r.Start
	for _, c := range f.cuts {
		if r.Contains([]byte(c)) && string(start) < c {
			out = append(out, client.Partition{Range: client.Range{Start: start, End: []byte(c)}})
			start = []byte(c)
		}
	}
	return append(out, client.Partition{Range: client.Range{Start: start, End: r.End}}), nil
}

func quiet(int, int64) {}

// noCheckpoint keeps nothing.
func noCheckpoint() *CheckpointFile {
	c, err := OpenCheckpoint("", Checkpoint{})
	if err != nil {
		panic(err)
	}
	return c
}
