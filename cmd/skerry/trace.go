package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

// traceFlag adds --trace.
func traceFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("trace", false, "tell on standard error the steps that were taken, and where the time went")
}

// traced runs f, and tells its steps afterwards if that is wanted, also if it fails.
func (a *app) traced(ctx context.Context, wanted bool, format output.Format, f func(ctx context.Context) error) error {
	if !wanted {
		return f(ctx)
	}
	var t client.Trace
	began := time.Now()
	err := f(client.WithTrace(ctx, &t))
	took := time.Since(began)
	if format == output.JSON {
		_ = output.WriteJSON(a.err, traceJSON(&t, took))
		return err
	}
	how := "done"
	if err != nil {
		how = "failed"
	}
	_, _ = fmt.Fprintf(a.err, "%s%7.1fms  %s\n", &t, millis(took), how)
	return err
}

// traceStep is a client.TraceStep in JSON; times are in milliseconds.
type traceStep struct {
	At       float64            `json:"at_ms"`
	Took     float64            `json:"took_ms"`
	Op       string             `json:"op"`
	Kind     client.TraceKind   `json:"kind"`
	Request  string             `json:"request,omitempty"`
	Shard    shard.ID           `json:"shard,omitempty"`
	Store    shard.StoreID      `json:"store,omitempty"`
	Addr     string             `json:"addr,omitempty"`
	InStore  map[string]float64 `json:"in_store_ms,omitempty"`
	OnTheWay float64            `json:"on_the_way_ms,omitempty"`
	Error    string             `json:"error,omitempty"`
}

func traceJSON(t *client.Trace, took time.Duration) any {
	steps := []traceStep{}
	for _, s := range t.Steps() {
		out := traceStep{At: millis(s.At), Took: millis(s.Took), Op: s.Op, Kind: s.Kind, Request: s.Request, Shard: s.Shard, Store: s.Store, Addr: s.Addr}
		if len(s.Stages) > 0 {
			out.OnTheWay, out.InStore = millis(s.OnTheWay()), map[string]float64{}
		}
		for _, st := range s.Stages {
			out.InStore[st.Name] = millis(st.Took)
		}
		if s.Err != nil {
			out.Error = s.Err.Error()
		}
		steps = append(steps, out)
	}
	return struct {
		SchemaVersion int         `json:"schema_version"`
		Took          float64     `json:"took_ms"`
		Steps         []traceStep `json:"steps"`
	}{output.SchemaVersion, millis(took), steps}
}

// millis rounds to a microsecond.
func millis(d time.Duration) float64 { return math.Round(float64(d)/1e3) / 1e3 }
