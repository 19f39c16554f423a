package sim

import (
	"context"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// moment is a kind of thing that has just happened on a server, at which faults do more harm than at any other.
type moment int

const (
	hasWon       moment = iota // an election
	hasSplit                   // a shard
	hasChanged                 // a membership
	hasInstalled               // a snapshot
	hasHanded                  // its leadership to another one
	hasAsked                   // been asked what became of a write
	moments
)

// ambush is a trap for the next server on which a moment comes: it is harmed a little later, when what it just began is
// half done. Faults at random times seldom meet those.
type ambush struct {
	c     *cluster
	wake  env.Event
	armed map[moment]int // how many servers will be hit
	prey  *server
	after time.Duration
}

func (c *cluster) newAmbush() *ambush {
	a := &ambush{c: c, wake: c.env.NewEvent("ambush"), armed: make(map[moment]int)}
	c.env.Go("ambush", a.run)
	return a
}

// lurk arms a trap, for as long as the faults last.
func (c *cluster) lurk() {
	what := moment(c.w.IntN(int(moments)))
	c.ambush.armed[what] += 1 + c.w.IntN(3)
	c.ambush.after = c.w.Scale(10*time.Microsecond, 10*c.knobs.Tick)
}

// met is called by monitors, on the machine on which something happened.
func (a *ambush) met(what moment, o *observer) {
	if a == nil || a.armed[what] == 0 || a.prey != nil {
		return
	}
	for _, s := range a.c.servers {
		if s.machine == o.machine {
			a.armed[what]--
			a.prey = s
			a.wake.Wake()
		}
	}
}

func (a *ambush) run() {
	ctx := context.Background()
	for a.wake.Wait(ctx, 0) == nil {
		_ = a.c.env.Sleep(ctx, a.after)
		s := a.prey
		a.prey = nil
		if s.up() && !a.c.calm {
			a.c.strike(s)
		}
	}
}

// strike harms one server in some way.
func (c *cluster) strike(s *server) {
	how := c.w.IntN(6)
	c.main.Log("ambush of %s (%d)", s, how)
	c.faults["ambushed"]++
	switch how {
	case 0:
		s.crash()
		c.later(time.Millisecond, 3*time.Second, func() { c.startIfDown(s) })
	case 1:
		s.crash()
		s.start()
	case 2:
		c.isolate(s)
		c.later(10*time.Millisecond, 5*time.Second, func() { c.reconnect(s) })
	case 3:
		m := s.machine
		m.Pause()
		c.later(10*time.Millisecond, 5*time.Second, m.Resume)
	case 4:
		s.disk.hung = c.w.Now() + c.w.Scale(10*time.Millisecond, 4*time.Second)
	case 5: // power fails everywhere at once
		for _, o := range c.servers {
			o.crash()
		}
		for _, o := range c.servers {
			c.later(time.Millisecond, time.Second, func() { c.startIfDown(o) })
		}
	}
}
