package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/bench"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/cli/progress"
	"github.com/skerrydb/skerry/internal/fault"
)

// benchTickInterval is how often a running benchmark says how it is going.
const benchTickInterval = 5 * time.Second

// sizeFlag is a number of bytes such as 64MiB.
type sizeFlag int64

func (s *sizeFlag) String() string { return output.FormatSize(int64(*s)) }
func (s *sizeFlag) Type() string   { return "size" }

func (s *sizeFlag) Set(text string) error {
	n, err := output.ParseSize(text)
	*s = sizeFlag(n)
	return err
}

type benchFlags struct {
	o            bench.Options
	workload     string
	distribution string
	valueSize    sizeFlag
	cleanup      bool
	output       *output.Format
}

func (a *app) benchCmd() *cobra.Command {
	var about strings.Builder
	for _, w := range bench.Workloads() {
		fmt.Fprintf(&about, "  %-9s %s\n", w.Name, w.About)
	}
	fmt.Fprintf(&about, "  %-9s %s\n", txnCost, "raw puts, and transactions of one and of two keys, in turns, and their ratios")
	cmd := &cobra.Command{
		Use:   "bench [WORKLOAD]",
		Short: "put load on a cluster and measure it",
		Long: `Bench measures a workload:

` + about.String() + `
Workloads that read write all their records first, unless --skip-load says that they are
there. Clients send one operation after the other, which finds out how much the cluster
can do. With --rate operations are due at fixed times, and latency counts from then: that
is what users feel when the cluster stalls.`,
		Args: cobra.MaximumNArgs(1),
	}
	f := benchFlags{valueSize: 1 << 10}
	fs := cmd.Flags()
	fs.StringVar(&f.workload, "workload", "", "the workload, instead of an argument")
	fs.IntVar(&f.o.Clients, "clients", 64, "operations under way at once")
	fs.DurationVar(&f.o.Duration, "duration", 30*time.Second, "how long to measure")
	fs.DurationVar(&f.o.Warmup, "warmup", 2*time.Second, "how long to run before measuring")
	fs.Uint64Var(&f.o.Keys, "keys", 0, "records (default the workload's, 100,000 where nothing is said)")
	fs.Var(&f.valueSize, "value-size", "size of a value")
	fs.StringVar(&f.distribution, "distribution", "", "uniform, zipfian or latest (default the workload's)")
	fs.Float64Var(&f.o.Rate, "rate", 0, "operations a second of all clients together (default as many as they can)")
	fs.IntVar(&f.o.ScanLength, "scan-length", 100, "a scan takes 1 to that many keys")
	fs.StringVar(&f.o.Prefix, "prefix", "bench/", "`key` before every key")
	fs.Uint64Var(&f.o.Seed, "seed", 1, "of all random choices")
	fs.BoolVar(&f.o.SkipLoad, "skip-load", false, "the records are there")
	fs.BoolVar(&f.cleanup, "cleanup", false, "delete all keys with the prefix afterwards")
	f.output = outputFlag(cmd, false)
	a.clientFlags(cmd)
	cmd.ValidArgs = append(cmd.ValidArgs, txnCost)
	for _, w := range bench.Workloads() {
		cmd.ValidArgs = append(cmd.ValidArgs, w.Name)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 == (f.workload != "") {
			return usagef("name one workload: %s", bench.Names())
		}
		name := strings.Join(append(args, f.workload), "")
		if name == txnCost {
			return a.withDB(cmd, func(ctx context.Context, s *session) error { return a.benchCost(ctx, s, &f) })
		}
		w, err := bench.ByName(name)
		if err != nil {
			return fault.With(fault.BadUsage, err)
		}
		if f.cleanup && f.o.Prefix == "" {
			return usagef("--cleanup without a prefix would delete all keys of the cluster; give a --prefix")
		}
		f.o.Workload, f.o.ValueSize, f.o.Distribution = w, int(f.valueSize), bench.Distribution(f.distribution)
		return a.withDB(cmd, func(ctx context.Context, s *session) error { return a.bench(ctx, s, &f) })
	}
	return cmd
}

func (a *app) bench(ctx context.Context, s *session, f *benchFlags) error {
	o := f.o
	o.Every = benchTickInterval
	var load *progress.Progress
	if o.Workload.Load && !o.SkipLoad {
		keys := int64(o.Records())
		bytes := keys * int64(o.ValueSize+len(o.Prefix)+16)
		if o.Workload.Txn {
			bytes = keys * int64(8+len(o.Prefix)+16)
		}
		load = progress.New(progress.Options{Out: a.err, Terminal: isTerminal(a.err), Verb: "load", Keys: keys, Bytes: bytes})
		o.Loaded = load.Add
	}
	o.Begun = func() {
		if load != nil {
			fmt.Fprintf(a.err, "loaded %s\n", load.Done())
			load = nil
		}
	}
	o.Tick = func(i bench.Interval) { fmt.Fprintln(a.err, i) }
	res, err := bench.Run(ctx, s, o)
	if load != nil {
		load.Done()
	}
	if err != nil {
		return fault.With(fault.BadUsage, fmt.Errorf("bench %s: %w", o.Workload.Name, err))
	}
	if f.cleanup {
		if err := cleanUp(ctx, s, &o); err != nil {
			return fmt.Errorf("clean up: %w; `%s del --prefix %s --yes` goes on", err, a.name, output.Escape([]byte(o.Prefix)))
		}
	}
	if err := printResult(a, res, *f.output); err != nil {
		return err
	}
	if res.Operations == 0 {
		return fault.Errorf(fault.Unavailable, "bench %s: not one operation succeeded: %s", o.Workload.Name, res.FirstError)
	}
	return nil
}

// cleanupPageKeys is how many transactional keys go in one transaction.
const cleanupPageKeys = 1000

// cleanUp deletes what the benchmark wrote.
func cleanUp(ctx context.Context, s *session, o *bench.Options) error {
	if !o.Workload.Txn {
		return s.DeleteRange(ctx, client.Prefix(o.Prefix))
	}
	for {
		n := 0
		err := s.Update(ctx, func(tx *client.Txn) error {
			n = 0
			for kv, err := range tx.Scan(client.Prefix(o.Prefix), client.KeysOnly(), client.Limit(cleanupPageKeys)) {
				if err != nil {
					return err
				}
				if err := tx.Delete(kv.Key); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil || n < cleanupPageKeys {
			return err
		}
	}
}

func printResult(a *app, res *bench.Result, f output.Format) error {
	if f == output.JSON {
		return output.WriteJSON(a.out, res)
	}
	return res.Print(a.out)
}
