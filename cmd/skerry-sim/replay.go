package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/tests/sim"
)

// replayCommand runs a world as a file of decisions says.
func replayCommand() *cobra.Command {
	var trace, steps, frames bool
	c := &cobra.Command{Use: "replay FILE", Short: "Run the world of a file of decisions (run --record)", Args: cobra.ExactArgs(1),
		Example: "  skerry-sim run --seed 42 --record 42.txt\n  skerry-sim replay 42.txt",
		RunE: func(_ *cobra.Command, args []string) error {
			o := sim.Options{Steps: steps, Frames: frames}
			if trace {
				o.Trace = os.Stdout
			}
			return replay(args[0], o)
		}}
	c.Flags().BoolVar(&trace, "trace", true, "print what happens")
	c.Flags().BoolVar(&steps, "steps", false, "print every step of every task as well")
	c.Flags().BoolVar(&frames, "frames", false, "print every raft message between stores as well")
	return c
}

func replay(name string, o sim.Options) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	rec, err := sim.ReadRecording(in)
	_ = in.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !rec.SameBuild {
		fmt.Printf("%s was written by another build (%s)\n", name, rec.Build)
	}
	r := sim.Replay(rec, o)
	if r.Kind != "usage" {
		taken, of := rec.Decisions.Taken()
		fmt.Printf("%d of %d decisions were taken from %s", taken, of, name)
		if m := rec.Decisions.Misfit(); m != nil {
			fmt.Printf(", the seed decided the rest: %v", m)
		}
		fmt.Println()
	}
	return tell(r)
}
