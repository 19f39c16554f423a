package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/tests/sim"
)

// huntCommand plants each bug in turn and looks for the first world that finds it, in several ranges of seeds.
func huntCommand() *cobra.Command {
	h := &hunt{}
	c := &cobra.Command{Use: "hunt", Short: "Plant each bug and count the worlds until it is found", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return h.run(cmd.Context()) }}
	c.Flags().StringSliceVar(&h.bugs, "bugs", nil, "only these")
	c.Flags().StringSliceVar(&h.starts, "from", []string{"1", "1001", "2001"}, "first seeds of the ranges")
	c.Flags().Uint64Var(&h.budget, "budget", 300, "worlds of each range")
	c.Flags().IntVar(&h.parallel, "parallel", runtime.NumCPU(), "worlds at a time")
	c.Flags().StringVar(&h.out, "out", "", "write the table into this document, between its marks")
	return c
}

// The marks between which hunt writes.
const (
	huntBegin = "<!-- skerry-sim hunt: begin -->"
	huntEnd   = "<!-- skerry-sim hunt: end -->"
)

type hunt struct {
	bugs, starts []string
	budget       uint64
	parallel     int
	out          string
}

// found is one range's result for one bug.
type found struct {
	worlds    uint64 // run until it was found, this one included; 0: not found
	seed      uint64
	simulated time.Duration
	kind      string
}

func (h *hunt) run(ctx context.Context) error {
	if !bug.Built {
		return errNoBugs
	}
	names := h.bugs
	if len(names) == 0 {
		for _, b := range bug.All() {
			names = append(names, b.Name)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Made by `skerry-sim hunt`: each bug is planted in turn, and worlds run until one fails, at most %d from each of the seeds\n"+
		"%s. What the bugs are: `skerry-sim bugs`. \"Found as\" is the monitor or check that failed. A range with **none** did\n"+
		"not find it; a bug that is not in this table was not hunted in this run. See [simulator](simulator.md).\n\n", h.budget, strings.Join(h.starts, ", "))
	b.WriteString("| planted bug | found as | worlds until found, per range | simulated time | first seed |\n|---|---|---|---|---|\n")
	missed := 0
	for _, name := range names {
		if _, ok := bug.Find(name); !ok {
			return fmt.Errorf("no bug is called %q", name)
		}
		row, ok, err := h.bug(ctx, name)
		if err != nil {
			return err
		}
		if !ok {
			missed++
		}
		fmt.Print(row)
		b.WriteString(row)
		if h.out != "" {
			if err := writeBetween(h.out, huntBegin, huntEnd, b.String()); err != nil {
				return err
			}
		}
	}
	if missed > 0 {
		fmt.Printf("%d of %d bugs were not found in every range\n", missed, len(names))
		return errViolated
	}
	return nil
}

func (h *hunt) bug(ctx context.Context, name string) (row string, ok bool, err error) {
	var counts, seeds []string
	kinds, ok := map[string]bool{}, true
	var simulated time.Duration
	for _, from := range h.starts {
		var first uint64
		if _, err := fmt.Sscan(from, &first); err != nil {
			return "", false, fmt.Errorf("--from %q: %w", from, err)
		}
		f, err := h.one(ctx, name, first)
		if err == nil {
			err = ctx.Err() // stopped: nothing is known about the rest
		}
		if err != nil {
			return "", false, err
		}
		if f.worlds == 0 {
			ok = false
			counts = append(counts, "**none**")
			continue
		}
		counts, seeds = append(counts, fmt.Sprint(f.worlds)), append(seeds, fmt.Sprint(f.seed))
		simulated += f.simulated
		kinds[f.kind] = true
	}
	var as []string
	for k := range kinds {
		as = append(as, k)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s |\n", name, strings.Join(sorted(as), ", "), strings.Join(counts, ", "),
		simulated.Round(time.Second), strings.Join(seeds, ", ")), ok, nil
}

// one looks for a bug in one range, in the order of seeds as far as several worlds at a time allow.
func (h *hunt) one(ctx context.Context, name string, first uint64) (found, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p := &pool{base: sim.Options{Bug: name}, parallel: h.parallel}
	var f found
	var worlds uint64
	var simulated time.Duration
	err := p.run(ctx, first, first+h.budget-1, func(uint64) bool { return false }, func(l *line) {
		if f.worlds != 0 {
			return
		}
		worlds++
		simulated += l.Simulated
		if l.Err != "" {
			f = found{worlds: worlds, seed: l.Seed, simulated: simulated, kind: l.Kind}
			cancel()
		}
	})
	if f.worlds != 0 {
		err = nil
	}
	return f, err
}

func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
