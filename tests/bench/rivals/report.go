package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// result is one row, measured several times on each side.
type result struct {
	layout       string
	row          *row
	etcd, skerry []*sample
}

// of is the median of something, with its least and greatest.
func of(samples []*sample, f func(*sample) float64) (median, least, most float64) {
	var v []float64
	for _, s := range samples {
		v = append(v, f(s))
	}
	slices.Sort(v)
	return v[len(v)/2], v[0], v[len(v)-1]
}

func rate(s *sample) float64   { return s.rate }
func p50(s *sample) float64    { return float64(s.p50) }
func p99(s *sample) float64    { return float64(s.p99) }
func took(s *sample) float64   { return float64(s.took) }
func stolen(s *sample) float64 { return s.steal }
func others(s *sample) float64 { return s.other }

// ratio is Skerry's median by etcd's.
func (r *result) ratio(f func(*sample) float64) float64 {
	a, _, _ := of(r.skerry, f)
	b, _, _ := of(r.etcd, f)
	return a / b
}

// bars says what shall be, and what is.
func (r *result) bars() (want string, met bool) {
	met = true
	add := func(format string, bar float64, ok bool) {
		if bar > 0 {
			want += fmt.Sprintf(format, bar)
			met = met && ok
		}
	}
	if r.row.timed() {
		add("≤ %.3g× ", r.row.slowest, r.ratio(took) <= r.row.slowest)
		return strings.TrimSpace(want), met
	}
	add("≥ %.3g× ", r.row.least, r.ratio(rate) >= r.row.least)
	add("p99 ≤ %.3g× ", r.row.most, r.ratio(p99) <= r.row.most)
	add("p50 ≤ %.3g× ", r.row.p50, r.ratio(p50) <= r.row.p50)
	return strings.TrimSpace(want), met
}

func side(samples []*sample) string {
	m, lo, hi := of(samples, rate)
	q := func(f func(*sample) float64) string {
		v, _, _ := of(samples, f)
		return short(time.Duration(v))
	}
	server, _, _ := of(samples, func(s *sample) float64 { return s.server })
	client, _, _ := of(samples, func(s *sample) float64 { return s.client })
	after, _, _ := of(samples, func(s *sample) float64 { return s.after })
	return fmt.Sprintf("%s (%s–%s) | %s / %s / %s | %.3g + %.2g + %.3g", number(m), number(lo), number(hi),
		q(p50), q(p99), q(func(s *sample) float64 { return float64(s.p999) }), server, after, client)
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.0f ms", d.Seconds()*1000)
}

func number(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// verdict is what shall be, and whether it is, for a table; and how much others took at most, in percent.
func (r *result) verdict() (want, met string, steal float64) {
	want, ok := r.bars()
	met = "no"
	if ok {
		met = "yes"
	}
	return want, met, r.most(stolen)
}

// most is the greatest of both sides.
func (r *result) most(f func(*sample) float64) float64 {
	_, _, most := of(append(slices.Clone(r.etcd), r.skerry...), f)
	return most
}

// tables are Markdown: what was counted, and what was timed.
func tables(results []*result) string {
	counted, timed := parted(results)
	var out []string
	if len(counted) > 0 {
		out = append(out, table(counted))
	}
	if len(timed) > 0 {
		out = append(out, timesTable(timed))
	}
	return strings.Join(out, "\n")
}

// parted are the results of rows that are not timed, and of those that are.
func parted(results []*result) (counted, timed []*result) {
	for _, r := range results {
		if r.row.timed() {
			timed = append(timed, r)
		} else {
			counted = append(counted, r)
		}
	}
	return counted, timed
}

func table(results []*result) string {
	var b strings.Builder
	b.WriteString("| shards | row | etcd: rate/s (min–max) | p50 / p99 / p99.9 | CPU µs, servers + afterwards + client | Skerry: rate/s (min–max) | p50 / p99 / p99.9 | CPU µs | ratio | p50, p99 | bar | met | steal, other side % |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range results {
		want, met, steal := r.verdict()
		fmt.Fprintf(&b, "| %s | %s | %s | %s | **%.2f×** | %.2f×, %.2f× | %s | %s | %.1f, %.1f |\n", r.layout, r.row.name, side(r.etcd), side(r.skerry),
			r.ratio(rate), r.ratio(p50), r.ratio(p99), want, met, steal, r.most(others))
	}
	return b.String()
}

func timesTable(results []*result) string {
	var b strings.Builder
	b.WriteString("| shards | row | trials | etcd (min–max) | Skerry (min–max) | ratio | bar | met | steal % |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	times := func(samples []*sample) string {
		m, lo, hi := of(samples, took)
		return fmt.Sprintf("%s (%s–%s)", short(time.Duration(m)), short(time.Duration(lo)), short(time.Duration(hi)))
	}
	for _, r := range results {
		want, met, steal := r.verdict()
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %s | **%.2f×** | %s | %s | %.1f |\n", r.layout, r.row.name, len(r.skerry), times(r.etcd), times(r.skerry),
			r.ratio(took), want, met, steal)
	}
	return b.String()
}
