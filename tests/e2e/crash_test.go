package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
)

func TestMain(m *testing.M) { Main(m) }

// splitKeys cuts numbered keys into n shards.
func splitKeys(n int) []string {
	var out []string
	for i := 1; i < n; i++ {
		out = append(out, fmt.Sprintf("k%03d", i*1000/n))
	}
	return out
}

// ledger is what a writer was told: for each key the numbers that were acknowledged or may have happened.
type ledger struct {
	mu    sync.Mutex
	acked map[string]int // the last acknowledged number
	open  map[string]int // a later number whose outcome is not known, 0 if there is none
}

// write puts ever larger numbers to keys of its own until stop, one after the other. Each number is written by a
// compare-and-swap from the one before, so that a write that happened twice, or out of order, is seen as a conflict.
func (l *ledger) write(ctx context.Context, db *client.DB, t testing.TB, id int, stop *atomic.Bool) {
	last := make(map[string]int)
	for n := 1; !stop.Load(); n++ {
		key := fmt.Sprintf("k%03d/w%d", (n*37)%1000, id)
		var err error
		if last[key] == 0 {
			err = db.PutIfAbsent(ctx, []byte(key), number(n))
		} else {
			err = db.CompareAndSwap(ctx, []byte(key), number(last[key]), number(n))
		}
		l.mu.Lock()
		switch {
		case err == nil:
			l.acked[key], l.open[key] = n, 0
			last[key] = n
		case errors.Is(err, client.ErrConflict):
			t.Errorf("%s: %v: a write of this key happened twice or was lost", key, err)
			stop.Store(true)
		case errors.Is(err, client.ErrAmbiguous):
			l.open[key] = n
			l.mu.Unlock()
			return // this writer knows its keys no more
		default:
			l.mu.Unlock()
			continue // definite: nothing happened
		}
		l.mu.Unlock()
	}
}

func number(n int) []byte { return []byte(fmt.Sprint(n)) }

// check compares what is there with what was promised.
func (l *ledger) check(ctx context.Context, db *client.DB) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, n := range l.acked {
		v, err := db.Get(ctx, []byte(key))
		if err != nil {
			return fmt.Errorf("get %s, acknowledged at %d: %w", key, n, err)
		}
		if got := string(v); got != fmt.Sprint(n) && (l.open[key] == 0 || got != fmt.Sprint(l.open[key])) {
			return fmt.Errorf("%s is %s, acknowledged was %d (open: %d)", key, got, n, l.open[key])
		}
	}
	return nil
}

// killAll writes for a while, kills all processes at once, starts them again, and compares; several times.
func killAll(t testing.TB, c *Cluster, rounds int, load, patience time.Duration) error {
	l := &ledger{acked: make(map[string]int), open: make(map[string]int)}
	for round := range rounds {
		var stop atomic.Bool
		var wg sync.WaitGroup
		ctx, cancel := context.WithTimeout(context.Background(), load+time.Second)
		for w := range 8 {
			wg.Go(func() { l.write(ctx, c.DB, t, round*8+w, &stop) })
		}
		time.Sleep(load)
		for _, p := range c.Nodes {
			p.Pause() // all of them end at the same moment
		}
		for _, p := range c.Nodes {
			p.Kill()
		}
		stop.Store(true)
		cancel()
		wg.Wait()
		for _, p := range c.Nodes {
			p.Start()
		}
		_ = c.DB.Close()
		ctx, cancel = context.WithTimeout(context.Background(), patience)
		db, err := client.Open(ctx, c.Addrs(), client.WithRetryBudget(patience))
		if err == nil {
			c.DB = db
			err = l.check(ctx, c.DB)
		}
		cancel()
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		t.Logf("round %d: %d keys acknowledged and there", round, len(l.acked))
	}
	return nil
}

// So small that tables, the manifest, and what is no longer in the raft log matter within seconds.
const (
	smallMemTable = 256 << 10 // bytes
	smallSegment  = 64 << 10  // bytes
	shortLog      = 256       // entries
)

// TestKillAllLossy: kill -9 of all processes at once, on a filesystem that then loses everything that was not synced.
func TestKillAllLossy(t *testing.T) {
	t.Parallel()
	c := New(t, Options{SplitKeys: splitKeys(4), Lossy: true, MemTableBytes: smallMemTable, SegmentBytes: smallSegment, LogEntries: shortLog})
	if err := killAll(t, c, 3, time.Second, 30*time.Second); err != nil {
		t.Fatal(err)
	}
}

// TestKillAll is the same on the real filesystem.
func TestKillAll(t *testing.T) {
	t.Parallel()
	c := New(t, Options{SplitKeys: splitKeys(20)})
	if err := killAll(t, c, 2, time.Second, 30*time.Second); err != nil {
		t.Fatal(err)
	}
}

// recorder stands in for a test whose failure is expected.
type recorder struct {
	testing.TB
	failed atomic.Bool
}

func (r *recorder) Errorf(format string, args ...any) { r.failed.Store(true) }

// TestRemovedSyncIsFound proves that TestKillAllLossy sees what it should: without one kind of sync it must fail. In
// the ordinary run only the first kind is removed, the one of our own log, which every acknowledged write waits for;
// SKERRY_LONG=1 removes each in turn.
func TestRemovedSyncIsFound(t *testing.T) {
	t.Parallel()
	kinds := []struct {
		name, files   string
		memTableBytes int64
	}{
		{"raft log of the stores", `store/.*\.raft$`, smallMemTable},
		// Of this one only what is in no table yet is lost, and matters when the raft log has it no more.
		{"database log of the stores", `store/.*\.log$`, 0},
		{"logs of placement", `placement/.*\.(log|raft)$`, smallMemTable},
		{"manifest", `MANIFEST`, smallMemTable},
		{"tables", `\.sst$`, smallMemTable},
	}
	if os.Getenv("SKERRY_LONG") == "" {
		kinds = kinds[:1]
	}
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c := New(t, Options{SplitKeys: splitKeys(4), Lossy: true, SkipSync: k.files, MemTableBytes: k.memTableBytes, SegmentBytes: smallSegment, LogEntries: shortLog})
			r := &recorder{TB: t}
			err := killAll(r, c, 3, 2*time.Second, 12*time.Second)
			if err == nil && !r.failed.Load() {
				t.Fatalf("syncs of the %s were skipped, and nobody noticed", k.name)
			}
			t.Logf("found: %.300v", err)
		})
	}
}
