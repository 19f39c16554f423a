// Command rivals measures Skerry beside etcd on one machine: three members of etcd and three nodes of Skerry, each a store
// and a placement member, as processes on loopback with real fsync, driven by the same generator with the same keys,
// values, clients and number of connections, in turns. It writes a table and a plot into docs.
//
// A module of its own keeps etcd's server out of the main module's dependencies. `make bench-rivals` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"time"
)

// options of a run.
type options struct {
	rounds  int
	window  time.Duration
	fill    int64 // bytes of values written to each side before anything is measured
	rows    *regexp.Regexp
	docs    string // folder of performance.md; empty: the table goes to standard output only
	dir     string // for data
	costs   bool   // Skerry alone, by stage
	profile string // folder for CPU profiles of Skerry's leaders; empty: none
}

func main() {
	o := options{}
	flag.IntVar(&o.rounds, "rounds", 3, "how often each side is measured, in turns")
	flag.DurationVar(&o.window, "window", 6*time.Second, "how long a measurement takes")
	flag.Int64Var(&o.fill, "fill", 1<<30, "bytes of values on each side before the first measurement")
	rows := flag.String("rows", ".", "regular expression: which rows")
	flag.StringVar(&o.docs, "docs", "", "folder whose performance.md gets the table")
	flag.StringVar(&o.profile, "profile", "", "folder for CPU profiles of Skerry's processes, one per node and row, and of the clients")
	flag.BoolVar(&o.costs, "costs", false, "measure Skerry alone, and print what an operation costs by stage")
	flag.StringVar(&o.dir, "dir", "", "folder for the data; a temporary one by default")
	flag.Parse()
	debug.SetGCPercent(400) // the generator's own heap is small: it would collect all the time, beside both
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, *rows); err != nil {
		fmt.Fprintln(os.Stderr, "rivals:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, rows string) (err error) {
	if o.rows, err = regexp.Compile(rows); err != nil {
		return err
	}
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "rivals"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	bin, err := build(ctx, o.dir)
	if err != nil {
		return err
	}
	b := &bench{o: o, bin: bin, keys: newKeyspace(o.fill)}
	defer b.close()
	if o.costs {
		sheets, err := b.costs(ctx)
		fmt.Print(sheetTable(sheets))
		if err != nil || o.docs == "" {
			return err
		}
		return writeCosts(filepath.Clean(o.docs), o, sheets)
	}
	for _, l := range layouts {
		if err := b.layout(ctx, l); err != nil {
			fmt.Print(tables(b.results)) // it took most of an hour, perhaps
			return fmt.Errorf("%s: %w", l.name, err)
		}
	}
	fmt.Print(tables(b.results))
	if o.docs == "" {
		return nil
	}
	return writeDocs(filepath.Clean(o.docs), o, b.results)
}

// bench is one run: etcd lives through all layouts that want it alike, Skerry begins anew with each.
type bench struct {
	o       options
	bin     binaries
	keys    *keyspace
	etcd    *etcd
	results []*result
	owing   owing // see settle
}

func (b *bench) close() {
	if b.etcd != nil {
		b.etcd.close()
		b.etcd = nil
	}
}

// chosen are the rows of a layout that were asked for.
func (b *bench) chosen(l layout) (rows []*row) {
	for i := range l.rows {
		if b.o.rows.MatchString(l.name + " " + l.rows[i].name) {
			rows = append(rows, &l.rows[i])
		}
	}
	return rows
}

// layout measures the rows of one layout of Skerry's shards.
func (b *bench) layout(ctx context.Context, l layout) error {
	rows := b.chosen(l)
	if len(rows) == 0 {
		return nil
	}
	if err := b.startEtcd(ctx, l); err != nil {
		return err
	}
	s, err := startSkerry(ctx, b.bin, filepath.Join(b.o.dir, "skerry"), l)
	if err != nil {
		return err
	}
	defer s.close()
	if err := b.fill(ctx, s); err != nil {
		return err
	}
	for _, r := range rows {
		if err := b.row(ctx, l, r, s); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	return nil
}

// startEtcd starts and fills etcd, unless it runs as the layout wants it.
func (b *bench) startEtcd(ctx context.Context, l layout) (err error) {
	if b.etcd != nil && b.etcd.patient == l.patient {
		return nil
	}
	b.close()
	if b.etcd, err = startEtcd(ctx, b.bin, filepath.Join(b.o.dir, "etcd-"+fileName(l.name)), l.patient); err != nil {
		return err
	}
	return b.fill(ctx, b.etcd)
}

// fill writes every key once.
func (b *bench) fill(ctx context.Context, r rival) error {
	begun := time.Now()
	if err := r.fill(ctx, b.keys); err != nil {
		return fmt.Errorf("fill %s: %w", r.name(), err)
	}
	fmt.Fprintf(os.Stderr, "%s: %d MiB in %d keys after %.0f s\n", r.name(), b.o.fill>>20, b.keys.n, time.Since(begun).Seconds())
	return nil
}

// maxTaken is how much of the machine others, and as much again the other side, may take during a measurement, in percent of all
// cores; a measurement with more is taken again, at most maxAgain times a row.
const (
	maxTaken = 5.0
	maxAgain = 6
)

// row measures one row: etcd, Skerry, etcd, Skerry…
func (b *bench) row(ctx context.Context, l layout, r *row, s *skerry) error {
	res := &result{layout: l.name, row: r}
	again := 0
	for round := 0; round < r.rounds(&b.o); round++ {
		for _, sides := range [][2]rival{{b.etcd, s}, {s, b.etcd}} {
			side, other := sides[0], sides[1]
			sample, err := b.measure(ctx, side, other, r)
			if err != nil {
				return fmt.Errorf("%s: %w", side.name(), err)
			}
			for (sample.steal > maxTaken || sample.other > maxTaken) && again < maxAgain {
				again++
				if sample, err = b.measure(ctx, side, other, r); err != nil {
					return err
				}
			}
			if side == rival(b.etcd) {
				res.etcd = append(res.etcd, sample)
			} else {
				res.skerry = append(res.skerry, sample)
			}
			fmt.Fprintf(os.Stderr, "%-12s %-28s %-7s %s steal %.1f %%, other side %.1f %%\n", l.name, r.name, side.name(), sample.text(r), sample.steal, sample.other)
		}
	}
	if err := b.settle(ctx, s); err != nil { // for what the last measurement still costs
		return err
	}
	b.results = append(b.results, res)
	return nil
}

// text is one measurement in a line.
func (s *sample) text(r *row) string {
	if r.timed() {
		return short(s.took)
	}
	return fmt.Sprintf("%9.0f/s p50 %-8s p99 %-8s cpu %.1f+%.1f µs", s.rate, s.p50, s.p99, s.server, s.client)
}
