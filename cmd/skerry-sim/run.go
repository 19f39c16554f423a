package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/tests/sim"
)

// errViolated ends the program with code 1; what was violated is printed already.
var errViolated = errors.New("violated")

// runFlags are the flags of run.
type runFlags struct {
	seed, salt  uint64
	seeds, bug  string
	set         []string
	trace       bool
	steps       bool
	frames      bool
	json        bool
	noShrink    bool
	parallel    int
	minutes     float64
	state       string
	checkpoints bool
	record      string
}

func runCommand() *cobra.Command {
	f := &runFlags{}
	c := &cobra.Command{Use: "run", Short: "Run the world of one seed, or of many", Args: cobra.NoArgs,
		Example: "  skerry-sim run --seed 42\n  skerry-sim run --seeds 1..2000 --parallel 2 --state sim.jsonl\n  skerry-sim run --minutes 5",
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.Flags().Changed("seed")) }}
	fl := c.Flags()
	fl.Uint64Var(&f.seed, "seed", 0, "one world; its trace is printed")
	fl.Uint64Var(&f.salt, "salt", 0, "another course of the same knobs")
	fl.StringVar(&f.seeds, "seeds", "", "many worlds, as A..B, one process each")
	fl.StringVar(&f.bug, "bug", "", "plant a bug (see skerry-sim bugs)")
	fl.StringArrayVar(&f.set, "set", nil, "set a knob, as name=value; again for more")
	fl.BoolVar(&f.trace, "trace", true, "with --seed: print what happens")
	fl.BoolVar(&f.steps, "steps", false, "with --seed: print every step of every task as well")
	fl.BoolVar(&f.frames, "frames", false, "with --seed: print every raft message between stores as well")
	fl.BoolVar(&f.json, "json", false, "with --seed: print only the result, as one line of JSON")
	fl.BoolVar(&f.checkpoints, "checkpoints", false, "with --json: also the fingerprints on the way")
	fl.StringVar(&f.record, "record", "", "with --seed: write every decision to this file; skerry-sim replay takes them again")
	fl.BoolVar(&f.noShrink, "no-shrink", false, "do not look for a smaller world that fails the same way")
	fl.IntVar(&f.parallel, "parallel", runtime.NumCPU(), "worlds at a time")
	fl.Float64Var(&f.minutes, "minutes", 0, "end after so many minutes; without --seeds it begins at seed 1")
	fl.StringVar(&f.state, "state", "", "file of results; what is in it is not run again")
	return c
}

func (f *runFlags) run(ctx context.Context, one bool) error {
	if one {
		return f.one()
	}
	first, last, err := f.span()
	if err != nil {
		return err
	}
	return f.many(ctx, first, last)
}

func (f *runFlags) span() (first, last uint64, err error) {
	switch {
	case f.seeds != "":
		if n, _ := fmt.Sscanf(f.seeds, "%d..%d", &first, &last); n != 2 || last < first {
			return 0, 0, fmt.Errorf("--seeds %q: want A..B", f.seeds)
		}
	case f.minutes > 0:
		first, last = 1, 1<<31
	default:
		return 0, 0, errors.New("say which worlds: --seed N, --seeds A..B, or --minutes M")
	}
	return first, last, nil
}

func (f *runFlags) options() sim.Options {
	return sim.Options{Seed: f.seed, Salt: f.salt, Set: f.set, Bug: f.bug}
}

// line is the result of one world, as processes tell each other.
type line struct {
	*sim.Result
	Faults      map[string]int
	Checkpoints []uint64 `json:",omitempty"`
}

func (f *runFlags) one() error {
	o := f.options()
	if f.record != "" {
		out, err := os.Create(f.record)
		if err != nil {
			return err
		}
		defer func() { _ = out.Close() }()
		o.Record = out
	}
	if f.json {
		r := sim.Run(o)
		l := line{Result: r, Faults: r.Faults}
		if f.checkpoints {
			l.Checkpoints = r.Checkpoints
		}
		return json.NewEncoder(os.Stdout).Encode(l)
	}
	if f.trace {
		o.Trace, o.Steps, o.Frames = os.Stdout, f.steps, f.frames
	}
	return tell(sim.Run(o))
}

// tell prints what came out of one world.
func tell(r *sim.Result) error {
	if r.Kind == "usage" {
		return errors.New(r.Err)
	}
	fmt.Printf("%s\n%s\n", r.Knobs, summary(r))
	if r.Err != "" {
		fmt.Printf("VIOLATED %s\n", r.Err)
		return errViolated
	}
	return nil
}

func summary(r *sim.Result) string {
	return fmt.Sprintf("seed %d: fingerprint %016x, %.1f simulated seconds in %.2f s, %d steps, %d messages, %d operations (%d ambiguous, %d refused), faults %v",
		r.Seed, r.Fingerprint, r.Simulated.Seconds(), r.Elapsed.Seconds(), r.Steps, r.Messages, r.Operations, r.Ambiguous, r.Refused, r.Faults)
}

// many runs worlds side by side, one process each.
func (f *runFlags) many(ctx context.Context, first, last uint64) error {
	done, err := readState(f.state)
	if err != nil {
		return err
	}
	if f.minutes > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(f.minutes*float64(time.Minute)))
		defer cancel()
	}
	var out *os.File
	if f.state != "" {
		if out, err = os.OpenFile(f.state, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return err
		}
		defer func() { _ = out.Close() }()
	}
	t := newTally()
	p := &pool{base: f.options(), parallel: f.parallel}
	err = p.run(ctx, first, last, func(seed uint64) bool { return done[seed] }, func(l *line) {
		t.add(l)
		if out != nil {
			_ = json.NewEncoder(out).Encode(l)
		}
		if l.Err != "" {
			f.report(ctx, p, l)
		}
	})
	t.print(true)
	t.printLooks()
	t.printRows()
	switch {
	case err != nil && ctx.Err() == nil:
		return err
	case t.failed > 0:
		return errViolated
	}
	return nil
}

// report prints a failure and the command of the smallest world that fails the same way.
func (f *runFlags) report(ctx context.Context, p *pool, l *line) {
	o := p.base
	o.Seed = l.Seed
	fmt.Printf("seed %d VIOLATED %s\n  again: %s\n", l.Seed, l.Err, o.Command())
	if f.noShrink {
		return
	}
	small := sim.Shrink(o, sim.KnobsOf(l.Seed), l.Err, func(o sim.Options) string {
		l, err := p.world(ctx, o)
		if err != nil {
			return ""
		}
		return l.Err
	}, func(sim.Options, bool) {})
	fmt.Printf("  smaller: %s\n", small.Command())
}

// readState reads which seeds a file of results holds.
func readState(name string) (map[uint64]bool, error) {
	done := make(map[uint64]bool)
	if name == "" {
		return done, nil
	}
	file, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return done, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	s := bufio.NewScanner(file)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		var l struct{ Seed uint64 }
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		done[l.Seed] = true
	}
	return done, s.Err()
}
