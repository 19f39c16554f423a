package schedule

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
)

// stage is one question about a shard. The stages are asked in the order of the table; the first that is not fine
// decides, unless what it wants is impossible.
type stage struct {
	name   string
	kind   operator.Kind
	wanted func(*picture, *look) bool // cheap, asked of every shard in turn; may err on the side of yes
	// resolve says what to do about it. Called only if wanted.
	resolve func(*picture, *look, *Trace) verdict
	// leads: it changes who leads and nothing else, so it may be asked also when a replica cannot be replaced.
	leads bool
}

// repairs are the stages for what is wrong; shardBalance and leaderBalance are those for what could be better.
func repairs() []stage {
	return []stage{
		{"a change that was left half done", operator.Finish, unfinished, finish, false},
		{"a replica on a lost store", operator.Replace, lost, replace, false},
		{"replicas missing", operator.AddReplica, missing, add, false},
		{"replicas too many", operator.RemoveReplica, extra, remove, false},
		{"a replica where the rules do not want it", operator.FixRule, misplaced, place, false},
		{"isolation", operator.FixRule, crowded, isolate, false},
		{"a leader where the rules do not want it", operator.FixRule, leaderAgainstRule, leadByRule, true},
		{"a replica on a draining store", operator.Drain, draining, drain, false},
		{"a leader on a store that shall lead nothing", operator.EvictLeaders, leaderEvicted, leadUnevicted, true},
		{"a leader on a slow store", operator.EvadeSlow, leaderSlow, leadSwiftly, true},
	}
}

func shardBalance() stage {
	return stage{"balance of shards", operator.BalanceShards, unbalanced, balance, false}
}

func leaderBalance() stage {
	return stage{"balance of leaders", operator.BalanceLeaders, leadersUneven, balanceLeaders, true}
}

func workBalance() stage {
	return stage{"balance of load", operator.BalanceLoad, overworked, balanceWork, false}
}

func unfinished(_ *picture, l *look) bool { return l.joint || len(l.learners) > 0 }

// finish ends what an operator that died has begun. A joint configuration can only go forward. A learner is used if the
// shard lacks a voter and the learner's store may hold one, since its copy is made; otherwise it goes.
func finish(p *picture, l *look, tr *Trace) verdict {
	if l.joint {
		return p.propose(l, operator.Finish, l.voters, -1, -1, "its joint configuration has no operator; it is left for the new half")
	}
	bad := p.worstVoter(l, func(s *standing) bool { return s.gone() })
	if bad < 0 && len(l.voters) >= l.want {
		bad = p.worstVoter(l, func(s *standing) bool { return s.State == Draining })
	}
	if bad >= 0 || len(l.voters) < l.want {
		rest := l.without(bad)
		c := choice{look: l, rest: rest, trace: tr}
		best, ok := p.choose(&c, func(n *candidate) Tier {
			if !c.learnerOn(n.at) {
				return TierHolds
			}
			return TierNone
		})
		if ok {
			v := p.propose(l, operator.Finish, rest, best.at, bad, fmt.Sprintf("the learner on %s has no operator; it becomes the voter that is needed", p.stores[best.at].ID))
			v.add = -1 // its bytes are there
			return v
		}
	}
	return p.propose(l, operator.Finish, l.voters, -1, -1, "its learner has no operator and is not needed")
}

// worstVoter is the voter whose store is as f says, -1 if there is none; of several the fullest.
func (p *picture) worstVoter(l *look, f func(*standing) bool) int32 {
	worst := int32(-1)
	for _, at := range l.voters {
		if f(&p.stores[at]) && (worst < 0 || p.stores[at].load() > p.stores[worst].load()) {
			worst = at
		}
	}
	return worst
}

func lost(p *picture, l *look) bool {
	return slices.ContainsFunc(l.voters, func(at int32) bool { return p.stores[at].gone() })
}

func replace(p *picture, l *look, tr *Trace) verdict {
	bad := p.worstVoter(l, func(s *standing) bool { return s.gone() })
	reason := fmt.Sprintf("%s is %s", p.lostName(l, bad), p.stores[bad].State)
	if len(l.voters) > l.want {
		return p.propose(l, operator.Replace, l.without(bad), -1, bad, reason+"; there are enough others")
	}
	return p.moveAway(l, operator.Replace, bad, reason, nil, tr)
}

// lostName names the store of a voter, also if the view does not know it.
func (p *picture) lostName(l *look, at int32) string {
	if id := p.stores[at].ID; id != 0 {
		return id.String()
	}
	for _, r := range l.Desc.Replicas {
		if p.index(r.Store) == at {
			return r.Store.String()
		}
	}
	return "a store"
}

// moveAway proposes the best other place for the replica on from, with what must hold of it beyond the common tiers.
func (p *picture) moveAway(l *look, kind operator.Kind, from int32, reason string, allow func(*candidate) Tier, tr *Trace) verdict {
	rest := l.voters
	if from >= 0 {
		rest = l.without(from)
	}
	c := choice{look: l, rest: rest, trace: tr}
	best, ok := p.choose(&c, allow)
	if !ok {
		return no(impossible, tr, func() string {
			return fmt.Sprintf("%s; no store can take it", reason)
		})
	}
	if v := p.wait(l, best, reason, tr); v.outcome != fine {
		return v
	}
	return p.propose(l, kind, rest, best.at, from, fmt.Sprintf("%s; %s is the best place", reason, p.stores[best.at].ID))
}

// wait says whether a copy must wait for a limit.
func (p *picture) wait(l *look, best candidate, reason string, tr *Trace) verdict {
	if best.busy {
		return no(waits, tr, func() string {
			return fmt.Sprintf("%s; %s is the best place and receives as many replicas as it may", reason, p.stores[best.at].ID)
		})
	}
	if !p.sendable(l) {
		return no(waits, tr, func() string {
			return fmt.Sprintf("%s; its leader %s sends as many replicas as it may", reason, l.Leader)
		})
	}
	return verdict{}
}

func missing(_ *picture, l *look) bool { return len(l.voters) < l.want }

func add(p *picture, l *look, tr *Trace) verdict {
	return p.moveAway(l, operator.AddReplica, -1, fmt.Sprintf("it has %d voters of %d", len(l.voters), l.want), nil, tr)
}

func extra(_ *picture, l *look) bool { return len(l.voters) > l.want }

// remove drops one voter: one that does not answer first, then one that is to go anyway, then the one whose absence
// leaves the others best isolated, then one on a slow disk, then on the fullest store.
//
// INVARIANT: what is left has a quorum of voters that answer. A voter of a silent store is not counted on.
func remove(p *picture, l *look, tr *Trace) verdict {
	worst := slices.MaxFunc(l.voters, func(a, b int32) int { return p.dispensable(l, a, b) })
	rest := l.without(worst)
	alive := l.alive - one(p.stores[worst].alive)
	if alive <= len(rest)/2 {
		return no(impossible, tr, func() string {
			return fmt.Sprintf("without %s only %d of %d voters would answer", p.stores[worst].ID, alive, len(rest))
		})
	}
	return p.propose(l, operator.RemoveReplica, rest, -1, worst, fmt.Sprintf("it has %d voters, %d are wanted; %s can best be spared", len(l.voters), l.want, p.stores[worst].ID))
}

func (p *picture) dispensable(l *look, a, b int32) int {
	x, y := &p.stores[a], &p.stores[b]
	return cmp.Or(one(!x.alive)-one(!y.alive), one(x.State == Draining)-one(y.State == Draining), one(!l.rule.meets[a])-one(!l.rule.meets[b]),
		cmp.Compare(p.setCost(l.without(b)), p.setCost(l.without(a))), one(x.SlowDisk)-one(y.SlowDisk),
		one(b == l.leader)-one(a == l.leader), cmp.Compare(x.load(), y.load()),
		p.byChance(l, a, b))
}

func misplaced(_ *picture, l *look) bool {
	return slices.ContainsFunc(l.voters, func(at int32) bool { return !l.rule.meets[at] })
}

func place(p *picture, l *look, tr *Trace) verdict {
	for _, at := range l.voters {
		if s := &p.stores[at]; !l.rule.meets[at] {
			return p.moveAway(l, operator.FixRule, at, fmt.Sprintf("%s does not meet %s of rule %q", s.ID, firstUnmet(l.rule.Require, &s.Store), l.rule.Name), nil, tr)
		}
	}
	return verdict{}
}

func draining(p *picture, l *look) bool {
	return slices.ContainsFunc(l.voters, func(at int32) bool { return p.stores[at].State == Draining })
}

// drain moves the replica, or, while the draining store sends as much as it may, at least lets another voter lead: then
// that one sends, and a draining store is not the bottleneck of its own draining.
func drain(p *picture, l *look, tr *Trace) verdict {
	at := p.worstVoter(l, func(s *standing) bool { return s.State == Draining })
	reason := fmt.Sprintf("%s is draining", p.stores[at].ID)
	v := p.moveAway(l, operator.Drain, at, reason, nil, tr)
	if v.outcome != waits || p.stores[l.leader].State != Draining || p.sendable(l) {
		return v
	}
	to := p.pickLeader(l, l.voters)
	if p.leaderRank(l, to) >= p.leaderRank(l, l.leader) || !p.transferable(l.leader, to) {
		return v
	}
	return p.transfer(l, operator.Drain, to, fmt.Sprintf("%s and sends as many replicas as it may; %s shall lead and send", reason, p.stores[to].ID))
}

// crowded reports whether the voters could stand further apart than they do.
func crowded(p *picture, l *look) bool {
	return p.levels > 0 && len(l.voters) > 1 && !l.joint && p.setCost(l.voters) > p.bestCost(l.rule, len(l.voters))
}

// isolate finds the one move that lets the voters stand furthest apart. Only a strictly better place counts, so each
// move lowers the cost of isolation, which nothing but the loss of a store raises.
func isolate(p *picture, l *look, tr *Trace) verdict {
	if slices.ContainsFunc(l.voters, func(at int32) bool { s := &p.stores[at]; return !s.alive }) {
		return no(impossible, tr, func() string {
			return "its replicas could stand further apart; first all its stores must answer"
		})
	}
	now := p.setCost(l.voters)
	var best candidate
	from, cost := int32(-1), now
	for _, at := range l.voters {
		rest := l.without(at)
		base := p.setCost(rest)
		c := choice{look: l, rest: rest}
		next, ok := p.choose(&c, nil)
		if !ok || next.slow || base+next.isolation > cost {
			continue
		}
		if base+next.isolation < cost || from >= 0 && p.rather(at, from, &next, &best) {
			best, from, cost = next, at, base+next.isolation
		}
	}
	if from < 0 {
		return no(fine, tr, func() string {
			return "its replicas share more places than they need to by count, but no single move helps"
		})
	}
	rest := l.without(from)
	base := p.setCost(rest)
	return p.moveAway(l, operator.FixRule, from, fmt.Sprintf("its replicas stand further apart without %s", p.stores[from].ID), func(n *candidate) Tier {
		switch {
		case base+n.isolation > cost:
			return TierIsolation
		case n.slow:
			return TierSlowDisk
		}
		return TierNone
	}, tr)
}

// rather reports whether, of two moves that isolate equally, the one from a to x is better than the one from b to y: it
// empties a draining store, or does not have to wait, or empties the fuller store.
func (p *picture) rather(a, b int32, x, y *candidate) bool {
	return cmp.Or(one(p.stores[b].State == Draining)-one(p.stores[a].State == Draining), one(x.busy)-one(y.busy),
		cmp.Compare(p.stores[b].load(), p.stores[a].load())) < 0
}
