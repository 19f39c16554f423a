package sim

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/tests/sim/world"
	"github.com/skerrydb/skerry/tests/states"
)

// Options say which world to run and what to print.
type Options struct {
	Seed   uint64
	Salt   uint64    // another course of the same knobs
	Set    []string  // knobs that are not drawn, as name=value
	Bug    string    // a planted bug; the build must have them
	Trace  io.Writer // nil: no lines
	Steps  bool      // also every step of every task
	Frames bool      // also every raft message between stores
	Record io.Writer // nil: decisions are not written down
	follow *Recording
}

// Result is what came out of one world.
type Result struct {
	Seed        uint64
	Knobs       *Knobs        `json:"-"`
	Err         string        // empty: no invariant was violated
	Kind        string        // of the failure
	Simulated   time.Duration //
	Elapsed     time.Duration // by the real clock
	Steps       uint64
	Operations  int
	Ambiguous   int
	Refused     int
	Messages    uint64
	Fingerprint uint64
	Checkpoints []uint64 `json:"-"`
	Faults      map[string]int
	// Looks says how often each monitor had something to look at.
	Looks map[string]int `json:",omitempty"`
	// Rows says how often each row of the tables of states was taken: by the name of the table, then by the row's number.
	Rows map[string][]int `json:",omitempty"`
}

// Run runs the world of a seed.
func Run(o Options) *Result {
	k := draw(o.Seed)
	if err := k.set(o.Set); err != nil {
		return &Result{Seed: o.Seed, Knobs: k, Err: err.Error(), Kind: "usage"}
	}
	if err := plant(o.Bug); err != nil {
		return &Result{Seed: o.Seed, Knobs: k, Err: err.Error(), Kind: "usage"}
	}
	w := world.New(o.Seed+o.Salt<<32, strategies[k.Strategy]())
	if err := o.attach(w, k); err != nil {
		return &Result{Seed: o.Seed, Knobs: k, Err: err.Error(), Kind: "usage"}
	}
	if o.Trace != nil {
		w.Trace.Print(o.Trace, o.Steps)
		defer w.Trace.Flush()
	}
	seedLibraries(o.Seed + o.Salt<<32)
	begun := time.Now()
	var c *cluster
	err := w.Run(func(m *world.Machine) {
		m.Log("%s", k)
		c = newCluster(w, m, k)
		c.frames = o.Frames
		if err := c.run(); err != nil {
			w.Fail(err)
		}
	})
	r := &Result{Seed: o.Seed, Knobs: k, Simulated: w.Now(), Elapsed: time.Since(begun), Steps: w.Steps(), Fingerprint: w.Trace.Fingerprint(), Checkpoints: w.Trace.Checkpoints()}
	if err != nil {
		r.Err, r.Kind = err.Error(), failureKind(err.Error())
	}
	if err := w.StopRecording(); err != nil {
		r.Err, r.Kind = "record: "+err.Error(), "usage"
	}
	if c != nil {
		r.Operations, r.Ambiguous, r.Refused, r.Messages, r.Faults = len(c.ops), c.ambiguous, c.refused, c.net.Delivered, c.faults
		r.Looks = c.monitors.seen
		r.Rows = make(map[string][]int)
		for _, t := range states.All() {
			r.Rows[t.Name] = c.rows.Taken(&t)
		}
	}
	return r
}

// attach lets a world write its decisions down, or take them from a file.
func (o *Options) attach(w *world.World, k *Knobs) error {
	if o.follow != nil {
		if err := o.follow.check(k); err != nil {
			return err
		}
		w.Follow(o.follow.Decisions)
	}
	if o.Record == nil {
		return nil
	}
	w.Record(o.Record)
	return writeDecisionsHeader(o.Record, o, k)
}

func plant(name string) error {
	if name == "" {
		return nil
	}
	b, ok := bug.Find(name)
	switch {
	case !ok:
		return fmt.Errorf("no bug is called %q: see skerry-sim bugs", name)
	case !bug.Built:
		return errors.New("this program was built without planted bugs: build it with -tags bugs")
	}
	bug.Plant(b)
	return nil
}
