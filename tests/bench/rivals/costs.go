package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/skerrydb/skerry/tests/bench/stages"
)

// The cost sheet: what one operation of a row costs Skerry alone, in microseconds of processors and in allocations, by stage.

// sheet is what a row costs.
type sheet struct {
	layout  string
	row     *row
	sample  *sample
	servers map[stages.Stage]float64 // microseconds per operation
	clients map[stages.Stage]float64
	allocs  map[stages.Stage]float64 // of servers, times per operation
	bytes   float64                  // allocated per operation, servers
	own     float64                  // allocations per operation, clients
}

// costs measures the rows of all layouts without etcd.
func (b *bench) costs(ctx context.Context) ([]*sheet, error) {
	var out []*sheet
	for _, l := range layouts {
		rows := b.chosen(l)
		if len(rows) == 0 {
			continue
		}
		s, err := startSkerry(ctx, b.bin, filepath.Join(b.o.dir, "skerry"), l)
		if err != nil {
			return nil, err
		}
		err = b.fill(ctx, s)
		for _, r := range rows {
			if err == nil {
				var c *sheet
				if c, err = b.cost(ctx, s, r); err == nil {
					c.layout = l.name
					out = append(out, c)
					fmt.Fprintf(os.Stderr, "%-12s %-28s %s\n", l.name, r.name, c.sample.text(r))
				}
			}
		}
		s.close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.name, err)
		}
	}
	return out, nil
}

// cost measures one row, at rest before.
func (b *bench) cost(ctx context.Context, s *skerry, r *row) (*sheet, error) {
	if err := b.settle(ctx, s); err != nil {
		return nil, err
	}
	if r.warm > 0 {
		if _, err := b.load(ctx, s, put, r.clients, time.Duration(r.warm)*b.o.window, nil); err != nil {
			return nil, err
		}
	}
	// Long enough for heaps to be as large as they get: memory that nobody has touched yet costs most of what allocation does.
	if _, err := b.load(ctx, s, r.kind, r.clients, 2*b.o.window, nil); err != nil {
		return nil, err
	}
	heaps, err := s.heaps()
	if err != nil {
		return nil, err
	}
	p := s.profiles(b.o.window)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	sample, rows, err := b.count(ctx, s, s, r)
	if err != nil {
		return nil, err
	}
	runtime.ReadMemStats(&after)
	c := &sheet{row: r, sample: sample, own: float64(after.Mallocs-before.Mallocs) / float64(rows)}
	if err := p.into(c); err != nil {
		return nil, err
	}
	heapsNow, err := s.heaps()
	if err != nil {
		return nil, err
	}
	c.allocs = between(heaps, heapsNow, "alloc_objects", float64(rows))
	c.bytes = sum(between(heaps, heapsNow, "alloc_space", float64(rows)))
	return c, nil
}

// sheetTable is a Markdown table: a line for each stage, a column for each row.
func sheetTable(of []*sheet) string {
	var b strings.Builder
	line := func(head string, cell func(*sheet) string) {
		b.WriteString("| " + head + " |")
		for _, c := range of {
			b.WriteString(" " + cell(c) + " |")
		}
		b.WriteString("\n")
	}
	line("", func(c *sheet) string { return c.layout + ": " + c.row.name })
	line("---", func(*sheet) string { return "---" })
	line("a second; p50, p99", func(c *sheet) string {
		return fmt.Sprintf("%s; %s, %s", number(c.sample.rate), short(c.sample.p50), short(c.sample.p99))
	})
	line("cores that had nothing to do", func(c *sheet) string { return fmt.Sprintf("%.0f %%", c.sample.idle) })
	line("**three servers**, µs of processors; allocations", func(c *sheet) string {
		return fmt.Sprintf("**%.1f**; %.1f, %.0f bytes", c.sample.server, sum(c.allocs), c.bytes)
	})
	for _, s := range stages.All {
		if !some(of, func(c *sheet) float64 { return c.servers[s] + c.allocs[s]/10 }) {
			continue
		}
		line(string(s), func(c *sheet) string { return cell(c.servers[s], c.allocs[s]) })
	}
	line("**clients**", func(c *sheet) string { return fmt.Sprintf("**%.1f**; %.1f", c.sample.client, c.own) })
	for _, s := range stages.All {
		if some(of, func(c *sheet) float64 { return c.clients[s] }) {
			line(string(s), func(c *sheet) string { return cell(c.clients[s], 0) })
		}
	}
	return b.String()
}

func cell(micros, allocs float64) string {
	if allocs < 0.05 {
		return fmt.Sprintf("%.1f", micros)
	}
	return fmt.Sprintf("%.1f; %.1f", micros, allocs)
}

func sum(of map[stages.Stage]float64) (all float64) {
	for _, v := range of {
		all += v
	}
	return all
}

// some says whether a stage shows in a column.
func some(of []*sheet, v func(*sheet) float64) bool {
	for _, c := range of {
		if v(c) >= 0.05 {
			return true
		}
	}
	return false
}
