package schedule

import (
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
)

// look is one shard beside the stores that hold it. Voters are those of the new half while it is joint.
type look struct {
	*Shard
	rule     *ruling
	voters   []int32 // indexes of stores
	learners []int32 // also those that a joint configuration demotes
	leader   int32   // index, -1: not known
	want     int     // voters
	joint    bool
	alive    int     // voters whose stores are alive
	resting  []int32 // stores that a replica was balanced to or from not long ago
	order    []int32 // scratch
	left     []int32 // scratch
	quorum   bool    // enough answer for a change of membership to be agreed
}

// look examines a shard. What it returns holds until the next call.
func (p *picture) look(sh *Shard) *look {
	l := &p.scratch
	*l = look{Shard: sh, rule: p.ruling(sh.Desc.Range), voters: l.voters[:0], learners: l.learners[:0], order: l.order[:0], left: l.left[:0], resting: l.resting[:0], leader: -1}
	old, oldAlive := 0, 0 // voters of the old half
	for _, r := range sh.Desc.Replicas {
		at := p.index(r.Store)
		live := p.stores[at].alive
		switch r.Role {
		case shard.Voter, shard.IncomingVoter:
			l.voters = append(l.voters, at)
			l.alive += one(live)
		default:
			l.learners = append(l.learners, at)
		}
		if r.Role == shard.Voter || r.Role == shard.DemotingVoter {
			old, oldAlive = old+1, oldAlive+one(live)
		}
		l.joint = l.joint || r.Role == shard.IncomingVoter || r.Role == shard.DemotingVoter
	}
	if sh.Leader != 0 && slices.ContainsFunc(sh.Desc.Replicas, func(r shard.Replica) bool { return r.Store == sh.Leader }) {
		l.leader = p.index(sh.Leader)
	}
	l.quorum = l.alive > len(l.voters)/2 && oldAlive > old/2
	if l.want = l.rule.Replicas; l.want == 0 {
		l.want = len(l.voters)
	}
	return l
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// holds reports whether a store has a replica of it.
func (l *look) holds(at int32) bool {
	return slices.Contains(l.voters, at) || slices.Contains(l.learners, at)
}

// healthy reports whether all voters answer, they are as many as wanted, and no change is half done: only such a shard
// is moved for the sake of others.
func (l *look) healthy(p *picture) bool {
	return !l.joint && len(l.learners) == 0 && len(l.voters) == l.want &&
		!slices.ContainsFunc(l.voters, func(at int32) bool { return p.stores[at].State != Up })
}

// without is the voters less one, in a slice of its own.
func (l *look) without(at int32) []int32 {
	return slices.DeleteFunc(slices.Clone(l.voters), func(o int32) bool { return o == at })
}

// others is without, in a slice that holds until the next call.
func (l *look) others(at int32) []int32 {
	l.left = l.left[:0]
	for _, o := range l.voters {
		if o != at {
			l.left = append(l.left, o)
		}
	}
	return l.left
}

// goal is the goal with these voters; leader is an index or -1.
func (p *picture) goal(voters []int32, leader int32) operator.Goal {
	var g operator.Goal
	for _, at := range voters {
		g.Voters = append(g.Voters, p.stores[at].ID)
	}
	slices.Sort(g.Voters)
	if leader >= 0 {
		g.Leader = p.stores[leader].ID
	}
	return g
}
