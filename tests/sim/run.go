package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// Options say which world to run and what to print.
type Options struct {
	Seed  uint64
	Salt  uint64    // another course of the same knobs
	Set   []string  // knobs that are not drawn, as name=value
	Bug   string    // a planted bug; the build must have them
	Trace io.Writer // nil: no lines
	Steps bool      // also every step of every task
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
		if err := c.run(); err != nil {
			w.Fail(err)
		}
	})
	r := &Result{Seed: o.Seed, Knobs: k, Simulated: w.Now(), Elapsed: time.Since(begun), Steps: w.Steps(), Fingerprint: w.Trace.Fingerprint(), Checkpoints: w.Trace.Checkpoints()}
	if err != nil {
		r.Err, r.Kind = err.Error(), failureKind(err.Error())
	}
	if c != nil {
		r.Operations, r.Ambiguous, r.Refused, r.Messages, r.Faults = len(c.ops), c.ambiguous, c.refused, c.net.Delivered, c.faults
	}
	return r
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

// run is the life of the cluster.
func (c *cluster) run() error {
	ctx := context.Background()
	for _, s := range c.servers {
		s.start()
	}
	for i := range c.knobs.Clients {
		c.workers = append(c.workers, c.newWorker(i+1))
	}
	// Nothing is harmed before the cluster has begun: who loses the first member's disk has no cluster.
	if err := c.until("the first operation", time.Minute, func() bool { return len(c.ops) > 0 }); err != nil {
		return err
	}
	c.main.Log("phase: faults")
	c.harm(c.w.Now() + c.knobs.Faults)
	c.main.Log("phase: heal")
	c.heal()
	before := len(c.ops)
	if err := c.until("progress after everything was healed", time.Minute, func() bool { return len(c.ops) > before+20 }); err != nil {
		return err
	}
	for _, w := range c.workers {
		w.stop = true
	}
	if err := c.until("the end of all clients", time.Minute, func() bool {
		for _, w := range c.workers {
			if !w.done {
				return false
			}
		}
		return true
	}); err != nil {
		for _, w := range c.workers {
			if !w.done {
				w.machine.Log("not done: %v", w.machine.Waiting())
			}
		}
		return err
	}
	_ = ctx
	if err := c.checkHistory(); err != nil {
		return err
	}
	for _, s := range c.servers {
		s.crash()
	}
	for _, w := range c.workers {
		w.machine.Kill()
	}
	return nil
}

// until waits for something that must happen within a time.
func (c *cluster) until(what string, d time.Duration, f func() bool) error {
	for end := c.w.Now() + d; !f(); {
		if c.w.Now() > end {
			return fmt.Errorf("liveness: no %s within %s", what, d)
		}
		c.revive()
		_ = c.env.Sleep(context.Background(), 50*time.Millisecond)
	}
	return nil
}

// heal ends every fault.
func (c *cluster) heal() {
	c.net.Calm()
	c.net.HealAll()
	for _, s := range c.servers {
		s.disk.hung, s.disk.slow = 0, 0
		if s.up() {
			s.machine.Resume()
		}
		c.startIfDown(s)
	}
}
