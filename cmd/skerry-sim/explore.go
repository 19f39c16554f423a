package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/tests/sim/explore"
)

// exploreCommand visits every order of tiny scenarios, up to a bound that grows.
func exploreCommand() *cobra.Command {
	var minutes float64
	var planted string
	var only []string
	c := &cobra.Command{Use: "explore", Short: "Visit every order of tiny scenarios, up to a growing bound", Args: cobra.NoArgs,
		Long: "Visit every order in which the few things of tiny scenarios can happen, with a growing number of deviations from the\nusual order, and check every state.\n\nScenarios:\n" + scenarioList(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			scenarios, err := chosen(only)
			if err != nil {
				return err
			}
			if planted != "" {
				b, ok := bug.Find(planted)
				switch {
				case !bug.Built:
					return errNoBugs
				case !ok:
					return fmt.Errorf("no bug is called %q", planted)
				}
				bug.Plant(b)
			}
			return exploreFor(cmd.Context(), scenarios, time.Duration(minutes*float64(time.Minute)))
		}}
	c.Flags().Float64Var(&minutes, "minutes", 1, "end after so many minutes")
	c.Flags().StringVar(&planted, "bug", "", "plant a bug (see skerry-sim bugs)")
	c.Flags().StringSliceVar(&only, "scenarios", nil, "only these")
	return c
}

func scenarioList() string {
	var b strings.Builder
	for _, s := range explore.Scenarios() {
		fmt.Fprintf(&b, "  %-11s %s\n", s.Name, s.What)
	}
	return b.String()
}

// chosen are the scenarios with these names; all without names.
func chosen(names []string) ([]explore.Scenario, error) {
	all := explore.Scenarios()
	if len(names) == 0 {
		return all, nil
	}
	var out []explore.Scenario
	for _, n := range names {
		i := slices.IndexFunc(all, func(s explore.Scenario) bool { return s.Name == n })
		if i < 0 {
			return nil, fmt.Errorf("no scenario is called %q", n)
		}
		out = append(out, all[i])
	}
	return out, nil
}

func exploreFor(ctx context.Context, scenarios []explore.Scenario, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	states, violated := 0, false
	begun := time.Now()
	fmt.Printf("%-11s %10s %10s %10s %12s %8s %9s\n", "scenario", "deviations", "states", "runs", "steps", "deepest", "seconds")
	explore.Deepen(ctx, scenarios, func(r explore.Report) {
		states += r.States
		note := ""
		if !r.Exhausted {
			note = "  (not all)"
		}
		fmt.Printf("%-11s %10d %10d %10d %12d %8d %9.1f%s\n", r.Scenario, r.Bound, r.States, r.Runs, r.Steps, r.Deepest, r.Elapsed.Seconds(), note)
		if r.Violation != "" {
			violated = true
			fmt.Printf("VIOLATED %s\nafter %d deviations:\n  %s\n", r.Violation, r.Deviations, strings.Join(r.Script, "\n  "))
		}
	})
	fmt.Printf("%d states in %s\n", states, time.Since(begun).Round(time.Second))
	if violated {
		return errViolated
	}
	return nil
}
