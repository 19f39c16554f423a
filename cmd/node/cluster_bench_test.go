package node_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/tests/bench/callers"
)

// BenchmarkCluster is what a caller of the SDK waits for: puts and linearizable gets of 256 bytes against three stores in
// this process, on disk and with gRPC between, which share the processors with their clients. Callers wait for their
// answers. Allocations are those of all parts and all three stores together.
func BenchmarkCluster(b *testing.B) {
	for _, shards := range []int{1, 100} {
		b.Run(fmt.Sprintf("shards=%d", shards), func(b *testing.B) {
			c := newBenchCluster(b, shards)
			for _, callers := range []int{1, 256} {
				b.Run(fmt.Sprintf("put/callers=%d", callers), func(b *testing.B) { c.measure(b, callers, c.put) })
				b.Run(fmt.Sprintf("get/callers=%d", callers), func(b *testing.B) { c.measure(b, callers, c.get) })
			}
			if n := c.shards(b); n != shards {
				b.Fatalf("%d shards in the end, not %d", n, shards)
			}
		})
	}
}

// benchCluster is a running cluster that holds recordCount records.
type benchCluster struct {
	db    *client.DB
	ctx   context.Context
	value []byte
}

// recordCount is how many keys are put and got, at random.
const recordCount = 10_000

// recordKey spreads the keys evenly over the space of numbers, whatever their order is.
func recordKey(i uint64) []byte { return fmt.Appendf(nil, "bench/%016x", i*0x9e3779b97f4a7c15) }

// newBenchCluster starts a cluster with so many shards of about one size, none of which is split by load.
func newBenchCluster(b *testing.B, shards int) *benchCluster {
	b.Helper()
	c := &benchCluster{value: bytes.Repeat([]byte{'v'}, 256)}
	var cancel context.CancelFunc
	c.ctx, cancel = context.WithCancel(context.Background())
	b.Cleanup(cancel)
	var split []string
	for i := 1; i < shards; i++ {
		split = append(split, fmt.Sprintf("bench/%04x", i*0x10000/shards))
	}
	p, err := node.StartPlayground(c.ctx, node.PlaygroundConfig{Stores: 3, Listen: "127.0.0.1:0", DataDir: b.TempDir(), SplitKeys: split,
		Logger: slog.New(slog.DiscardHandler), Store: node.StoreConfig{SplitWork: -1, CapacityBytes: 16 << 30}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := p.Close(); err != nil {
			b.Error(err)
		}
	})
	begun, stop := context.WithTimeout(c.ctx, time.Minute)
	defer stop()
	if err := p.Ready(begun); err != nil {
		b.Fatal(err)
	}
	if c.db, err = client.Open(begun, p.Addr()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.db.Close() })
	c.load(b)
	return c
}

// load writes all records.
func (c *benchCluster) load(b *testing.B) {
	b.Helper()
	var kvs []client.KV
	for i := range uint64(recordCount) {
		kvs = append(kvs, client.KV{Key: recordKey(i), Value: c.value})
	}
	if err := c.db.PutMany(c.ctx, kvs); err != nil {
		b.Fatal(err)
	}
}

// shards counts them.
func (c *benchCluster) shards(b *testing.B) (n int) {
	b.Helper()
	for _, err := range c.db.Admin().Shards(c.ctx) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	return n
}

func (c *benchCluster) put() error {
	return c.db.Put(c.ctx, recordKey(rand.Uint64N(recordCount)), c.value)
}

func (c *benchCluster) get() error {
	v, err := c.db.Get(c.ctx, recordKey(rand.Uint64N(recordCount)))
	if err == nil && !bytes.Equal(v, c.value) {
		return fmt.Errorf("%d bytes were read, or other ones", len(v))
	}
	return err
}

// latencies counts how long operations took, in nanoseconds with three digits, up to a minute. Safe for concurrent use.
type latencies struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram
}

// timed does an operation and counts it if it succeeds.
func (l *latencies) timed(do func() error) error {
	start := time.Now()
	if err := do(); err != nil {
		return err
	}
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hist.RecordValue(max(took.Nanoseconds(), 1))
}

// measure runs an operation from so many callers.
func (c *benchCluster) measure(b *testing.B, n int, do func() error) {
	l := latencies{hist: hdrhistogram.New(1, time.Minute.Nanoseconds(), 3)}
	callers.Run(b, n, func() error { return l.timed(do) })
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(l.hist.ValueAtQuantile(50)), "p50-ns")
	b.ReportMetric(float64(l.hist.ValueAtQuantile(99)), "p99-ns")
}
