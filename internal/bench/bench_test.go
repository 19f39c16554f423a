package bench

import (
	"context"
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/client"
)

// fakeDB answers after a fixed time and stands still from stallAt for stall. It is used inside a synctest bubble, so all
// times are exact.
type fakeDB struct {
	latency        time.Duration
	begin          time.Time
	stallAt, stall time.Duration
	failEvery      int

	mu    sync.Mutex
	data  map[string]int
	gets  int
	puts  int
	scans int

	updates int // the load among them
}

func (f *fakeDB) serve() {
	time.Sleep(f.latency)
	if d := time.Since(f.begin) - f.stallAt; f.stall > 0 && d >= 0 && d < f.stall {
		time.Sleep(f.stall - d)
	}
}

func (f *fakeDB) Get(_ context.Context, key []byte, _ ...client.ReadOption) ([]byte, error) {
	f.serve()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gets++
	if _, ok := f.data[string(key)]; !ok {
		return nil, &client.Error{Op: "get", Kind: client.ErrNotFound}
	}
	return nil, nil
}

func (f *fakeDB) Put(_ context.Context, key, value []byte, _ ...client.PutOption) error {
	f.serve()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.puts++; f.failEvery > 0 && f.puts%f.failEvery == 0 {
		return &client.Error{Op: "put", Kind: client.ErrAmbiguous}
	}
	f.put(key, value)
	return nil
}

func (f *fakeDB) put(key, value []byte) {
	if f.data == nil {
		f.data = make(map[string]int)
	}
	f.data[string(key)] = len(value)
}

func (f *fakeDB) PutMany(_ context.Context, kvs []client.KV, _ ...client.PutOption) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, kv := range kvs {
		f.put(kv.Key, kv.Value)
	}
	return nil
}

func (f *fakeDB) Scan(context.Context, client.Range, ...client.ScanOption) iter.Seq2[client.KV, error] {
	return func(func(client.KV, error) bool) {
		f.serve()
		f.mu.Lock()
		defer f.mu.Unlock()
		f.scans++
	}
}

func (f *fakeDB) Update(context.Context, func(tx *client.Txn) error, ...client.TxnOption) error {
	f.serve()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.updates++
	return nil
}

func options(t *testing.T, workload string) Options {
	t.Helper()
	w, err := ByName(workload)
	if err != nil {
		t.Fatal(err)
	}
	return Options{Workload: w, Clients: 10, Duration: 10 * time.Second, Keys: 1000, ValueSize: 10, ScanLength: 10, Prefix: "b/", Seed: 1}
}

// TestStallShows: a cluster that answers in 1 ms stands still for 1 s of 10. Under an open loop a tenth of the operations
// were due in that second and waited half a second on average; a closed loop hides all but one operation per client.
func TestStallShows(t *testing.T) {
	run := func(t *testing.T, rate float64) *Result {
		var res *Result
		synctest.Test(t, func(t *testing.T) {
			db := &fakeDB{latency: time.Millisecond, begin: time.Now(), stallAt: 5 * time.Second, stall: time.Second}
			o := options(t, "put")
			o.Rate = rate
			var err error
			if res, err = Run(t.Context(), db, o); err != nil {
				t.Fatal(err)
			}
		})
		return res
	}
	open := run(t, 1000)
	l := open.Latencies[0]
	if open.Operations != 10_000 || open.NotStarted != 0 || open.Loop != "open" {
		t.Errorf("open: %+v", open)
	}
	if l.P50 != 1000 || l.P90 > 300_000 || l.P95 < 400_000 || l.P99 < 850_000 || l.Max < 990_000 {
		t.Errorf("open: a second of standing still does not show as it should: %+v", l)
	}
	closed := run(t, 0)
	if l := closed.Latencies[0]; l.P999 != 1000 || l.Max < 990_000 || closed.Operations != 10*9_000 {
		t.Errorf("closed: %+v", closed)
	}
}

// TestTooMuch: what an open loop asks for beyond what the clients can do is counted and not forgotten.
func TestTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{latency: 100 * time.Millisecond}
		o := options(t, "put")
		o.Rate, o.Warmup = 1000, time.Second // ten clients can do 100
		res, err := Run(t.Context(), db, o)
		if err != nil {
			t.Fatal(err)
		}
		// Of 11,000 operations 1,100 were sent, 1,000 of them due in the warm-up.
		if res.Operations+res.NotStarted != 10_000 || res.NotStarted < 9_800 {
			t.Errorf("%d done and %d not started of 10,000 that were due", res.Operations, res.NotStarted)
		}
	})
}

// TestErrorsAndTicks: operations that fail are counted apart and do not end the run; ticks add up to the result.
func TestErrorsAndTicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := &fakeDB{latency: 10 * time.Millisecond, failEvery: 10}
		o := options(t, "put")
		o.Warmup = 2 * time.Second
		var ticks []Interval
		o.Tick = func(i Interval) { ticks = append(ticks, i) }
		res, err := Run(t.Context(), db, o)
		if err != nil {
			t.Fatal(err)
		}
		if n := res.Errors["ambiguous"]; n != 1000 || res.Operations != 9000 || !strings.Contains(res.FirstError, "outcome unknown") {
			t.Errorf("%d ambiguous, %d done, %q", n, res.Operations, res.FirstError)
		}
		if len(ticks) != 11 || !ticks[1].Warmup || ticks[2].Warmup || math.Abs(ticks[2].OpsPerSec-900) > 20 || ticks[2].P50.Round(time.Millisecond) != 10*time.Millisecond {
			t.Errorf("ticks: %v", ticks)
		}
	})
}

// TestMixes: every workload does what its shares say, on records that are there.
func TestMixes(t *testing.T) {
	for _, w := range Workloads() {
		synctest.Test(t, func(t *testing.T) {
			db := &fakeDB{latency: time.Millisecond}
			o, loads := options(t, w.Name), 0
			o.Begun = func() { loads = db.updates }
			res, err := Run(t.Context(), db, o)
			if err != nil || res.NotFound != 0 || res.Operations != int64(db.gets+db.puts+db.scans+db.updates-loads)-rmw(res) {
				t.Fatalf("%s: %+v, %v", w.Name, res, err)
			}
			sum := 0
			for k, share := range w.Share {
				sum += share
				for _, l := range res.Latencies {
					if l.Op == Kind(k).String() && math.Abs(100*float64(l.Count)/float64(res.Operations)-float64(share)) > 1 {
						t.Errorf("%s: %d of %d were %s, want %d %%", w.Name, l.Count, res.Operations, l.Op, share)
					}
				}
			}
			if sum != 100 {
				t.Errorf("%s: shares add up to %d", w.Name, sum)
			}
			if w.Share[Insert] > 0 && len(db.data) < 5000 {
				t.Errorf("%s: only %d records after inserts", w.Name, len(db.data))
			}
		})
	}
}

// rmw is how many operations took two calls.
func rmw(res *Result) (n int64) {
	for _, l := range res.Latencies {
		if l.Op == ReadModifyWrite.String() {
			n += l.Count
		}
	}
	return n
}

// TestCancel: a run ends with its context.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{0, 10} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			o := options(t, "get")
			o.Rate = rate
			if _, err := Run(ctx, &fakeDB{latency: time.Millisecond}, o); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("rate %v: %v", rate, err)
			}
			cancel()
		}
	})
}

// TestZipf compares the drawn ranks with the exact probabilities, for numbers of records that change from draw to draw.
func TestZipf(t *testing.T) {
	const draws = 200_000
	for _, n := range []uint64{1, 2, 10, 1000} {
		rng := rand.New(rand.NewPCG(1, n))
		z := newZipf(zipfExponent)
		count := make([]float64, n+1)
		for range draws {
			k := z.rank(rng, n)
			if k < 1 || k > n {
				t.Fatalf("rank %d of %d", k, n)
			}
			count[k]++
			z.rank(rng, 1+rng.Uint64N(1<<40)) // must leave no trace
		}
		sum := 0.0
		for k := uint64(1); k <= n; k++ {
			sum += math.Pow(float64(k), -zipfExponent)
		}
		for k := uint64(1); k <= min(n, 20); k++ {
			want := draws * math.Pow(float64(k), -zipfExponent) / sum
			if sigma := math.Sqrt(want) + 1e-9; math.Abs(count[k]-want) > 5*sigma {
				t.Errorf("n=%d: rank %d was drawn %.0f times, want %.0f±%.0f", n, k, count[k], want, sigma)
			}
		}
	}
}

// TestChoosers: indexes are in range; latest prefers the newest, zipfian the first, uniform nobody.
func TestChoosers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(1, 1<<50).Draw(t, "n")
		dist := rapid.SampledFrom([]Distribution{Uniform, Zipfian, Latest}).Draw(t, "dist")
		c := newChooser(dist, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)))
		for range 100 {
			if i := c.next(n); i >= n {
				t.Fatalf("%s chose %d of %d", dist, i, n)
			}
		}
	})
	const n, draws = 1000, 20_000
	first := func(d Distribution, at uint64) (hits int) {
		c := newChooser(d, rand.New(rand.NewPCG(3, 3)))
		for range draws {
			if c.next(n) == at {
				hits++
			}
		}
		return hits
	}
	if z, l, u := first(Zipfian, 0), first(Latest, n-1), first(Uniform, 0); z < draws/10 || l < draws/10 || u > draws/200 {
		t.Errorf("the favourite was chosen %d, %d and %d times of %d", z, l, u, draws)
	}
}

// TestKeysDiffer: no two records share a key, and keys have one length, so that they order as numbers do.
func TestKeysDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for i := range uint64(10_000) {
		k := string(keyOf("p/", i))
		if seen[k] || len(k) != 18 {
			t.Fatalf("key %q of record %d", k, i)
		}
		seen[k] = true
	}
}

// TestAckedRecords: records become visible in order, without a gap, whatever the order in which inserts end.
func TestAckedRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		order := rapid.Permutation([]uint64{5, 6, 7, 8, 9, 10}).Draw(t, "order")
		var r records
		r.acked.Store(5)
		done := map[uint64]bool{}
		for _, i := range order {
			r.ack(i)
			done[i] = true
			want := uint64(5)
			for done[want] {
				want++
			}
			if got := r.acked.Load(); got != want {
				t.Fatalf("after %v: acked %d, want %d", done, got, want)
			}
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"distribution": func(o *Options) { o.Distribution = "gaussian" },
		"client":       func(o *Options) { o.Clients = 0 },
		"duration":     func(o *Options) { o.Duration = 0 },
		"scan length":  func(o *Options) { o.ScanLength = 0 },
		"rate":         func(o *Options) { o.Rate = -1 },
	} {
		o := options(t, "scan")
		change(&o)
		if _, err := Run(t.Context(), &fakeDB{}, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want something about %q", err, want)
		}
	}
}
