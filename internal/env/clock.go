package env

import (
	"sync/atomic"
	"time"
)

// suspendClock is a clock that goes on while the machine is suspended, read almost always without a system call.
//
// The system's own such clock costs a system call, which takes 0.4 to 1.6 µs on virtual machines, where the monotonic and the wall
// clock together take 0.05 (they are read from a page that the kernel maps). But it differs from the monotonic clock by how long the
// machine slept, and nothing else; and a sleep moves the wall clock against the monotonic one by as much. So the system's clock is read
// only when these two have moved apart, and otherwise the difference of then is added. A change of the wall clock costs a reading, and
// changes nothing. Not seen would be a sleep as long as a step of the wall clock back in the same moment, to stepTolerance.
//
// Invariant: without a sleep it never goes back and never jumps, whoever reads it; a sleep moves it by its length, to readTolerance, and
// no reading that begins after a sleep is without it.
type suspendClock struct {
	clocks  clocks
	offsets atomic.Pointer[offsets]
}

// clocks are the readings that a suspendClock is made from, in nanoseconds since any origin.
type clocks interface {
	// both reads the monotonic clock, which stands still in a sleep, and the wall clock.
	both() (mono, wall int64)
	// boot reads the clock that goes on.
	boot() int64
}

// offsets are how far two clocks were ahead of the monotonic one. The system's was so by least at least, and by boot at most.
type offsets struct{ boot, least, wall int64 }

const (
	// stepTolerance is by how much wall and monotonic clock may differ from before without a look; they are read one after the other.
	stepTolerance = int64(time.Millisecond)
	// readTolerance is within how much the system's clock is to be placed on the monotonic one; beyond readTries the best one counts.
	readTolerance = int64(20 * time.Microsecond)
	readTries     = 8
)

func (c *suspendClock) now() Time {
	for {
		mono, wall := c.clocks.both()
		o := c.offsets.Load()
		if o != nil && abs(wall-mono-o.wall) <= stepTolerance {
			return Time(mono + o.boot)
		}
		c.look(o)
	}
}

// look reads the system's clock and what the others are now, in the place of old. Of two callers who both do, the first one's differences
// count; they may be from before a sleep that the other one saw, so whoever looked compares once more.
func (c *suspendClock) look(old *offsets) {
	o := c.read()
	for range readTries - 1 {
		if o.boot-o.least <= readTolerance {
			break
		}
		if again := c.read(); again.boot-again.least < o.boot-o.least {
			o = again
		}
	}
	if old != nil && o.least <= old.boot && old.least <= o.boot {
		o.boot, o.least = old.boot, old.least // there was no sleep
	}
	c.offsets.CompareAndSwap(old, &o)
}

func (c *suspendClock) read() offsets {
	before, _ := c.clocks.both()
	boot := c.clocks.boot()
	after, wall := c.clocks.both()
	return offsets{boot: boot - before, least: boot - after, wall: wall - after}
}

func abs(x int64) int64 { return max(x, -x) }
