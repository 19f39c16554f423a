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
// the puts while it fills with that of when nothing is moved. No put may fail. `make bench-fill` runs it with 1,000 shards.
//
// A shared machine changes by more than what is looked for within minutes, so the two take turns: placement fills the store
// for a while, is paused for as long, and so on; each turn of filling is compared with the two calm ones beside it.
//
// Puts are sent at fixed times whatever became of the others, and measured from the time at which they were due, so that a
// stall counts for all that it held back.
func TestFillUnderLoad(t *testing.T) {
	t.Parallel()
	shards := int(setting(t, "SKERRY_FILL", 12))
	rate := int(setting(t, "SKERRY_FILL_RATE", 500))
	turn, turns, patience := time.Second, 2, 3*time.Minute
	if shards >= 1000 {
		turn, turns, patience = 20*time.Second, 15, 20*time.Minute
	}
	c := New(t, Options{Nodes: 4, Late: 1, Apart: 3, SplitKeys: splitKeys(shards)})
	g := &growth{t: t, c: c}
	g.within(3*time.Minute, "even over three stores", even(3))
	l := startSteady(c, shards, rate)
	f := &filling{growth: g, load: l, turn: turn}
	f.rest() // connections, caches
	f.calm()
	c.Nodes[3].Start()
	g.within(time.Minute, "a fourth store", func(_ []client.ShardInfo, stores []client.StoreInfo) string {
		return unless(len(stores) == 4, "%d stores", len(stores))
	})
	for range turns {
		f.fill()
		f.calm()
	}
	f.pause(0)
	l.take()
	g.within(patience, "even over four stores", even(4))
	rest := l.take()
	l.stop()
	f.report()
	t.Logf("the rest in one go: %s", latencies(rest))
	if err := l.failed(); err != nil {
		t.Fatal(err)
	}
	sameOnAllReplicas(t, c)
}

// filling is a store's, in turns.
type filling struct {
	*growth
	load         *steady
	turn         time.Duration
	calms, fills [][]time.Duration // latencies, sorted; a turn of fills lies between two of calms
}

// pause keeps placement from beginning anything; 0 lets it go on.
func (f *filling) pause(length time.Duration) {
	f.t.Helper()
	if err := f.c.DB.Admin().PauseScheduling(context.Background(), length); err != nil {
		f.t.Fatal(err)
	}
}

// rest pauses placement and waits until nothing is under way.
func (f *filling) rest() {
	f.pause(time.Hour)
	f.within(time.Minute, "at rest", func([]client.ShardInfo, []client.StoreInfo) string {
		s, err := f.c.DB.Admin().Scheduling(context.Background())
		return unless(err == nil && s.Operators == 0, "%d operators, %v", s.Operators, err)
	})
	time.Sleep(f.turn / 5) // what the last ones left behind
}

func (f *filling) calm() {
	f.rest()
	f.calms = append(f.calms, f.measure())
}

func (f *filling) fill() {
	f.pause(0)
	time.Sleep(f.turn / 5) // the first operators begin
	f.fills = append(f.fills, f.measure())
}

func (f *filling) measure() []time.Duration {
	f.load.take()
	time.Sleep(f.turn)
	return f.load.take()
}

// report logs the turns, and the median of how much longer puts took in those that filled.
func (f *filling) report() {
	p99 := func(of []time.Duration) float64 { return float64(quantile(of, 0.99)) }
	var times []float64
	for i, of := range f.fills {
		beside := (p99(f.calms[i]) + p99(f.calms[i+1])) / 2
		times = append(times, p99(of)/beside)
		f.t.Logf("turn %2d: p99 %6.2f ms while it fills, %6.2f ms beside it: %.2f times", i+1, p99(of)/1e6, beside/1e6, times[i])
	}
	f.t.Logf("nothing is moved: %s", latencies(slices.Concat(f.calms...)))
	f.t.Logf("while it fills:   %s", latencies(slices.Concat(f.fills...)))
	slices.Sort(times)
	f.t.Logf("p99 while it fills: %.2f times that of when nothing is moved (median of %d turns, quartiles %.2f and %.2f)",
		times[len(times)/2], len(times), times[len(times)/4], times[len(times)*3/4])
}

// latencies says how long puts took.
func latencies(of []time.Duration) string {
	slices.Sort(of)
	return fmt.Sprintf("%d puts, p50 %s, p99 %s, p99.9 %s", len(of), quantile(of, 0.5), quantile(of, 0.99), quantile(of, 0.999))
}

// steady puts at a fixed rate, open loop.
type steady struct {
	done chan struct{}
	wg   sync.WaitGroup

	mu   sync.Mutex
	puts []timedPut
	err  error
}

// timedPut is one put, and when it was due and ended.
type timedPut struct{ due, ended time.Time }

func (p timedPut) took() time.Duration { return p.ended.Sub(p.due) }

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
	l.puts = append(l.puts, timedPut{due, time.Now()})
	if err != nil && l.err == nil {
		l.err = err
	}
}

// take returns the latencies since the last call, sorted.
func (l *steady) take() []time.Duration {
	var out []time.Duration
	for _, p := range l.takePuts() {
		out = append(out, p.took())
	}
	slices.Sort(out)
	return out
}

// takePuts returns the puts that ended since the last call.
func (l *steady) takePuts() []timedPut {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.puts
	l.puts = nil
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
