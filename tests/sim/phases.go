package sim

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Limits of liveness, in simulated time. They are far above what is usual: who misses one hangs.
const (
	bootLimit     = time.Minute
	coreLimit     = 4 * time.Minute
	healedLimit   = 2 * time.Minute
	clientsLimit  = 2 * time.Minute
	settledLimit  = 2 * time.Minute
	restLimit     = 10 * time.Minute
	comparedLimit = time.Minute
	asleepLimit   = 3 * time.Minute
	readAllLimit  = time.Minute
)

// run is the life of the cluster, in phases.
func (c *cluster) run() error {
	for i, s := range c.servers {
		if i < c.knobs.Stores-c.knobs.Late {
			s.start()
			continue
		}
		c.later(time.Second, c.knobs.Faults, func() { c.startIfDown(s) })
	}
	c.auditor = c.newAuditor()
	c.ambush = c.newAmbush()
	for i := range c.knobs.Clients {
		c.workers = append(c.workers, c.newWorker(i+1))
	}
	for i := range c.knobs.Txns {
		c.txn.clients = append(c.txn.clients, c.newTxnClient(i+1))
	}
	for i := range c.knobs.watchers() {
		c.watchers = append(c.watchers, c.newWatcher(i+1))
	}
	for i := range 2 {
		c.allocators = append(c.allocators, c.newAllocator(fmt.Sprintf("a%d", i+1)))
	}
	// Nothing is harmed before the cluster has begun: a member that loses its disk before that cannot come back.
	if err := c.until("first operation", bootLimit, func() bool { return len(c.ops) > 0 }); err != nil {
		return err
	}
	c.main.Log("phase: faults")
	c.stir(c.w.Now() + c.knobs.Faults)
	c.reseat(c.w.Now() + c.knobs.Faults)
	c.perish(c.w.Now() + c.knobs.Faults)
	c.collect(c.w.Now() + c.knobs.Faults)
	c.listen(c.w.Now() + c.knobs.Faults)
	c.harm(c.w.Now() + c.knobs.Faults)
	if err := c.core(); err != nil {
		return err
	}
	c.main.Log("phase: heal")
	c.heal()
	if err := c.progress("after everything was healed", healedLimit, nil); err != nil {
		return err
	}
	if err := c.end(); err != nil {
		return err
	}
	if err := c.final(); err != nil {
		return err
	}
	c.killAll()
	if err := c.checkStates(); err != nil {
		return err
	}
	if err := c.checkTxns(); err != nil {
		return err
	}
	return c.checkHistory()
}

// checkStates finds what was not where its life says, or met what its table of states does not know.
func (c *cluster) checkStates() error {
	if f := c.rows.Faults(); len(f) > 0 {
		return fmt.Errorf("states: %s", f[0])
	}
	return nil
}

// core heals all servers but one, which stays broken for the whole phase, and demands that every slot of keys makes
// progress: faults that come and go at random hide what a fault that stays brings to a stop.
func (c *cluster) core() error {
	if c.knobs.replicas() == 1 {
		return nil // every server is part of every core
	}
	bad := c.servers[c.w.IntN(len(c.servers))]
	c.heal()
	// A shard that has lost a replica for good cannot spare another one, nor can placement a member.
	if err := c.until("end of a replacement", settledLimit, func() bool { return !c.replacing && !c.reseating }); err != nil {
		return err
	}
	// One of the first members that has not begun counts as lost, too.
	if err := c.until("beginning of all members", settledLimit, func() bool {
		return !slices.ContainsFunc(c.servers, func(s *server) bool { return s.seated() && s.number() == 0 })
	}); err != nil {
		return err
	}
	if !c.placesWithout(bad) {
		bad = c.servers[len(c.servers)-1]
	}
	how := c.w.IntN(6)
	if !c.placesWithout(bad) {
		how = 4
	}
	c.main.Log("phase: core, without %s (%d)", bad, how)
	switch how {
	case 0:
		bad.crash()
	case 1:
		c.isolate(bad)
	case 2: // hears everybody, and nobody hears it
		for _, o := range c.servers {
			c.net.Cut(bad.addr, o.addr)
		}
	case 3: // is heard by everybody, and hears nobody
		for _, o := range c.servers {
			if o != bad {
				c.net.Cut(o.addr, bad.addr)
			}
		}
	case 4:
		bad.disk.slow = 20
	case 5: // a disk that hangs for good: whoever starts the process again does not help
		bad.disk.hung = c.w.Now() + time.Hour
	}
	return c.progress(fmt.Sprintf("while %s is broken (%d)", bad, how), coreLimit, bad)
}

// progress waits until an operation on every slot has succeeded. down, if not nil, stays down.
func (c *cluster) progress(when string, limit time.Duration, down *server) error {
	begun := c.time
	c.hurry = true
	defer func() { c.hurry = false }()
	err := c.untilBut(down, "progress of every slot "+when, limit, func() bool {
		for slot := range c.knobs.Groups {
			if c.slots[slot].lastOK <= begun {
				return false
			}
		}
		return c.txnsProgress(begun)
	})
	if err != nil {
		for _, w := range c.workers {
			w.machine.Log("pending since %s: %v", w.pending, w.machine.Waiting())
		}
	}
	return err
}

// end lets the clients finish what they are doing.
func (c *cluster) end() error {
	for _, w := range c.workers {
		w.stop = true
	}
	for _, a := range c.allocators {
		a.stop = true
	}
	if err := c.endTxns(); err != nil {
		return err
	}
	if err := c.endWatches(); err != nil {
		return err
	}
	return c.until("end of all clients", clientsLimit, func() bool {
		for _, w := range c.workers {
			if !w.done {
				return false
			}
		}
		for _, a := range c.allocators {
			if !a.done {
				return false
			}
		}
		return true
	})
}

// final asks the cluster for what must be true when nobody harms or uses it any more.
func (c *cluster) final() error {
	c.main.Log("phase: final")
	a := c.auditor
	if err := c.until("end of a drain, or of a change of members", settledLimit, func() bool { return !c.draining && !c.reseating }); err != nil {
		return err
	}
	if err := a.do("the cluster comes to rest", restLimit, a.rest); err != nil {
		return err
	}
	if err := a.do("shards settle", settledLimit, a.settled); err != nil {
		return err
	}
	if err := a.do("all groups are read", readAllLimit, a.readAll); err != nil {
		return err
	}
	if err := a.do("all that transactions wrote is read", readAllLimit, a.readTxns); err != nil {
		return err
	}
	if err := a.do("what watchers were told is there", readAllLimit, a.checkWatches); err != nil {
		return err
	}
	if err := a.do("all replicas are compared", comparedLimit, a.sameReplicas); err != nil {
		return err
	}
	for _, s := range c.servers { // nobody sleeps who is compared
		if s.up() && s.node != nil {
			s.node.SetCompareEvery(0)
		}
	}
	return a.do("all replicas fall asleep", asleepLimit, a.asleep)
}

// killAll ends every task, so that nothing is left behind in this process.
func (c *cluster) killAll() {
	c.ambush.end()
	_ = c.env.Sleep(context.Background(), time.Millisecond) // it ends
	for _, s := range c.servers {
		s.crash()
	}
	for _, w := range c.workers {
		w.machine.Kill()
	}
	for _, x := range c.txn.clients {
		x.machine.Kill()
	}
	for _, x := range c.watchers {
		x.machine.Kill()
	}
	for _, a := range c.allocators {
		a.m.Kill()
	}
	if c.echo != nil {
		c.echo.machine.Kill()
	}
	c.auditor.m.Kill()
}

// until waits for something that must happen within a time.
func (c *cluster) until(what string, d time.Duration, f func() bool) error {
	return c.untilBut(nil, what, d, f)
}

func (c *cluster) untilBut(down *server, what string, d time.Duration, f func() bool) error {
	for end := c.w.Now() + d; !f(); {
		if err := c.checkStates(); err != nil {
			return err
		}
		if c.w.Now() > end {
			c.auditor.describe()
			return fmt.Errorf("liveness: no %s within %s", what, d)
		}
		c.revive()
		for _, s := range c.servers {
			if s != down {
				c.startIfDown(s)
			}
		}
		_ = c.env.Sleep(context.Background(), 50*time.Millisecond)
	}
	return nil
}

// heal ends every fault.
func (c *cluster) heal() {
	c.calm = true
	c.era++
	c.net.Calm()
	c.net.HealAll()
	for _, s := range c.servers {
		s.disk.hung, s.disk.slow = 0, 0
		s.disk.mend()
		if s.up() {
			s.machine.Resume()
		}
		c.startIfDown(s)
	}
}
