package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skerrydb/skerry/internal/cli/output"
)

// Interval is what happened between two ticks.
type Interval struct {
	At        time.Duration // since the beginning
	Warmup    bool
	OpsPerSec float64
	Errors    int64
	P50, P99  time.Duration
}

func makeInterval(s *sample, at, length time.Duration, warmup bool) Interval {
	i := Interval{At: at, Warmup: warmup, Errors: s.failed()}
	if length > 0 {
		i.OpsPerSec = float64(s.ops) / length.Seconds()
	}
	if h := s.all(); h != nil {
		i.P50, i.P99 = micros(h.ValueAtQuantile(50)), micros(h.ValueAtQuantile(99))
	}
	return i
}

func (i Interval) String() string {
	at := i.At.Round(time.Second)
	if i.Warmup {
		return fmt.Sprintf("%6s  warming up", at)
	}
	line := fmt.Sprintf("%6s  %9s ops/s  p50 %8s  p99 %8s", at, output.Count(int64(i.OpsPerSec)), output.Duration(i.P50), output.Duration(i.P99))
	if i.Errors > 0 {
		line += fmt.Sprintf("  %s errors", output.Count(i.Errors))
	}
	return line
}

// Latency describes the latencies of one kind of operation, in microseconds.
type Latency struct {
	Op     string  `json:"op"`
	Count  int64   `json:"count"`
	Mean   float64 `json:"mean_us"`
	Min    int64   `json:"min_us"`
	P50    int64   `json:"p50_us"`
	P90    int64   `json:"p90_us"`
	P95    int64   `json:"p95_us"`
	P99    int64   `json:"p99_us"`
	P999   int64   `json:"p999_us"`
	Max    int64   `json:"max_us"`
	PerSec float64 `json:"ops_per_second"`
}

func makeLatency(op string, h *hdrhistogram.Histogram, seconds float64) Latency {
	return Latency{Op: op, Count: h.TotalCount(), Mean: h.Mean(), Min: h.Min(), P50: h.ValueAtQuantile(50),
		P90: h.ValueAtQuantile(90), P95: h.ValueAtQuantile(95), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9),
		Max: h.Max(), PerSec: float64(h.TotalCount()) / seconds}
}

// Result is what a run measured.
type Result struct {
	SchemaVersion int          `json:"schema_version"`
	Workload      string       `json:"workload"`
	Loop          string       `json:"loop"` // closed or open
	Rate          float64      `json:"rate,omitempty"`
	Clients       int          `json:"clients"`
	Keys          uint64       `json:"keys"`
	ValueSize     int          `json:"value_size"`
	Distribution  Distribution `json:"distribution"`
	Seconds       float64      `json:"seconds"`
	Operations    int64        `json:"operations"`
	OpsPerSecond  float64      `json:"ops_per_second"`
	// NotFound are reads that found no record; they count as operations.
	NotFound int64 `json:"not_found"`
	// NotStarted are operations of an open loop that were due and for which no client was free until the end.
	NotStarted int64            `json:"not_started"`
	Errors     map[string]int64 `json:"errors"`
	FirstError string           `json:"first_error,omitempty"`
	Latencies  []Latency        `json:"latencies"`
}

func (r *run) result(total *sample, elapsed time.Duration) *Result {
	seconds := elapsed.Seconds()
	res := &Result{SchemaVersion: output.SchemaVersion, Workload: r.o.Workload.Name, Loop: "closed", Rate: r.o.Rate,
		Clients: r.o.Clients, Keys: r.o.Keys, ValueSize: r.o.ValueSize, Distribution: r.o.Distribution, Seconds: seconds,
		Operations: total.ops, OpsPerSecond: float64(total.ops) / seconds, NotFound: total.notFound,
		Errors: map[string]int64{}}
	maps.Copy(res.Errors, total.errors)
	if r.o.Rate > 0 {
		res.Loop = "open"
		res.NotStarted = max(r.dueInAll()-r.started.Load(), 0)
	}
	if r.first != nil {
		res.FirstError = r.first.Error()
	}
	for k, h := range total.hists {
		if h != nil {
			res.Latencies = append(res.Latencies, makeLatency(Kind(k).String(), h, seconds))
		}
	}
	if all := total.all(); all != nil && len(res.Latencies) > 1 {
		res.Latencies = append(res.Latencies, makeLatency("all", all, seconds))
	}
	return res
}

// dueInAll is how many operations of an open loop were due in the measured time.
func (r *run) dueInAll() int64 {
	slots := func(d time.Duration) int64 { return ceil(d.Seconds() * r.o.Rate) }
	return slots(r.o.Warmup+r.o.Duration) - slots(r.o.Warmup)
}

// ceil rounds up, but forgives what floating point adds to a whole number.
func ceil(f float64) int64 {
	n := int64(f)
	if f-float64(n) > 1e-6 {
		n++
	}
	return n
}

// Print writes the result for people.
func (res *Result) Print(w io.Writer) error {
	loop := "closed loop: a stall hides the operations that it kept from being sent; use --rate to see them"
	if res.Loop == "open" {
		loop = fmt.Sprintf("open loop at %s ops/s: latency counts from when an operation was due", output.Count(int64(res.Rate)))
	}
	fmt.Fprintf(w, "%s, %d clients, %s keys (%s), %s values\n%s\n\n", res.Workload, res.Clients, output.Count(res.Keys),
		res.Distribution, output.Bytes(float64(res.ValueSize)), loop)
	fmt.Fprintf(w, "%s operations in %.1f s: %s ops/s\n\n", output.Count(res.Operations), res.Seconds, output.Count(int64(res.OpsPerSecond)))
	rows := make([][]string, 0, len(res.Latencies))
	for _, l := range res.Latencies {
		row := []string{l.Op, output.Count(l.Count), output.Count(int64(l.PerSec)), output.Duration(micros(int64(l.Mean)))}
		for _, v := range [...]int64{l.P50, l.P90, l.P95, l.P99, l.P999, l.Max} {
			row = append(row, output.Duration(micros(v)))
		}
		rows = append(rows, row)
	}
	if err := output.WriteTable(w, []string{"OP", "COUNT", "OPS/S", "MEAN", "P50", "P90", "P95", "P99", "P99.9", "MAX"}, rows); err != nil {
		return err
	}
	return res.printTroubles(w)
}

func (res *Result) printTroubles(w io.Writer) error {
	var lines []string
	if res.NotFound > 0 {
		lines = append(lines, fmt.Sprintf("%s reads found nothing; run without --skip-load to write all records first", output.Count(res.NotFound)))
	}
	if res.NotStarted > 0 {
		lines = append(lines, fmt.Sprintf("%s operations were due but never sent: the rate is more than the cluster or these clients can do", output.Count(res.NotStarted)))
	}
	for _, label := range slices.Sorted(maps.Keys(res.Errors)) {
		lines = append(lines, fmt.Sprintf("%s errors: %s", output.Count(res.Errors[label]), label))
	}
	if res.FirstError != "" {
		lines = append(lines, "first error: "+res.FirstError)
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := fmt.Fprintln(w, "\n"+strings.Join(lines, "\n"))
	return err
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
