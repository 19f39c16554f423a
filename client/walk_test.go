package client_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/skerrydb/skerry/client"
)

// testLongScans: scans that are long enough for several shards to be read at once have every row once, in order, with its own value, also
// where several scans have their rows in memory that each of them, and the others, use again; rows that a scan does not use again stay
// what they were. A scan that its caller leaves is over.
func testLongScans(t *testing.T, ctx context.Context, db *client.DB) {
	var want []client.KV
	for i := range 26_000 {
		k := fmt.Appendf(nil, "%c%06d", 'a'+i/1000, i)
		want = append(want, client.KV{Key: k, Value: bytes.Repeat(k, 30)})
	}
	must(t, db.PutMany(ctx, want))
	down := slices.Clone(want)
	slices.Reverse(down)
	var scans sync.WaitGroup
	defer scans.Wait()
	for i := range 3 {
		scans.Go(func() {
			rowsAre(t, db.Scan(ctx, client.Range{}, client.ReuseRows()), want)
			rowsAre(t, db.ReverseScan(ctx, client.Range{}, client.ReuseRows()), down)
			rowsAre(t, db.Scan(ctx, client.Range{}, client.ReuseRows(), client.Limit(9000+i)), want[:9000+i])
			n := 0
			for _, err := range db.Scan(ctx, client.Range{}, client.ReuseRows()) {
				if n++; err != nil || n == 12_000 {
					break
				}
			}
		})
	}
	var kept []client.KV
	for kv, err := range db.Scan(ctx, client.Range{}) {
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
	must(t, db.DeleteRange(ctx, client.Range{}))
}

// rowsAre holds the rows of a scan against those that it must have.
func rowsAre(t *testing.T, rows func(func(client.KV, error) bool), want []client.KV) {
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
