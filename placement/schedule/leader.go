package schedule

import (
	"cmp"
	"fmt"

	"github.com/skerrydb/skerry/placement/operator"
)

// leaderRank says how well a store is suited to lead a shard, 0 best: up, staying and allowed to before not, swift before slow, then as
// the rules want it. One order for all that moves leaders, or they would move them in a circle.
func (p *picture) leaderRank(l *look, at int32) int {
	s := &p.stores[at]
	return 4*one(s.State != Up || s.Leaving || s.Evicting) + 2*one(p.leadSlow(s)) + one(!l.rule.leads[at])
}

// pickLeader is the voter that should lead, the one with the fewest leaderships among the best suited.
func (p *picture) pickLeader(l *look, voters []int32) int32 {
	best := int32(-1)
	for _, at := range voters {
		if best < 0 || p.betterLeader(l, at, best) < 0 {
			best = at
		}
	}
	return best
}

func (p *picture) betterLeader(l *look, a, b int32) int {
	x, y := &p.stores[a], &p.stores[b]
	return cmp.Or(cmp.Compare(p.leaderRank(l, a), p.leaderRank(l, b)), cmp.Compare(x.Leaders, y.Leaders),
		p.byChance(l, a, b))
}

// misled reports whether a voter that is better suited, and good in one respect, is there while the leader's store is not
// good in that respect.
func (p *picture) misled(l *look, good func(at int32) bool) bool {
	if l.leader < 0 || l.joint || good(l.leader) {
		return false
	}
	best := p.pickLeader(l, l.voters)
	return best >= 0 && good(best) && p.leaderRank(l, best) < p.leaderRank(l, l.leader)
}

func leaderAgainstRule(p *picture, l *look) bool {
	return len(l.rule.Leaders) > 0 && p.misled(l, func(at int32) bool { return l.rule.leads[at] })
}

func leaderSlow(p *picture, l *look) bool {
	return p.misled(l, func(at int32) bool { return !p.leadSlow(&p.stores[at]) })
}

func leaderEvicted(p *picture, l *look) bool {
	return p.misled(l, func(at int32) bool { return !p.stores[at].Evicting })
}

func leadUnevicted(p *picture, l *look, tr *Trace) verdict {
	return p.leadElsewhere(l, operator.EvictLeaders, tr, func(from, to *standing) string {
		return fmt.Sprintf("%s leads and shall lead nothing; %s is the best other voter", from.ID, to.ID)
	})
}

func leadByRule(p *picture, l *look, tr *Trace) verdict {
	return p.leadElsewhere(l, operator.FixRule, tr, func(from, to *standing) string {
		return fmt.Sprintf("%s leads against %s of rule %q, %s meets it", from.ID, firstUnmet(l.rule.Leaders, &from.Store), l.rule.Name, to.ID)
	})
}

func leadSwiftly(p *picture, l *look, tr *Trace) verdict {
	return p.leadElsewhere(l, operator.EvadeSlow, tr, func(from, to *standing) string {
		what := "its disk is slow"
		if !from.SlowDisk {
			what = "it is reached slowly"
		}
		return fmt.Sprintf("%s leads and %s; %s is the best other voter", from.ID, what, to.ID)
	})
}

func (p *picture) leadElsewhere(l *look, kind operator.Kind, tr *Trace, why func(from, to *standing) string) verdict {
	to := p.pickLeader(l, l.voters)
	if !p.transferable(l.leader, to) {
		return no(waits, tr, func() string {
			return fmt.Sprintf("enough leaderships are on their way from %s or to %s", p.stores[l.leader].ID, p.stores[to].ID)
		})
	}
	return p.transfer(l, kind, to, why(&p.stores[l.leader], &p.stores[to]))
}

func (p *picture) transferable(from, to int32) bool {
	return p.stores[from].leadersOut > 0 && p.stores[to].leadersIn > 0
}

// leadersUneven is the cheap half of balanceLeaders.
func leadersUneven(p *picture, l *look) bool {
	return l.leader >= 0 && !l.joint && p.leaderTarget(l) >= 0
}

// leaderTarget is the voter that should take the leadership for the sake of numbers, -1 if none should.
//
// From a store above the mean to one below it, when one of the two is so beyond the tolerance; or between any two that
// are two tolerances apart, because a store whose shards are all led by stores below the mean, or a rule that keeps
// leaders on a few stores, would otherwise never come nearer to it. Each transfer lowers the sum of the squares of
// the numbers of leaders, since source and target are at least two apart; so they come to an end.
func (p *picture) leaderTarget(l *look) int32 {
	rank := p.leaderRank(l, l.leader)
	best := int32(-1)
	for _, at := range l.voters {
		if at != l.leader && p.leaderRank(l, at) <= rank && (best < 0 || p.betterLeader(l, at, best) < 0) {
			best = at
		}
	}
	if best < 0 || p.leaderRank(l, best) < rank { // a better suited one is not the balancer's to choose
		return -1
	}
	from, to, tol := float64(p.stores[l.leader].Leaders), float64(p.stores[best].Leaders), p.leaderTolerance()
	if p.burdens(&p.stores[l.leader], &p.stores[best], l.leads()) {
		return -1
	}
	above, below := from-p.meanLeaders, p.meanLeaders-to
	if from-to >= 2 && (above > 0 && below > 0 && (above > tol || below > tol) || from-to > 2*tol) {
		return best
	}
	return -1
}

func balanceLeaders(p *picture, l *look, tr *Trace) verdict {
	to := p.leaderTarget(l)
	if !p.transferable(l.leader, to) {
		return no(waits, tr, func() string {
			return fmt.Sprintf("enough leaderships are on their way from %s or to %s", p.stores[l.leader].ID, p.stores[to].ID)
		})
	}
	from, b := &p.stores[l.leader], &p.stores[to]
	return p.transfer(l, operator.BalanceLeaders, to, fmt.Sprintf("%s leads %d shards, %s leads %d, the mean is %.1f", from.ID, from.Leaders, b.ID, b.Leaders, p.meanLeaders))
}
