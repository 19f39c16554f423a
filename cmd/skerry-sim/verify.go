package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/spf13/cobra"
)

// verifyCommand runs worlds twice, in two processes, and compares what happened step by step.
func verifyCommand() *cobra.Command {
	var seeds string
	var parallel int
	c := &cobra.Command{Use: "verify", Short: "Run worlds twice and compare every step", Args: cobra.NoArgs,
		Example: "  skerry-sim verify --seeds 1..100",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var first, last uint64
			if n, _ := fmt.Sscanf(seeds, "%d..%d", &first, &last); n != 2 || last < first {
				return fmt.Errorf("--seeds %q: want A..B", seeds)
			}
			return verify(cmd.Context(), first, last, parallel)
		}}
	c.Flags().StringVar(&seeds, "seeds", "1..100", "which worlds, as A..B")
	c.Flags().IntVar(&parallel, "parallel", runtime.NumCPU(), "worlds at a time")
	return c
}

func verify(ctx context.Context, first, last uint64, parallel int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var mu sync.Mutex
	equal, diverged := 0, 0
	var failure error
	var group sync.WaitGroup
	next := first
	for range max(1, parallel) {
		group.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				stop := seed > last || failure != nil
				mu.Unlock()
				if stop {
					return
				}
				same, err := twice(ctx, self, seed)
				mu.Lock()
				switch {
				case err != nil:
					failure = errors.Join(failure, err)
				case same:
					equal++
				default:
					diverged++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	fmt.Printf("%d worlds run twice: %d equal, %d diverged\n", equal+diverged, equal, diverged)
	if failure != nil {
		return failure
	}
	if diverged > 0 {
		return errViolated
	}
	return nil
}

// twice runs a world two times and says where the two part.
func twice(ctx context.Context, self string, seed uint64) (bool, error) {
	args := []string{"run", "--json", "--checkpoints", "--seed", strconv.FormatUint(seed, 10)}
	a, err := child(ctx, self, args, seed)
	if err != nil {
		return false, err
	}
	b, err := child(ctx, self, args, seed)
	if err != nil {
		return false, err
	}
	if a.Fingerprint == b.Fingerprint && a.Err == b.Err {
		return true, nil
	}
	at := 0
	for at < len(a.Checkpoints) && at < len(b.Checkpoints) && a.Checkpoints[at] == b.Checkpoints[at] {
		at++
	}
	step, lineA, lineB := firstDifference(ctx, self, seed)
	fmt.Printf("seed %d diverged after item %d; first line of the traces that differs is %d:\n  %s\n  %s\n", seed, at*4096, step, lineA, lineB)
	return false, nil
}
