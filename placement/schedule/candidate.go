package schedule

import (
	"cmp"
	"fmt"
)

// Tier is one of the questions by which two places for a replica are compared. They are asked in this order, and the
// first on which the two differ decides.
type Tier uint8

// The tiers. The first four rule a store out; the others prefer one to another.
const (
	TierNone       Tier = iota
	TierHolds           // it has a replica of this shard already: never two on one store
	TierConstraint      // the rules want the replica on other stores
	TierLive            // it is not up: draining, silent, or gone
	TierSpace           // its disk would be nearly full
	TierIsolation       // the replicas would share a zone, rack or host more than elsewhere
	TierSlowDisk        // its disk is slow against the others
	TierBusy            // it receives as many replicas as it may already
	TierConverge        // it would be fuller than the mean
	TierBalance         // it is fuller against the mean, beyond the tolerance
	TierLoad            // it is fuller
	TierChance          // nothing tells the two apart; a number made of shard and store decides
	TierChosen          // it was chosen
)

var tierNames = [...]string{"none", "holds it", "constraint", "liveness", "disk space", "isolation", "slow disk", "busy", "convergence", "balance", "load", "chance", "chosen"}

func (t Tier) String() string { return tierNames[t] }

// choice is the search for a place for one replica of a shard.
type choice struct {
	*look
	rest []int32 // the stores of the replicas that stay
	// balancing fills no more than half of what a store may receive.
	balancing bool
	trace     *Trace
}

// candidate is one place.
type candidate struct {
	at        int32
	isolation uint64 // that it adds to the rest
	slow      bool
	busy      bool
	converges bool
	class     int8 // -1 emptier than the mean beyond the tolerance, 1 fuller
	load      float64
}

// ruleOut asks the first tiers, TierNone if the store may hold the replica.
func (p *picture) ruleOut(c *choice, at int32) Tier {
	s := &p.stores[at]
	switch {
	case c.holds(at) && !c.learnerOn(at):
		return TierHolds
	case !c.rule.meets[at]:
		return TierConstraint
	case s.State != Up:
		return TierLive
	case !c.learnerOn(at) && !s.fits(c.Bytes):
		return TierSpace
	}
	return TierNone
}

// learnerOn reports whether a learner stands there that may become the voter: its copy is made already.
func (c *choice) learnerOn(at int32) bool {
	if c.joint {
		return false
	}
	for _, l := range c.learners {
		if l == at {
			return true
		}
	}
	return false
}

func (p *picture) candidate(c *choice, at int32) candidate {
	s := &p.stores[at]
	after := (s.weight + weigh(c.Bytes, 1)) / s.capacity
	out := candidate{at: at, isolation: p.addedCost(c.rest, &s.sites), slow: s.SlowDisk, busy: s.receive == 0 || c.balancing && s.balance == 0,
		converges: after <= c.rule.mean+p.tolerance, load: s.load()}
	if out.load < c.rule.mean-p.tolerance {
		out.class = -1
	} else if out.load > c.rule.mean+p.tolerance {
		out.class = 1
	}
	return out
}

// compare returns which of two places is better, negative for a, and the tier that decided.
func (p *picture) compare(c *choice, a, b *candidate) (int, Tier) {
	if d := cmp.Compare(a.isolation, b.isolation); d != 0 {
		return d, TierIsolation
	}
	if d := one(a.slow) - one(b.slow); d != 0 {
		return d, TierSlowDisk
	}
	if d := one(a.busy) - one(b.busy); d != 0 {
		return d, TierBusy
	}
	if d := one(b.converges) - one(a.converges); d != 0 {
		return d, TierConverge
	}
	if d := int(a.class) - int(b.class); d != 0 {
		return d, TierBalance
	}
	if d := cmp.Compare(a.load, b.load); d != 0 {
		return d, TierLoad
	}
	return cmp.Or(p.byChance(c.look, a.at, b.at), cmp.Compare(a.at, b.at)), TierChance
}

// choose returns the best place for the replica, false if there is none. allow, if not nil, rules out more: it returns
// the tier, or TierNone. The best place may be busy: then it is worth waiting for, since every other is further behind
// in what cannot be put right later, or just as busy.
func (p *picture) choose(c *choice, allow func(*candidate) Tier) (candidate, bool) {
	p.looks -= len(p.stores)
	var best candidate
	found := false
	for i := range len(p.stores) - 1 {
		at := int32(i)
		out := p.ruleOut(c, at)
		if out != TierNone {
			c.trace.ruledOut(p, c, at, out)
			continue
		}
		next := p.candidate(c, at)
		if allow != nil {
			if out := allow(&next); out != TierNone {
				c.trace.ruledOut(p, c, at, out)
				continue
			}
		}
		c.trace.possible(next)
		if d, _ := p.compare(c, &next, &best); !found || d < 0 {
			best, found = next, true
		}
	}
	c.trace.decided(p, c, best, found)
	return best, found
}

// describe says why a tier spoke against a store, for people.
func (p *picture) describe(c *choice, at int32, t Tier) string {
	s := &p.stores[at]
	switch t {
	case TierHolds:
		return "it has a replica of this shard"
	case TierConstraint:
		return fmt.Sprintf("it does not meet %s of rule %q", firstUnmet(c.rule.Require, &s.Store), c.rule.Name)
	case TierLive:
		return "it is " + s.State.String()
	case TierSpace:
		return fmt.Sprintf("its disk would be nearly full: %s free of %s, %s stay free", size(s.Free), size(s.Capacity), size(s.reserve))
	case TierIsolation:
		return "the replicas would share more places"
	case TierSlowDisk:
		return "its disk is slow"
	case TierBusy:
		return fmt.Sprintf("it receives %d replicas already", s.Receiving)
	case TierConverge:
		return "it would be fuller than the mean"
	case TierBalance, TierLoad:
		return fmt.Sprintf("it is fuller: load %s, mean %s", size(uint64(s.load())), size(uint64(c.rule.mean)))
	case TierChance:
		return "just as good; a number made of shard and store decides"
	}
	return t.String()
}

var stateNames = [...]string{"up", "suspect", "down", "draining", "removed"}

func (s State) String() string { return stateNames[s] }

// size writes bytes for people.
func size(b uint64) string {
	const units = "KMGTPE"
	if b < 1<<10 {
		return fmt.Sprintf("%d B", b)
	}
	f, u := float64(b)/(1<<10), 0
	for f >= 1<<10 && u < len(units)-1 {
		f, u = f/(1<<10), u+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}
