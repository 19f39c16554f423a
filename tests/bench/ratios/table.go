package main

import (
	"fmt"
	"slices"
	"strings"
)

// raws are the names of raw parts: what ours are built on, alone.
var raws = []string{"search", "rawnode", "file", "pebble", "grpc-unary", "grpc-stream"}

// pair is a benchmark of ours beside a raw one that does the same. Their names differ in one element, which names the raw part.
type pair struct {
	ours, raw *benchmark
	at        int // the element
}

// pairs finds them, in the order of ours and of their raw counterparts.
func pairs(all []*benchmark) []pair {
	var out []pair
	for _, ours := range all {
		if slices.ContainsFunc(ours.path, isRaw) {
			continue
		}
		for _, raw := range all {
			if at := differ(ours, raw); at >= 0 && isRaw(raw.path[at]) {
				out = append(out, pair{ours, raw, at})
			}
		}
	}
	return out
}

func isRaw(name string) bool { return slices.Contains(raws, name) }

// differ is the one element in which the names of two benchmarks of one package differ; less than zero if there is no such one.
func differ(a, b *benchmark) int {
	if a.pkg != b.pkg || len(a.path) != len(b.path) {
		return -1
	}
	found := -1
	for i := range a.path {
		if a.path[i] == b.path[i] {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// table prints pairs; the ratio is that of times.
func table(ps []pair) string {
	var b strings.Builder
	b.WriteString("| part | ours | raw | ratio |\n|---|---|---|---|\n")
	for _, p := range ps {
		ours, ok := p.ours.median(unitTime)
		raw, ok2 := p.raw.median(unitTime)
		if !ok || !ok2 || raw == 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s %s | %s | %s: %s | %s× |\n", p.ours.pkg, strings.Join(p.ours.path, "/"),
			p.ours.cell(), p.raw.path[p.at], p.raw.cell(), digits(ours/raw))
	}
	return b.String()
}

// cell is what a benchmark takes.
func (b *benchmark) cell() string {
	ns, _ := b.median(unitTime)
	out := duration(ns)
	if n, ok := b.median(unitAllocs); ok {
		out += fmt.Sprintf(", %.0f allocs", n)
	}
	return out
}

// duration prints nanoseconds in the unit that fits.
func duration(ns float64) string {
	for _, u := range []string{"ns", "µs", "ms"} {
		if ns < 999.5 {
			return digits(ns) + " " + u
		}
		ns /= 1000
	}
	return digits(ns) + " s"
}

// digits prints a number with three digits, or with those before the point if they are more.
func digits(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
