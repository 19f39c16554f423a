package schedule

import (
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
)

// fewStores is how many stores are compared one by one without asking the sums of their zones first.
const fewStores = 16

// unbalanced reports whether a replica of the shard may stand on a store that is too full, or another store be too empty,
// by the sums of zones: without looking at every store. It may err by the little that the shard's own stores make.
func unbalanced(p *picture, l *look) bool {
	if l.leader < 0 || !l.healthy(p) || crowded(p, l) {
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
	return load > mean && (load-mean > p.tolerance || mean-least > p.tolerance)
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
// A move is made from a store above the mean to one below it, one of which is so beyond the tolerance. There are two means
// and either will do, see field.
//
// INVARIANT: after the move the target is not fuller than the source. So each move lowers the sum over all stores of
// capacity times load squared, by at least the square of the shard's weight: balancing ends, whatever the order, and
// never moves anything back for its own sake.
func balance(p *picture, l *look, tr *Trace) verdict {
	l.order = append(l.order[:0], l.voters...)
	slices.SortFunc(l.order, func(a, b int32) int {
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
	for _, from := range l.order {
		if slices.Contains(l.resting, from) || !p.mayLeave(l, from) {
			continue
		}
		v := p.balanceFrom(l, from, tr)
		if v.outcome == proposed {
			return v
		}
		waiting = waiting || v.outcome == waits
	}
	if waiting {
		return no(waits, tr, func() string {
			return "a replica could be moved when the emptier stores receive less"
		})
	}
	return no(fine, tr, func() string {
		return "no move would make the stores more even by more than the tolerance"
	})
}

// field is the stores that could hold a replica that is moved to balance without standing worse isolated, with the one
// that holds it now. Those that may not receive now count for the means as well.
//
// Narrow is the mean of these stores alone: it can be reached where rules or zones keep shards apart, or where each shard
// has a replica on a store that is emptier than all. Wide is that with the stores of the shard's other replicas, if best
// could relieve them of theirs as well: they and these even out through best. Without it the stores would be compared two
// by two where a shard leaves out one of all stores, and could rest two tolerances apart.
type field struct {
	narrow, wide float64
	least        float64 // load of the emptiest, also if it may not receive now
	best         int32   // the emptiest that may receive; if none may, the emptiest; -1: there is no other
	busy         bool    // best may not receive now
}

// field looks at all stores once. It is choose for the one tier that counts here, many times faster.
func (p *picture) field(l *look, rest []int32, from int32) field {
	p.looks -= len(l.rule.able)
	s := &p.stores[from]
	limit := p.addedCost(rest, &s.sites)
	weight, capacity := s.weight, s.capacity
	f := field{least: s.load(), best: -1}
	bestLoad := 0.0
	for _, at := range l.rule.able {
		s := &p.stores[at]
		if at == from || slices.Contains(rest, at) || slices.Contains(l.resting, at) || !s.fits(l.Bytes) || p.addedCost(rest, &s.sites) > limit {
			continue
		}
		weight, capacity = weight+s.weight, capacity+s.capacity
		load, busy := s.load(), s.balance == 0
		f.least = min(f.least, load)
		if f.best < 0 || f.busy && !busy || f.busy == busy && (load < bestLoad || load == bestLoad && p.byChance(l, at, f.best) < 0) {
			f.best, f.busy, bestLoad = at, busy, load
		}
	}
	f.narrow = weight / capacity
	if f.best >= 0 {
		for _, at := range rest {
			if p.couldRelieve(l, rest, from, at, f.best) {
				weight, capacity = weight+p.stores[at].weight, capacity+p.stores[at].capacity
			}
		}
	}
	f.wide = weight / capacity
	return f
}

// couldRelieve reports whether best could hold the replica that stands on at, with the one on from where it is, and the
// shard would stand no worse isolated. Rest holds all but the one on from.
func (p *picture) couldRelieve(l *look, rest []int32, from, at, best int32) bool {
	s := &p.stores[at]
	if !s.open || s.SlowDisk || !l.rule.meets[at] {
		return false
	}
	if p.levels == 0 {
		return true
	}
	beside := func(c *sites) uint64 { // what c adds to rest with from instead of at
		return p.addedCost(rest, c) - p.pairCost(&s.sites, c) + p.pairCost(&p.stores[from].sites, c)
	}
	return beside(&p.stores[best].sites) <= beside(&s.sites)
}

// tell runs the same search by tiers, for people.
func (p *picture) tell(l *look, rest []int32, from int32, tr *Trace) {
	limit := p.addedCost(rest, &p.stores[from].sites)
	c := choice{look: l, rest: rest, balancing: true, trace: tr}
	p.choose(&c, func(n *candidate) Tier {
		switch {
		case n.isolation > limit:
			return TierIsolation
		case n.slow:
			return TierSlowDisk
		}
		n.isolation, n.converges, n.class = limit, true, 0 // what counts is who is emptiest
		return TierNone
	})
}

func (p *picture) balanceFrom(l *look, from int32, tr *Trace) verdict {
	rest := l.others(from)
	f := p.field(l, rest, from)
	if tr != nil {
		p.tell(l, rest, from, tr)
	}
	if f.best < 0 {
		return no(fine, tr, func() string {
			return fmt.Sprintf("the replica on %s has no other place as good", p.stores[from].ID)
		})
	}
	a, b := &p.stores[from], &p.stores[f.best]
	w := weigh(l.Bytes, 1)
	mean := f.wide
	gain, even := p.evens(a, b, w, mean)
	if !even {
		mean = f.narrow
		gain, even = p.evens(a, b, w, mean)
	}
	if !even {
		return no(fine, tr, func() string { return p.tooEven(a, b, &f) })
	}
	if f.busy || !p.sendable(l) {
		return no(waits, tr, func() string {
			return fmt.Sprintf("from %s to %s would be better; they receive or send as much as they may", a.ID, b.ID)
		})
	}
	if mean-f.least > p.tolerance && mean-b.load() <= p.tolerance {
		// What is brought to a store that needs nothing would be brought on from there to the one that does.
		return no(waits, tr, func() string {
			return fmt.Sprintf("%s has room, but an emptier store receives as much as it may: the replica is kept for it", b.ID)
		})
	}
	return p.propose(l, operator.BalanceShards, rest, f.best, from, fmt.Sprintf("%s holds %s, %s holds %s: %s", a.ID, size(uint64(a.load())), b.ID, size(uint64(b.load())), gain))
}

// tooEven says why a move from a to b is not worth it by either mean, for people.
func (p *picture) tooEven(a, b *standing, f *field) string {
	between := fmt.Sprintf("from %s to %s: loads %s and %s", a.ID, b.ID, size(uint64(a.load())), size(uint64(b.load())))
	if a.load() <= b.load() {
		return between + ": the second is no emptier"
	}
	mean := f.wide
	if mean < b.load() || mean > a.load() {
		mean = f.narrow
	}
	return fmt.Sprintf("%s, mean %s: within the tolerance of %s", between, size(uint64(mean)), size(uint64(p.tolerance)))
}

// evens reports whether moving weight w from a to b is worth it, and why. A shard of common size may carry neither store
// past the mean by more than half the tolerance. One so big that it must is moved if both come nearer to the mean by it,
// or if the two stay far apart even so.
func (p *picture) evens(a, b *standing, w, mean float64) (string, bool) {
	over, under := a.load()-mean, mean-b.load()
	overAfter, underAfter := over-w/a.capacity, under-w/b.capacity
	apart := overAfter + underAfter // load of a less that of b
	half := p.tolerance / 2
	switch {
	case apart < 0, over <= 0, under <= 0:
		return "", false
	case overAfter < -half && overAfter < -over && apart < half, underAfter < -half && underAfter < -under && apart < half:
		return "", false
	case under > p.tolerance:
		return fmt.Sprintf("the second is %s below the mean", size(uint64(under))), true
	case over > p.tolerance:
		return fmt.Sprintf("the first is %s above the mean", size(uint64(over))), true
	}
	return "", false
}
