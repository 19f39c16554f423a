package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
)

// TestFillUnderLoad adds a store to three that hold many shards under a steady load of puts, and compares the latency of
// the puts while it fills with that of before. No put may fail. `make bench-fill` runs it with 1,000 shards.
//
// Puts are sent at fixed times whatever became of the others, and measured from the time at which they were due, so that a
// stall counts for all that it held back.
func TestFillUnderLoad(t *testing.T) {
	t.Parallel()
	shards := int(setting(t, "SKERRY_FILL", 12))
	rate := int(setting(t, "SKERRY_FILL_RATE", 500))
	before, patience := 5*time.Second, 3*time.Minute
	if shards >= 1000 {
		before, patience = time.Minute, 20*time.Minute
	}
	c := New(t, Options{Nodes: 4, Late: 1, Apart: 3, SplitKeys: splitKeys(shards)})
	g := &growth{t: t, c: c}
	g.within(3*time.Minute, "even over three stores", even(3))
	l := startSteady(c, shards, rate)
	time.Sleep(before / 4)
	l.take()
	time.Sleep(before)
	calm := l.take()
	c.Nodes[3].Start()
	g.within(patience, "even over four stores", even(4))
	filling := l.take()
	time.Sleep(before / 2)
	after := l.take()
	l.stop()
	for _, p := range []struct {
		name string
		of   []time.Duration
	}{{"before", calm}, {"while it fills", filling}, {"after", after}} {
		t.Logf("%-15s %7d puts, p50 %s, p99 %s, p99.9 %s", p.name, len(p.of), quantile(p.of, 0.5), quantile(p.of, 0.99), quantile(p.of, 0.999))
	}
	t.Logf("p99 while it fills: %.2f times that of before", float64(quantile(filling, 0.99))/float64(quantile(calm, 0.99)))
	if err := l.failed(); err != nil {
		t.Fatal(err)
	}
	sameOnAllReplicas(t, c)
}

// steady puts at a fixed rate, open loop.
type steady struct {
	done chan struct{}
	wg   sync.WaitGroup

	mu   sync.Mutex
	took []time.Duration
	err  error
}

// steadyTimeout bounds one put; one that takes longer has failed.
const steadyTimeout = 20 * time.Second

func startSteady(c *Cluster, shards, rate int) *steady {
	l := &steady{done: make(chan struct{})}
	value := make([]byte, 256)
	l.wg.Go(func() {
		rnd := rand.New(rand.NewPCG(1, 2))
		for due := time.Now(); ; due = due.Add(time.Second / time.Duration(rate)) {
			select {
			case <-l.done:
				return
			case <-time.After(time.Until(due)):
			}
			key := fmt.Appendf(nil, "k%03d/%d", rnd.IntN(shards)*1000/shards, rnd.IntN(100)) // see splitKeys
			l.wg.Go(func() { l.put(c.DB, key, value, due) })
		}
	})
	return l
}

func (l *steady) put(db *client.DB, key, value []byte, due time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), steadyTimeout)
	defer cancel()
	err := db.Put(ctx, key, value)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, time.Since(due))
	if err != nil && l.err == nil {
		l.err = err
	}
}

// take returns the latencies since the last call, sorted.
func (l *steady) take() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.took
	l.took = nil
	slices.Sort(out)
	return out
}

func (l *steady) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *steady) stop() {
	close(l.done)
	l.wg.Wait()
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))].Round(10 * time.Microsecond)
}
