package sim

import (
	"context"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// allocator takes ids and timestamps from whichever placement member gives any, and checks that none is given twice, and
// that a timestamp is larger than every one that was given before it was asked for.
type allocator struct {
	c    *cluster
	m    *world.Machine
	env  env.Env
	host *simnet.Host
	stop bool
	done bool
}

// given is what placement has given out, to all allocators.
type given struct {
	ids    map[uint64]bool
	last   uint64 // the largest timestamp of an answer that has arrived
	stamps map[uint64]bool
	count  int
}

func (c *cluster) newAllocator(name string) *allocator {
	m := c.w.NewMachine(name)
	a := &allocator{c: c, m: m, env: m.Env(), host: c.net.Host(m, name)}
	m.Env().Go("allocate", a.run)
	return a
}

func (a *allocator) run() {
	defer func() { a.done = true }()
	ctx, c := context.Background(), a.c
	members := c.joinAddrs()
	for !a.stop {
		_ = a.env.Sleep(ctx, c.w.Between(0, 200*time.Millisecond))
		p := a.host.Wire().Placement(members[c.w.IntN(len(members))])
		one, cancel := a.env.WithTimeout(ctx, 2*time.Second)
		count := 1 + c.w.IntN(20)
		if c.w.Chance(0.4) {
			if first, err := p.AllocIDs(one, count); err == nil {
				a.ids(first, count)
			}
		} else {
			before := c.given.last
			if first, err := p.Timestamps(one, count); err == nil {
				a.timestamps(before, first, count)
			}
		}
		cancel()
	}
}

func (a *allocator) ids(first uint64, count int) {
	g := &a.c.given
	g.count++
	for id := first; id < first+uint64(count); id++ {
		if g.ids[id] {
			a.c.monitors.violated("ids", "id %d was given out twice", id)
		}
		g.ids[id] = true
	}
}

// timestamps come in steps of two: those that placement issues are even.
func (a *allocator) timestamps(before, first uint64, count int) {
	g := &a.c.given
	g.count++
	if first <= before {
		a.c.monitors.violated("timestamps", "timestamp %d was given out after %d was", first, before)
	}
	for i := range uint64(count) {
		ts := first + 2*i
		if g.stamps[ts] {
			a.c.monitors.violated("timestamps", "timestamp %d was given out twice", ts)
		}
		g.stamps[ts] = true
		g.last = max(g.last, ts)
	}
}
