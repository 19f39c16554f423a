package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/tests/sim"
)

// worldTimeout is how long one world may take by the real clock. One that takes longer hangs: something of it blocks
// outside of the simulated world.
const worldTimeout = 4 * time.Minute

// pool runs worlds in processes of their own.
type pool struct {
	base     sim.Options
	parallel int
}

// run runs the worlds from first to last but those of skip, until ctx ends. each is called for one result at a time.
func (p *pool) run(ctx context.Context, first, last uint64, skip func(seed uint64) bool, each func(*line)) error {
	var (
		next  atomic.Uint64
		mu    sync.Mutex
		group sync.WaitGroup
		err   error
	)
	next.Store(first)
	for range max(1, p.parallel) {
		group.Go(func() {
			for ctx.Err() == nil {
				seed := next.Add(1) - 1
				if seed > last {
					return
				}
				if skip(seed) {
					continue
				}
				o := p.base
				o.Seed = seed
				l, e := p.world(ctx, o)
				mu.Lock()
				if e != nil && ctx.Err() == nil && err == nil {
					err = e
				}
				if e == nil {
					each(l)
				}
				stop := err != nil
				mu.Unlock()
				if stop {
					return
				}
			}
		})
	}
	group.Wait()
	return err
}

// world runs one world in a process of its own. A process that dies is a result as well.
func (p *pool) world(ctx context.Context, o sim.Options) (*line, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"run", "--json", "--seed", strconv.FormatUint(o.Seed, 10), "--salt", strconv.FormatUint(o.Salt, 10)}
	if o.Bug != "" {
		args = append(args, "--bug", o.Bug)
	}
	for _, s := range o.Set {
		args = append(args, "--set", s)
	}
	return child(ctx, self, args, o.Seed)
}

func child(ctx context.Context, self string, args []string, seed uint64) (*line, error) {
	limited, cancel := context.WithTimeout(ctx, worldTimeout)
	defer cancel()
	cmd := exec.CommandContext(limited, self, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	runErr := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	l := &line{Result: &sim.Result{Seed: seed}}
	switch {
	case limited.Err() != nil:
		l.Err, l.Kind = fmt.Sprintf("hang: the world did not end within %s", worldTimeout), "hang"
		return l, nil
	case runErr != nil:
		l.Err, l.Kind = "process: "+runErr.Error()+"\n"+tail(errs.String(), 6000), "process"
		return l, nil
	}
	if err := json.Unmarshal(out.Bytes(), l); err != nil {
		return nil, fmt.Errorf("seed %d: %w: %s", seed, err, tail(out.String(), 300))
	}
	if l.Kind == "usage" {
		return nil, fmt.Errorf("%s", l.Err)
	}
	return l, nil
}

func tail(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
