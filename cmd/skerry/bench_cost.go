package main

import (
	"context"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/internal/bench"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/internal/fault"
)

// txnCost is a benchmark of several measurements, in turns, instead of one workload.
const txnCost = "txn-cost"

// costRounds is how often each of its costMeasures is taken, beside once to warm up.
const (
	costRounds   = 5
	costMeasures = 5
)

// benchCost measures what small transactions cost beside raw puts.
func (a *app) benchCost(ctx context.Context, s *session, f *benchFlags) error {
	o := bench.CostOptions{Rounds: costRounds, Window: f.o.Duration / ((costRounds + 1) * costMeasures), Clients: f.o.Clients,
		ValueSize: int(f.valueSize), Prefix: f.o.Prefix, Seed: f.o.Seed, Told: func(line string) { fmt.Fprintln(a.err, line) }}
	o.Window = max(o.Window, 10*time.Millisecond)
	res, err := bench.TxnCost(ctx, s.DB, o)
	if err != nil {
		return fault.With(fault.BadUsage, fmt.Errorf("bench %s: %w", txnCost, err))
	}
	if *f.output == output.JSON {
		return output.WriteJSON(a.out, res)
	}
	return res.Print(a.out)
}
