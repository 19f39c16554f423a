package e2e

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
)

// TestScanSpeed measures how many rows a second a scan of everything yields, over all shards of three stores, beside one
// iterator of Pebble alone over the same rows, whose blocks are all in its cache ("warm"), or neither there nor in the system's
// memory ("cold"). The three take turns. `make bench-scan` has 100 shards and 256 MiB of values, a mebi of rows. The values
// cannot be compressed (see fillShard), as those of bench-rivals: hardly a block has to be unpacked, on either side.
func TestScanSpeed(t *testing.T) {
	const rounds, few = 5, 4
	mebi, shards := int(setting(t, "SKERRY_SCAN", few)), 100
	if mebi <= few {
		t.Parallel()
		shards = 10 // sooner ready
	} else {
		t.Setenv("GOGC", "400") // of the stores: what `skerry server` sets; this process has begun without it
	}
	// The stores' caches hold all, as those of `skerry server` do here; nothing stands between them and the client.
	c := New(t, Options{SplitKeys: splitKeys(shards), SplitBytes: -1, Direct: true, CacheBytes: node.DefaultCacheBytes()})
	fillShard(t, c, mebi)
	all := func() rowSeq { return skerryRows(c.DB) }
	rows := pass(t, all(), 0).rows // the client learns the routes, and the stores' caches fill
	if want := mebi << 20 / 256; rows < want {
		t.Fatalf("%d rows, of %d", rows, want)
	}
	alone := newPebbleAlone(t, mebi)
	alone.fill(all())
	var scans, warm, cold []float64
	for range rounds {
		scans = append(scans, pass(t, all(), rows).rate())
		alone.open()
		cold = append(cold, pass(t, alone.rows(), rows).rate())
		warm = append(warm, pass(t, alone.rows(), rows).rate())
		alone.close()
	}
	t.Logf("%d rows of 256 bytes, rows/s, medians of %d rounds: scan over %d shards %s, Pebble warm %s, cold %s",
		rows, rounds, shards, spread(scans), spread(warm), spread(cold))
	t.Logf("the scan is %.3f of warm Pebble, %.3f of cold Pebble", median(scans)/median(warm), median(scans)/median(cold))
}

// rowSeq are rows in some order; an error ends it. A row is valid until the next one.
type rowSeq = iter.Seq2[client.KV, error]

func skerryRows(db *client.DB) rowSeq {
	return db.Scan(context.Background(), client.Range{}, client.ReuseRows())
}

// passed is what reading all rows once was.
type passed struct {
	rows int
	took time.Duration
}

func (p passed) rate() float64 { return float64(p.rows) / p.took.Seconds() }

// pass reads all rows and checks that they are in order, each with a value, and as many as wanted; 0: any number.
func pass(t *testing.T, all rowSeq, want int) passed {
	t.Helper()
	var last []byte
	begun, rows := time.Now(), 0
	for kv, err := range all {
		if err != nil {
			t.Fatalf("after %d rows: %v", rows, err)
		}
		if bytes.Compare(last, kv.Key) >= 0 || len(kv.Value) != 256 {
			t.Fatalf("%q with %d bytes comes after %q", kv.Key, len(kv.Value), last)
		}
		last = append(last[:0], kv.Key...)
		rows++
	}
	took := time.Since(begun)
	if want != 0 && rows != want {
		t.Fatalf("%d rows, of %d", rows, want)
	}
	return passed{rows: rows, took: took}
}

// spread is the median of some rates, with the least and the greatest.
func spread(v []float64) string {
	return fmt.Sprintf("%.0f (%.0f to %.0f)", median(v), slices.Min(v), slices.Max(v))
}
