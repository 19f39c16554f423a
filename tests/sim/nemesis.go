package sim

import (
	"context"
	"slices"
	"strings"
	"time"
)

// nemesis is one kind of fault: do harms, and heals what it harmed, or leaves that to the end of the phase.
type nemesis struct {
	name string
	do   func(c *cluster)
}

var nemeses = []nemesis{
	{"crash", (*cluster).crashOne},
	{"crash-all", (*cluster).crashAll},
	{"pause", (*cluster).pauseOne},
	{"isolate", (*cluster).isolateOne},
	{"one-way", (*cluster).cutOneWay},
	{"halves", (*cluster).cutHalves},
	{"clog", (*cluster).clogOne},
	{"hang", (*cluster).hangDisk},
	{"slow-disk", (*cluster).slowDisk},
	{"blackout", (*cluster).blackout},
	{"clock", (*cluster).bendClock},
	{"replace", (*cluster).replace},
	{"flap", (*cluster).flap},
	{"cut-client", (*cluster).cutClient},
	{"bounce", (*cluster).bounce},
	{"ambush", (*cluster).lurk},
	{"disk-full", (*cluster).fillDisk},
	{"fail-sync", (*cluster).failSyncs},
	{"corrupt", (*cluster).corrupt},
}

// harm does one evil thing after the other until the phase is over.
func (c *cluster) harm(until time.Duration) {
	var chosen []nemesis
	for _, n := range nemeses {
		if slices.Contains(c.knobs.Nemeses, n.name) {
			chosen = append(chosen, n)
		}
	}
	ctx := context.Background()
	for c.w.Now() < until {
		if len(chosen) > 0 {
			n := chosen[c.w.IntN(len(chosen))]
			c.faults[n.name]++
			n.do(c)
		}
		c.revive()
		_ = c.env.Sleep(ctx, c.w.Between(10*time.Millisecond, c.knobs.Pace))
	}
}

// revive starts again what ended by itself: a supervisor would.
func (c *cluster) revive() {
	for _, s := range c.servers {
		if s.up() && s.broken != nil {
			c.main.Log("%s ended: %v", s, s.broken)
			if strings.Contains(s.broken.Error(), "was removed from the cluster") {
				s.refusals++
			}
			s.crash()
			if s.removed || s.refusals >= 3 { // its administrator knows, or has read the log by now
				s.disk.wipe(partStore)
				s.removed, s.refusals = false, 0
			}
			s.start()
		}
	}
}

// anyServer is a victim: any, or the one that leads most, as an observer from outside would aim.
func (c *cluster) anyServer() *server {
	if !c.w.Chance(c.knobs.Aim) {
		return c.servers[c.w.IntN(len(c.servers))]
	}
	best, most := c.servers[0], -1
	for _, s := range c.servers {
		if n := c.monitors.leading(s.machine); n > most {
			best, most = s, n
		}
	}
	return best
}

// later runs f after a while, as a task of the world, unless everything is healed before: f ends a fault, and must not
// end one that was begun on purpose since.
func (c *cluster) later(least, most time.Duration, f func()) {
	era, d := c.era, c.w.Scale(least, most)
	c.env.Go("later", func() {
		_ = c.env.Sleep(context.Background(), d)
		if c.era == era {
			f()
		}
	})
}

func (c *cluster) crashOne() {
	s := c.anyServer()
	if !s.up() {
		return
	}
	s.crash()
	c.later(time.Millisecond, 3*time.Second, func() { c.startIfDown(s) })
}

func (c *cluster) startIfDown(s *server) {
	if !s.up() {
		s.start()
	}
}

func (c *cluster) crashAll() {
	c.main.Log("all crash")
	for _, s := range c.servers {
		s.crash()
	}
	for _, s := range c.servers {
		c.later(time.Millisecond, time.Second, func() { c.startIfDown(s) })
	}
}

func (c *cluster) pauseOne() {
	s := c.anyServer()
	if !s.up() {
		return
	}
	m := s.machine
	m.Log("pause")
	m.Pause()
	c.later(10*time.Millisecond, 5*time.Second, func() {
		m.Log("resume")
		m.Resume()
	})
}

func (c *cluster) isolateOne() {
	s := c.anyServer()
	c.isolate(s)
	c.later(10*time.Millisecond, 5*time.Second, func() { c.reconnect(s) })
}

func (c *cluster) isolate(s *server) {
	c.main.Log("isolate %s", s)
	for _, o := range c.servers {
		if o != s {
			c.net.Cut(s.addr, o.addr)
			c.net.Cut(o.addr, s.addr)
		}
	}
}

func (c *cluster) reconnect(s *server) {
	c.main.Log("reconnect %s", s)
	for _, o := range c.servers {
		c.net.Heal(s.addr, o.addr)
		c.net.Heal(o.addr, s.addr)
	}
}

func (c *cluster) cutOneWay() {
	a, b := c.anyServer(), c.anyServer()
	if a == b {
		return
	}
	c.main.Log("cut %s to %s", a, b)
	c.net.Cut(a.addr, b.addr)
	c.later(10*time.Millisecond, 6*time.Second, func() {
		c.main.Log("heal %s to %s", a, b)
		c.net.Heal(a.addr, b.addr)
	})
}

// bounce ends processes and starts them again at once, before anybody has noticed.
func (c *cluster) bounce() {
	for range 1 + c.w.IntN(3) {
		s := c.servers[c.w.IntN(len(c.servers))]
		if s.up() && s.node != nil {
			s.crash()
			s.start()
		}
		_ = c.env.Sleep(context.Background(), c.w.Scale(time.Millisecond, 8*c.knobs.Tick))
	}
}

// flap cuts and heals single directions between servers, many times in a short while.
func (c *cluster) flap() {
	c.main.Log("flap")
	for range 3 + c.w.IntN(12) {
		a, b := c.anyServer(), c.servers[c.w.IntN(len(c.servers))]
		if a == b {
			continue
		}
		if c.w.Chance(0.5) {
			a, b = b, a
		}
		c.net.Cut(a.addr, b.addr)
		c.later(time.Millisecond, 12*c.knobs.Tick, func() { c.net.Heal(a.addr, b.addr) })
		_ = c.env.Sleep(context.Background(), c.w.Between(0, 6*c.knobs.Tick))
	}
}

// cutClient loses what one client and one server, or all servers, say to each other, in one direction or both.
func (c *cluster) cutClient() {
	w := c.workers[c.w.IntN(len(c.workers))]
	servers := c.servers
	if c.w.Chance(0.6) {
		servers = []*server{c.anyServer()}
	}
	there, back := c.w.Chance(0.6), c.w.Chance(0.6)
	c.main.Log("cut c%d from %v, there %v, back %v", w.id, servers, there, back)
	for _, s := range servers {
		if there {
			c.net.Cut(w.host.Addr(), s.addr)
		}
		if back {
			c.net.Cut(s.addr, w.host.Addr())
		}
	}
	c.later(time.Millisecond, 2*time.Second, func() {
		for _, s := range servers {
			c.net.Heal(w.host.Addr(), s.addr)
			c.net.Heal(s.addr, w.host.Addr())
		}
	})
}

func (c *cluster) cutHalves() {
	side := make([]bool, len(c.servers))
	for i := range side {
		side[i] = c.w.Chance(0.5)
	}
	c.main.Log("halves %v", side)
	for i, a := range c.servers {
		for j, b := range c.servers {
			if side[i] != side[j] {
				c.net.Cut(a.addr, b.addr)
			}
		}
	}
	c.later(10*time.Millisecond, 4*time.Second, func() {
		c.main.Log("heal halves")
		for i, a := range c.servers {
			for j, b := range c.servers {
				if side[i] != side[j] {
					c.net.Heal(a.addr, b.addr)
				}
			}
		}
	})
}

func (c *cluster) clogOne() {
	a, b := c.anyServer(), c.anyServer()
	c.main.Log("clog %s to %s", a, b)
	c.net.Clog(a.addr, b.addr, c.w.Between(10*time.Millisecond, 2*time.Second))
	c.later(10*time.Millisecond, 6*time.Second, func() { c.net.Heal(a.addr, b.addr) })
}

func (c *cluster) hangDisk() {
	s := c.anyServer()
	d := c.w.Between(10*time.Millisecond, 4*time.Second)
	c.main.Log("the disk of %s hangs for %s", s, d)
	s.disk.hung = c.w.Now() + d
}

func (c *cluster) slowDisk() {
	s := c.anyServer()
	s.disk.slow = 2 + c.w.IntN(60)
	c.main.Log("the disk of %s is %d times slower", s, s.disk.slow)
	c.later(100*time.Millisecond, 5*time.Second, func() { s.disk.slow = 0 })
}

// blackout takes the power from most servers, after their disks have hung for a while: what they said meanwhile without
// a sync is lost.
func (c *cluster) blackout() {
	var hit []*server
	for _, s := range c.servers {
		if c.w.Chance(0.7) {
			hit = append(hit, s)
			s.disk.hung = c.w.Now() + 10*time.Second
		}
	}
	c.main.Log("blackout of %v", hit)
	longest := 200 * time.Millisecond
	if c.w.Chance(0.5) {
		longest = 4 * time.Second // long enough for others to lead, and for those that hang to be asked for votes
	}
	_ = c.env.Sleep(context.Background(), c.w.Between(time.Millisecond, longest))
	for _, s := range hit {
		s.crash()
	}
	for _, s := range hit {
		c.later(time.Millisecond, time.Second, func() { c.startIfDown(s) })
	}
}

// rate is how fast a clock goes: as wrong as allowed in most cases, because what breaks breaks there.
func (c *cluster) rate() float64 {
	d := c.knobs.Drift
	switch c.w.IntN(3) {
	case 0:
		return 1 - d
	case 1:
		return 1 + d
	}
	return 1 - d + 2*d*float64(c.w.IntN(1001))/1000
}

func (c *cluster) bendClock() {
	s := c.anyServer()
	if !s.up() {
		return
	}
	rate := c.rate()
	jump := c.w.Between(-c.knobs.WallSkew, c.knobs.WallSkew)
	c.main.Log("the clock of %s goes at %.4f and jumps by %s", s, rate, jump)
	s.machine.SetRate(rate)
	s.machine.JumpWall(jump)
}

func (c *cluster) transfer() {
	from := c.anyServer()
	if !from.up() || from.node == nil {
		return
	}
	n, to := from.node, c.anyServer()
	from.machine.Env().Go("transfer", func() {
		ctx, cancel := from.machine.Env().WithTimeout(context.Background(), time.Second)
		defer cancel()
		infos, err := n.Replicas(ctx, 0)
		if err != nil {
			return
		}
		for _, i := range infos {
			if !i.Leading || !c.w.Chance(0.5) {
				continue
			}
			target := i.Desc.Replicas[(to.index)%len(i.Desc.Replicas)].Store
			err := n.TransferLeader(ctx, i.Desc.ID, target)
			c.main.Log("transfer %s to %s: %v", i.Desc.ID, target, err)
		}
	})
}
