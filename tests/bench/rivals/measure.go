package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// sample is one measurement of one side.
type sample struct {
	rate           float64 // rows per second
	p50, p99, p999 time.Duration
	server, client float64       // CPU, microseconds per row
	after          float64       // CPU of servers from the end of the measurement until they were at rest, microseconds per row
	steal          float64       // percent of all cores that others took
	other          float64       // and that the other side's servers took
	idle           float64       // and that nobody took
	took           time.Duration // of a row that is timed, which has none of the above but steal
}

// warmup comes before each measurement and does not count.
const warmup = time.Second

// opTimeout bounds one operation; whatever takes longer is a failure.
const opTimeout = 30 * time.Second

// measure runs one row once, closed loop, while the other side is at rest.
func (b *bench) measure(ctx context.Context, side, other rival, r *row) (out *sample, err error) {
	if err := b.settle(ctx, other); err != nil {
		return nil, err
	}
	if r.kind == failover {
		return b.failover(ctx, side)
	}
	if r.warm > 0 {
		if _, err := b.load(ctx, side, put, r.clients, time.Duration(r.warm)*b.o.window, nil); err != nil {
			return nil, err
		}
	}
	if _, err := b.load(ctx, side, r.kind, r.clients, warmup, nil); err != nil {
		return nil, err
	}
	if s, ok := side.(*skerry); ok && b.o.profile != "" {
		p := s.profiles(b.o.window)
		defer func() { err = errors.Join(err, p.save(filepath.Join(b.o.profile, fileName(r.name)))) }()
	}
	out, _, err = b.count(ctx, side, other, r)
	return out, err
}

// count measures a row for one window, and says how many rows that were.
func (b *bench) count(ctx context.Context, side, other rival, r *row) (*sample, int64, error) {
	hist := hdrhistogram.New(1, int64(opTimeout/time.Microsecond), 3)
	before := machine()
	servers, others, own, begun := cpu(side.servers()), cpu(other.servers()), ownCPU(), time.Now()
	rows, err := b.load(ctx, side, r.kind, r.clients, b.o.window, hist)
	if err != nil {
		return nil, 0, err
	}
	took := time.Since(begun)
	spent := cpu(side.servers())
	servers, others, own = spent-servers, cpu(other.servers())-others, ownCPU()-own
	spell := machine().since(before)
	at := func(q float64) time.Duration {
		return time.Duration(hist.ValueAtQuantile(q)) * time.Microsecond
	}
	out := &sample{rate: float64(rows) / took.Seconds(), p50: at(50), p99: at(99), p999: at(99.9),
		server: float64(servers.Microseconds()) / float64(rows), client: float64(own.Microseconds()) / float64(rows),
		steal: percent(spell.stolen, spell.all), other: percent(others.Seconds()*100, spell.all), idle: percent(spell.idle, spell.all)}
	b.owing = owing{side: side, sample: out, rows: rows, spent: spent}
	return out, rows, nil
}

func percent(part, all float64) float64 { return 100 * part / max(all, 1) }

// load has clients work for a while and returns the rows that they moved.
func (b *bench) load(ctx context.Context, side rival, k kind, clients int, length time.Duration, hist *hdrhistogram.Histogram) (int64, error) {
	end := time.Now().Add(length)
	var mu sync.Mutex
	var sum int64
	err := each(clients, func(i int) error {
		op := side.op(k, b.keys, i)
		rnd := rand.New(rand.NewPCG(rand.Uint64(), uint64(i)))
		var took []int64
		rows := 0
		// One context for all of a client's operations: making one for each was a sixth of the generator's own time.
		ctx, cancel := context.WithDeadline(ctx, end.Add(opTimeout))
		defer cancel()
		for now := time.Now(); now.Before(end) && ctx.Err() == nil; {
			n, err := op(ctx, rnd)
			if err != nil {
				return err
			}
			rows += n
			then := time.Now()
			took = append(took, then.Sub(now).Microseconds())
			now = then
		}
		mu.Lock()
		defer mu.Unlock()
		sum += int64(rows)
		if hist != nil {
			for _, t := range took {
				_ = hist.RecordValue(max(t, 1))
			}
		}
		return nil
	})
	return sum, errors.Join(err, ctx.Err())
}

// each runs n workers and returns their errors.
func each(n int, f func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = f(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

var notName = regexp.MustCompile(`[^a-z0-9]+`)

func fileName(row string) string { return notName.ReplaceAllString(row, "-") }
