package schedule

import (
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
)

// fewStores is how many stores are compared one by one without asking the sums of their zones first.
const fewStores = 64

// unbalanced reports whether a replica of the shard may stand on a store that is too full, or another store be too empty,
// by the sums of zones: without looking at every store. It may err by the little that the shard's own stores make.
func unbalanced(p *picture, l *look) bool {
	if l.resting || l.leader < 0 || !l.healthy(p) || crowded(p, l) {
		return false
	}
	return slices.ContainsFunc(l.voters, func(at int32) bool { return p.mayLeave(l, at) })
}

func (p *picture) mayLeave(l *look, from int32) bool {
	if len(p.stores) <= fewStores {
		return true
	}
	now := p.zoneShare(l, from, p.stores[from].sites[0])
	weight, capacity, least := 0.0, 0.0, p.stores[from].load()
	for i := range l.rule.zones {
		if z := &l.rule.zones[i]; p.levels == 0 || p.zoneShare(l, from, z.site) <= now {
			weight, capacity, least = weight+z.weight, capacity+z.capacity, min(least, z.least)
		}
	}
	if capacity == 0 {
		return false
	}
	mean, load := weight/capacity, p.stores[from].load()
	return load > mean-p.tolerance/2 && (load-mean > p.tolerance || mean-least > p.tolerance)
}

// zoneShare is how many of the other voters stand at a widest place.
func (p *picture) zoneShare(l *look, from int32, site uint32) int {
	n := 0
	for _, at := range l.voters {
		if at != from && p.stores[at].sites[0] == site {
			n++
		}
	}
	return n
}

// balance finds a move of one replica, from the fullest of its stores that has one.
//
// A move is made from a store above the mean to one below it, one of which is so beyond the tolerance. The mean is that
// of the stores that could hold the replica without standing worse isolated, so that it can be reached where rules or
// zones keep shards apart.
//
// INVARIANT: after the move the target is not fuller than the source. So each move lowers the sum over all stores of
// capacity times load squared, by at least the square of the shard's weight: balancing ends, whatever the order, and
// never moves anything back for its own sake.
func balance(p *picture, l *look, tr *Trace) verdict {
	order := slices.Clone(l.voters)
	slices.SortFunc(order, func(a, b int32) int {
		x, y := p.stores[a].load(), p.stores[b].load()
		switch {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return int(a - b)
	})
	waiting := false
	for _, from := range order {
		if !p.mayLeave(l, from) {
			continue
		}
		v := p.balanceFrom(l, from, tr)
		if v.outcome == proposed {
			return v
		}
		waiting = waiting || v.outcome == waits
	}
	if waiting {
		return no(waits, tr, "a replica could be moved when the emptier stores receive less")
	}
	return no(fine, tr, "no move would make the stores more even by more than the tolerance")
}

// field is the stores that could hold a replica that is moved to balance, with the one that holds it now.
type field struct {
	mean  float64
	least float64 // load of the emptiest, also if it may not receive now
	best  candidate
	any   bool
}

// field looks at all stores once. Stores that may not receive now count for the mean as well.
func (p *picture) field(c *choice, from int32) field {
	s := &p.stores[from]
	limit := p.addedCost(c.rest, &s.sites)
	weight, capacity, least := s.weight, s.capacity, s.load()
	best, any := p.choose(c, func(n *candidate) Tier {
		switch {
		case n.isolation > limit:
			return TierIsolation
		case n.slow:
			return TierSlowDisk
		}
		weight, capacity = weight+p.stores[n.at].weight, capacity+p.stores[n.at].capacity
		least = min(least, n.load)
		n.isolation = limit // better isolated is not what this move is for
		return TierNone
	})
	return field{mean: weight / capacity, least: least, best: best, any: any}
}

func (p *picture) balanceFrom(l *look, from int32, tr *Trace) verdict {
	c := choice{look: l, rest: l.without(from), balancing: true, trace: tr}
	f := p.field(&c, from)
	if !f.any {
		return no(fine, tr, "the replica on %s has no other place as good", p.stores[from].ID)
	}
	a, b := &p.stores[from], &p.stores[f.best.at]
	w := weigh(l.Bytes, 1)
	gain, even := p.evens(a, b, w, f.mean)
	if !even {
		return no(fine, tr, "from %s to %s: loads %s and %s, mean %s: within the tolerance of %s", a.ID, b.ID, size(uint64(a.load())), size(uint64(b.load())), size(uint64(f.mean)), size(uint64(p.tolerance)))
	}
	if f.best.busy || !p.sendable(l) {
		return no(waits, tr, "from %s to %s would be better; they receive or send as much as they may", a.ID, b.ID)
	}
	if f.mean-f.least > p.tolerance && f.mean-b.load() <= p.tolerance {
		// What is brought to a store that needs nothing would be brought on from there to the one that does.
		return no(waits, tr, "%s has room, but an emptier store receives as much as it may: the replica is kept for it", b.ID)
	}
	return p.propose(l, operator.BalanceShards, c.rest, f.best.at, from, fmt.Sprintf("%s holds %s, %s holds %s: %s", a.ID, size(uint64(a.load())), b.ID, size(uint64(b.load())), gain))
}

// evens reports whether moving weight w from a to b is worth it, and why.
func (p *picture) evens(a, b *standing, w, mean float64) (string, bool) {
	over, under := a.load()-mean, mean-b.load()
	aAfter, bAfter := a.load()-w/a.capacity, b.load()+w/b.capacity
	switch {
	case bAfter > aAfter, over <= 0, under <= 0:
		return "", false
	case aAfter < mean-p.tolerance/2, bAfter > mean+p.tolerance/2:
		return "", false
	case under > p.tolerance:
		return fmt.Sprintf("the second is %s below the mean", size(uint64(under))), true
	case over > p.tolerance:
		return fmt.Sprintf("the first is %s above the mean", size(uint64(over))), true
	}
	return "", false
}
