package client_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/raftstore"
)

// longRows are enough rows for several shards to be read at once, in order, and from the last one down.
func longRows() (rows, down []client.KV) {
	for i := range 26_000 {
		k := fmt.Appendf(nil, "%c%06d", 'a'+i/1000, i)
		rows = append(rows, client.KV{Key: k, Value: bytes.Repeat(k, 30)})
	}
	down = slices.Clone(rows)
	slices.Reverse(down)
	return rows, down
}

type scan = func(context.Context, client.Range, ...client.ScanOption) iter.Seq2[client.KV, error]

// scansAre: scans that are long enough for several shards to be read at once have every row once, in order, with its own value, also
// where several scans have their rows in memory that each of them, and the others, use again; rows that a scan does not use again stay
// what they were. A scan that its caller leaves is over.
func scansAre(t *testing.T, ctx context.Context, up, reverse scan, want, down []client.KV) {
	var scans sync.WaitGroup
	defer scans.Wait()
	for i := range 3 {
		scans.Go(func() {
			rowsAre(t, up(ctx, client.Range{}, client.ReuseRows()), want)
			rowsAre(t, reverse(ctx, client.Range{}, client.ReuseRows(), client.ReadFromFollower()), down)
			rowsAre(t, up(ctx, client.Range{}, client.ReuseRows(), client.Limit(9000+i)), want[:9000+i])
			n := 0
			for _, err := range up(ctx, client.Range{}, client.ReuseRows()) {
				if n++; err != nil || n == 12_000 {
					break
				}
			}
		})
	}
	var kept []client.KV
	for kv, err := range up(ctx, client.Range{}) {
		must(t, err)
		kept = append(kept, kv)
	}
	scans.Wait()
	rowsAre(t, func(yield func(client.KV, error) bool) {
		for _, kv := range kept {
			if !yield(kv, nil) {
				return
			}
		}
	}, want)
}

func testLongScans(t *testing.T, ctx context.Context, db *client.DB) {
	want, down := longRows()
	must(t, db.PutMany(ctx, want))
	scansAre(t, ctx, db.Scan, db.ReverseScan, want, down)
	must(t, db.DeleteRange(ctx, client.Range{}))
}

// TestLongScansAtOneMoment: long scans of a snapshot show what was there at its moment, whatever is written beside them; those of a
// transaction show its own writes as well.
func TestLongScansAtOneMoment(t *testing.T) {
	// Each row that is read for a lock takes a store a millisecond under the race detector, and a page has thousands: leaders shall not
	// change meanwhile, and no page be asked for again.
	db := newTxnFixture(t, func(o *raftstore.Options) { o.Tick = raftstore.DefaultTick }).serve(client.WithRetryBudget(5 * time.Minute))
	ctx := context.Background()
	want, down := longRows()
	put := func(value func(client.KV) []byte) {
		for lot := range slices.Chunk(want, 250) {
			must(t, db.Update(ctx, func(tx *client.Txn) error {
				for _, kv := range lot {
					if err := tx.Put(kv.Key, value(kv)); err != nil {
						return err
					}
				}
				return nil
			}))
		}
	}
	put(func(kv client.KV) []byte { return kv.Value })
	ts, err := db.Timestamp(ctx)
	must(t, err)
	var writes sync.WaitGroup
	writes.Go(func() { put(func(client.KV) []byte { return []byte("later") }) })
	s := db.At(ts)
	scansAre(t, ctx, s.Scan, s.ReverseScan, want, down)
	writes.Wait()
	mixed := slices.Clone(want)
	for i := range mixed {
		mixed[i].Value = []byte("later")
	}
	mixed[10_000].Value = []byte("mine")
	mixed = slices.Delete(mixed, 20_000, 20_001)
	must(t, db.Update(ctx, func(tx *client.Txn) error {
		must(t, tx.Put(want[10_000].Key, []byte("mine")))
		must(t, tx.Delete(want[20_000].Key))
		rowsAre(t, tx.Scan(client.Range{}, client.ReuseRows()), mixed)
		return nil
	}))
}

// rowsAre holds the rows of a scan against those that it must have.
func rowsAre(t *testing.T, rows iter.Seq2[client.KV, error], want []client.KV) {
	n := 0
	for kv, err := range rows {
		if err != nil || n == len(want) || !bytes.Equal(kv.Key, want[n].Key) || !bytes.Equal(kv.Value, want[n].Value) {
			t.Errorf("row %d is %q with %d bytes: %v", n, kv.Key, len(kv.Value), err)
			return
		}
		n++
	}
	if n != len(want) {
		t.Errorf("%d rows, want %d", n, len(want))
	}
}
