package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/bench"
	"github.com/skerrydb/skerry/internal/cli/output"
)

func (a *app) benchCostCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "txn-cost",
		Short: "what small transactions cost beside raw puts",
		Long: `Txn-cost measures raw puts, transactions that put one key, and transactions that put two keys in two shards, in turns,
and prints the medians and their ratios. It cuts the transactional keys in two shards, if they lie in one.`,
		Args: cobra.NoArgs,
	}
	o := bench.CostOptions{}
	size := sizeFlag(256)
	fs := cmd.Flags()
	fs.IntVar(&o.Rounds, "rounds", 5, "how often each is measured")
	fs.DurationVar(&o.Window, "window", time.Second, "how long one measurement takes")
	fs.IntVar(&o.Clients, "clients", 64, "operations under way at once, where throughput is measured")
	fs.Var(&size, "value-size", "size of a value")
	fs.StringVar(&o.Prefix, "prefix", "bench/", "`key` before every key")
	fs.Uint64Var(&o.Seed, "seed", 1, "of all random choices")
	format := outputFlag(cmd, false)
	a.clientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.withDB(cmd, func(ctx context.Context, s *session) error {
			o.ValueSize = int(size)
			o.Told = func(line string) { fmt.Fprintln(a.err, line) }
			res, err := bench.TxnCost(ctx, s.DB, o)
			if err != nil {
				return fmt.Errorf("bench txn-cost: %w", err)
			}
			if *format == output.JSON {
				return output.WriteJSON(a.out, res)
			}
			return res.Print(a.out)
		})
	}
	return cmd
}
