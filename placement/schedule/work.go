package schedule

import (
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
)

// Balance by load spreads what shards are asked for (Shard.Work) over the stores: by handing over leaderships, since the
// leader has most of the work, and where no voter's store is better off, by moving the leader's replica to one that is.
// (After CockroachDB's store rebalancer.)
//
// INVARIANT: it does not fight balance by number. Call what a store has to do beyond mean and tolerance its excess. A move to
// balance load lowers the sum of the squares of all excesses: it takes from a store that has one, and leaves both stores
// below what that had. One to balance numbers never raises it: burdens forbids that, and shards that are not Busy do not
// count. So on a static load the moves for load come to an end, and with them those for number. Where numbers and load
// disagree, busy leaderships go one way and idle ones the other.
//
// Nor balance by size: a replica is moved only as far as sizes stay within half of what that leaves alone.

// BusyWork is how much work of its leader makes a shard count. The others, however many, are spread by number alone.
const BusyWork = 25

// Busy is what counts of a shard's work: nothing of one that has little. Callers of Propose give nothing else.
func Busy(work, follow float64) (lead, others float32) {
	if work < BusyWork {
		return 0, 0
	}
	return float32(work), float32(follow)
}

// leads is what a store gains by leading a shard that it holds anyway.
func (l *look) leads() float64 { return float64(l.Work) - float64(l.Follow) }

// workTolerance is how far a store's work may be above the mean.
func (p *picture) workTolerance() float64 {
	return max(p.limits.WorkTolerance, p.limits.WorkToleranceFraction*p.meanWork)
}

// overworked is the cheap half of balanceWork. A leadership that is less than half an average one of its store waits for the
// larger ones.
func overworked(p *picture, l *look) bool {
	if l.leader < 0 || l.joint || l.leads() <= 0 {
		return false
	}
	s := &p.stores[l.leader]
	return s.Work > p.meanWork+p.workTolerance() && 2*l.leads()*float64(s.Leaders) >= s.Work
}

// relieves reports whether giving so much work from one store to another is worth it: the busier of the two has less
// afterwards, by half the tolerance at least.
//
// A shard that is most of what its store has to do stays.
func (p *picture) relieves(from, to *standing, work float64) bool {
	return from.Work-to.Work-work >= p.workTolerance()/2
}

// burdens reports whether balance by number would give a store so much work that balance by load took it away again: it
// would be above the tolerance, and busier than the one is that the work comes from.
func (p *picture) burdens(from, to *standing, work float64) bool {
	after := to.Work + work
	return work > 0 && after > p.meanWork+p.workTolerance() && after > from.Work
}

// workTarget is the voter that should lead for the sake of load, -1 if none should.
func (p *picture) workTarget(l *look) int32 {
	rank, best, from := p.leaderRank(l, l.leader), int32(-1), &p.stores[l.leader]
	for _, at := range l.voters {
		if s := &p.stores[at]; at != l.leader && p.leaderRank(l, at) == rank && p.relieves(from, s, l.leads()) &&
			(best < 0 || s.Work < p.stores[best].Work) {
			best = at
		}
	}
	return best
}

// workPlace is the store without a replica of the shard that should get the leader's, -1 if there is none: it is the one
// with the least work of those where the replica stands no worse, where the sizes stay within what balance by size leaves
// alone, and where it may lead.
func (p *picture) workPlace(l *look, rest []int32) (best int32, busy bool) {
	p.looks -= len(l.rule.able)
	from, best := &p.stores[l.leader], int32(-1)
	limit, rank, weight := p.addedCost(rest, &from.sites), p.leaderRank(l, l.leader), weigh(l.Bytes, 1)
	if from.load()-weight/from.capacity < l.rule.mean-p.tolerance/2 {
		return -1, false
	}
	for _, at := range l.rule.able {
		s := &p.stores[at]
		if slices.Contains(l.voters, at) || slices.Contains(l.learners, at) || slices.Contains(l.resting, at) || !s.fits(l.Bytes) ||
			p.addedCost(rest, &s.sites) > limit || p.leaderRank(l, at) > rank ||
			(s.weight+weight)/s.capacity > l.rule.mean+p.tolerance/2 || !p.relieves(from, s, float64(l.Work)) {
			continue
		}
		if best < 0 || s.Work < p.stores[best].Work || s.Work == p.stores[best].Work && p.byChance(l, at, best) < 0 {
			best, busy = at, s.balance == 0
		}
	}
	return best, busy
}

func balanceWork(p *picture, l *look, tr *Trace) verdict {
	from := &p.stores[l.leader]
	if to := p.workTarget(l); to >= 0 {
		if !p.transferable(l.leader, to) {
			return no(waits, tr, func() string {
				return fmt.Sprintf("enough leaderships are on their way from %s or to %s", from.ID, p.stores[to].ID)
			})
		}
		return p.transfer(l, operator.BalanceLoad, to, p.workWhy(l, from, &p.stores[to]))
	}
	if float64(l.Work) < p.workTolerance() || !l.healthy(p) || crowded(p, l) || slices.Contains(l.resting, l.leader) {
		return no(fine, tr, func() string {
			return fmt.Sprintf("%s has %.0f/s to do, the mean is %.0f/s; handing over the %.0f/s of this shard would not make it more even", from.ID, from.Work, p.meanWork, l.leads())
		})
	}
	rest := l.without(l.leader)
	to, busy := p.workPlace(l, rest)
	switch {
	case to < 0:
		return no(fine, tr, func() string {
			return fmt.Sprintf("%s has %.0f/s to do, the mean is %.0f/s; no store is so much less busy that it should have the %.0f/s of this shard", from.ID, from.Work, p.meanWork, l.Work)
		})
	case busy || !p.sendable(l) || !p.transferable(l.leader, to):
		return no(waits, tr, func() string {
			return fmt.Sprintf("the replica on %s would be better on %s; they receive or send as much as they may", from.ID, p.stores[to].ID)
		})
	}
	v := p.propose(l, operator.BalanceLoad, rest, to, l.leader, p.workWhy(l, from, &p.stores[to]))
	v.leader = to
	v.proposal.Goal.Leader = p.stores[to].ID
	return v
}

func (p *picture) workWhy(l *look, from, to *standing) string {
	return fmt.Sprintf("%s has %.0f/s to do, %s has %.0f/s, the mean is %.0f/s; this shard is %.0f/s of it", from.ID, from.Work, to.ID, to.Work, p.meanWork, l.Work)
}
