package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// CostOptions say how the cost of small transactions is measured.
type CostOptions struct {
	Rounds    int           // of all measurements, in turns
	Window    time.Duration // of one measurement
	Clients   int           // of the measurements of throughput
	ValueSize int
	Prefix    string // of all keys
	Seed      uint64
	Told      func(line string) // hears how it goes; may be nil
}

// Cost is what small transactions cost beside raw puts of the same values, in the same run. Ratios are medians over the
// rounds: each is of two measurements that came right after each other.
type Cost struct {
	SchemaVersion int       `json:"schema_version"`
	Rounds        int       `json:"rounds"`
	ValueSize     int       `json:"value_size"`
	Rows          []CostRow `json:"rows"`
	samples       [][]sampleOf
}

// CostRow is one measurement.
type CostRow struct {
	What      string  `json:"what"`
	Clients   int     `json:"clients"`
	PerSec    float64 `json:"ops_per_second"` // medians over the rounds
	P50       float64 `json:"p50_us"`
	P99       float64 `json:"p99_us"`
	RateRatio float64 `json:"rate_ratio"` // to the raw put of as many clients; 0 of that itself
	P50Ratio  float64 `json:"p50_ratio"`
	Bar       string  `json:"bar,omitempty"`
	Met       bool    `json:"met"`
}

type sampleOf struct{ rate, p50, p99 float64 }

// costKinds are the measurements: base says which one it is compared with.
var costKinds = []struct {
	what    string
	many    bool // as many clients as the options say, or one
	base    int  // index; -1: it is a base itself
	latency float64
	rate    float64
	do      func(w *costWorker, ctx context.Context) error
}{
	{what: "raw put", base: -1, do: (*costWorker).put},
	{what: "transaction of one key", base: 0, latency: 1.5, do: (*costWorker).one},
	{what: "transaction of two keys in two shards", base: 0, latency: 2.5, do: (*costWorker).two},
	{what: "raw put", many: true, base: -1, do: (*costWorker).put},
	{what: "transaction of one key", many: true, base: 3, rate: 0.6, do: (*costWorker).one},
}

type costWorker struct {
	db  *client.DB
	o   *CostOptions
	rng *rand.Rand
}

func (w *costWorker) key(half string) []byte {
	return fmt.Appendf(nil, "%s%s%08x", w.o.Prefix, half, w.rng.Uint32()>>8)
}

func (w *costWorker) put(ctx context.Context) error {
	return w.db.Put(ctx, w.key("a"), valueOf(w.rng, w.o.ValueSize))
}

func (w *costWorker) one(ctx context.Context) error {
	key, value := w.key("a"), valueOf(w.rng, w.o.ValueSize)
	return w.db.Update(ctx, func(tx *client.Txn) error { return tx.Put(key, value) })
}

func (w *costWorker) two(ctx context.Context) error {
	a, b, value := w.key("a"), w.key("z"), valueOf(w.rng, w.o.ValueSize)
	return w.db.Update(ctx, func(tx *client.Txn) error {
		if err := tx.Put(a, value); err != nil {
			return err
		}
		return tx.Put(b, value)
	})
}

// TxnCost measures it. It cuts the transactional keys in two, if they are not.
func TxnCost(ctx context.Context, db *client.DB, o CostOptions) (*Cost, error) {
	if o.Rounds < 1 || o.Window <= 0 || o.Clients < 1 {
		return nil, errors.New("at least one round, one client and a window above zero are needed")
	}
	if err := cutInTwo(ctx, db, []byte(o.Prefix+"m")); err != nil {
		return nil, fmt.Errorf("cut the transactional keys in two: %w", err)
	}
	c := &Cost{SchemaVersion: output.SchemaVersion, Rounds: o.Rounds, ValueSize: o.ValueSize, samples: make([][]sampleOf, len(costKinds))}
	for round := -1; round < o.Rounds; round++ { // the first one warms up
		for i := range costKinds {
			s, err := costWindow(ctx, db, &o, i, uint64(round+1))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", costKinds[i].what, err)
			}
			if round < 0 {
				continue
			}
			c.samples[i] = append(c.samples[i], s)
			if o.Told != nil {
				o.Told(fmt.Sprintf("round %d  %-40s %9s ops/s  p50 %s", round+1, costKinds[i].what, output.Count(int64(s.rate)), output.Duration(micros(int64(s.p50)))))
			}
		}
	}
	c.sum(&o)
	return c, nil
}

func cutInTwo(ctx context.Context, db *client.DB, key []byte) error {
	at := mvcc.Key(key)
	for s, err := range db.Admin().Shards(ctx) {
		if err != nil {
			return err
		}
		if s.Range.Contains(at) {
			_, err := db.Admin().SplitTxn(ctx, s.ID, key)
			return err
		}
	}
	return errors.New("no shard holds them")
}

// costWindow measures one kind once.
func costWindow(ctx context.Context, db *client.DB, o *CostOptions, kind int, round uint64) (sampleOf, error) {
	k := &costKinds[kind]
	clients := 1
	if k.many {
		clients = o.Clients
	}
	var mu sync.Mutex
	var all []float64
	var first error
	begun := time.Now()
	end := begun.Add(o.Window)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			w := &costWorker{db: db, o: o, rng: rand.New(rand.NewPCG(o.Seed+round<<32, uint64(kind)<<32|uint64(i)))}
			var took []float64
			var err error
			for now := time.Now(); now.Before(end) && err == nil; {
				err = k.do(w, ctx)
				then := time.Now()
				took = append(took, float64(then.Sub(now).Microseconds()))
				now = then
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if first == nil {
				first = err
			}
		})
	}
	wg.Wait()
	if first != nil {
		return sampleOf{}, first
	}
	slices.Sort(all)
	return sampleOf{rate: float64(len(all)) / time.Since(begun).Seconds(), p50: all[len(all)/2], p99: all[len(all)*99/100]}, nil
}

func medianOf(n int, f func(i int) float64) float64 {
	v := make([]float64, n)
	for i := range v {
		v[i] = f(i)
	}
	slices.Sort(v)
	return v[n/2]
}

func (c *Cost) sum(o *CostOptions) {
	for i := range costKinds {
		k, s := &costKinds[i], c.samples[i]
		row := CostRow{What: k.what, Clients: 1, Met: true}
		if k.many {
			row.Clients = o.Clients
		}
		row.PerSec = medianOf(len(s), func(r int) float64 { return s[r].rate })
		row.P50 = medianOf(len(s), func(r int) float64 { return s[r].p50 })
		row.P99 = medianOf(len(s), func(r int) float64 { return s[r].p99 })
		if k.base >= 0 {
			b := c.samples[k.base]
			row.RateRatio = medianOf(len(s), func(r int) float64 { return s[r].rate / b[r].rate })
			row.P50Ratio = medianOf(len(s), func(r int) float64 { return s[r].p50 / b[r].p50 })
		}
		switch {
		case k.latency > 0:
			row.Bar, row.Met = fmt.Sprintf("p50 <= %gx", k.latency), row.P50Ratio <= k.latency
		case k.rate > 0:
			row.Bar, row.Met = fmt.Sprintf("rate >= %gx", k.rate), row.RateRatio >= k.rate
		}
		c.Rows = append(c.Rows, row)
	}
}

// Print writes the result for people.
func (c *Cost) Print(w io.Writer) error {
	fmt.Fprintf(w, "%s values, medians of %d rounds; ratios to the raw put of as many clients\n\n", output.Bytes(float64(c.ValueSize)), c.Rounds)
	var rows [][]string
	for _, r := range c.Rows {
		rate, p50, met := "", "", ""
		if r.RateRatio > 0 {
			rate, p50 = fmt.Sprintf("%.2fx", r.RateRatio), fmt.Sprintf("%.2fx", r.P50Ratio)
		}
		if r.Bar != "" {
			met = map[bool]string{true: "yes", false: "no"}[r.Met]
		}
		rows = append(rows, []string{r.What, fmt.Sprint(r.Clients), output.Count(int64(r.PerSec)), output.Duration(micros(int64(r.P50))),
			output.Duration(micros(int64(r.P99))), rate, p50, r.Bar, met})
	}
	return output.WriteTable(w, []string{"OP", "CLIENTS", "OPS/S", "P50", "P99", "RATE", "P50 RATIO", "BAR", "MET"}, rows)
}
