package operator

import (
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// Step is the next thing to ask of a shard's leader. Change and TransferTo are never both set; the zero value means that
// there is nothing to do now.
type Step struct {
	Change     *shard.Change
	TransferTo shard.StoreID
	// NeedID asks for a fresh replica id for the learner in Change.
	NeedID bool
}

// Due reports whether there is something to do.
func (s Step) Due() bool { return s.Change != nil || s.TransferTo != 0 }

// Next returns the step that brings a shard nearer to its goal, in the order in which the rules stand here:
//
//	joint configuration                        -> leave it (a leader that is demoted hands over first)
//	a learner on a store that the goal lacks   -> remove it
//	a store of the goal without a replica      -> add a learner there
//	learners to promote, voters to demote      -> hand over if the leader would go, then both in one joint change
//	another store shall lead                   -> hand over
//
// It is called for the store that leads; up says which stores answer. Whether a learner has caught up the leader knows
// best: it refuses to promote one that has not, and the step is sent again.
//
// INVARIANT (rule 15): every replica is added as a learner on a store that has none, everything else is joint, and no
// step is due beside a joint configuration but its end. The voters that a joint change leaves hold a majority that is up.
func Next(d *shard.Descriptor, leader shard.StoreID, g Goal, up func(shard.StoreID) bool) Step {
	if d.Joint() {
		return leave(d, leader, g, up)
	}
	p := planOf(d, g)
	switch {
	case len(p.surplus) > 0:
		return Step{Change: &shard.Change{Kind: shard.RemoveLearner, Replica: p.surplus[0]}}
	case bug.RemoveBeforeAdd.On() && len(p.demote) > 0 && len(p.missing) > 0 && len(d.Replicas) == 3:
		return Step{Change: &shard.Change{Kind: shard.EnterJoint, Demote: ids(p.demote[:1])}}
	case len(p.missing) > 0:
		i := slices.IndexFunc(p.missing, up)
		if i < 0 {
			return Step{} // a learner where nobody answers helps nobody; the operator waits, and lapses
		}
		return Step{NeedID: true, Change: &shard.Change{Kind: shard.AddLearner, Replica: shard.Replica{Store: p.missing[i], Role: shard.Learner}}}
	case len(p.promote)+len(p.demote) > 0:
		return p.enter(leader, g, up)
	}
	return p.lead(leader, g, up)
}

// Reached reports whether a shard is where its goal wants it, with nothing half done.
func Reached(d *shard.Descriptor, leader shard.StoreID, g Goal) bool {
	if d.Joint() || g.Leader != 0 && leader != g.Leader {
		return false
	}
	p := planOf(d, g)
	return len(p.surplus)+len(p.missing)+len(p.promote)+len(p.demote) == 0
}

// Targets are the stores on which a shard shall have voters: the goal's, or those that it has, or will have once it has
// left its joint configuration.
func Targets(d *shard.Descriptor, g Goal) []shard.StoreID {
	if len(g.Voters) > 0 {
		return g.Voters
	}
	var out []shard.StoreID
	for _, r := range d.Replicas {
		if r.Role == shard.Voter || r.Role == shard.IncomingVoter {
			out = append(out, r.Store)
		}
	}
	slices.Sort(out)
	return out
}

// plan is what lies between a descriptor, outside joint configurations, and a goal.
type plan struct {
	surplus []shard.Replica // learners that are not wanted
	missing []shard.StoreID // stores that shall have a replica and have none
	promote []shard.Replica // learners that shall be voters
	demote  []shard.Replica // voters that shall not
	stay    []shard.Replica // voters that shall
}

func planOf(d *shard.Descriptor, g Goal) plan {
	var p plan
	want := Targets(d, g)
	for _, r := range d.Replicas {
		wanted, learner := slices.Contains(want, r.Store), r.Role == shard.Learner
		switch {
		case learner && wanted:
			p.promote = append(p.promote, r)
		case learner:
			p.surplus = append(p.surplus, r)
		case wanted:
			p.stay = append(p.stay, r)
		default:
			p.demote = append(p.demote, r)
		}
	}
	for _, st := range want {
		if _, ok := d.ReplicaOn(st); !ok {
			p.missing = append(p.missing, st)
		}
	}
	return p
}

// enter begins the joint change, unless the voters that it leaves could not decide anything. A leader that it would
// demote hands over first if there is somebody who stays; else it does so from within the joint configuration.
func (p *plan) enter(leader shard.StoreID, g Goal, up func(shard.StoreID) bool) Step {
	left := slices.Concat(p.stay, p.promote)
	live := 0
	for _, r := range left {
		if up(r.Store) {
			live++
		}
	}
	if live <= len(left)/2 {
		return Step{}
	}
	if slices.ContainsFunc(p.demote, func(r shard.Replica) bool { return r.Store == leader }) {
		if to := heir(p.stay, g, up); to != 0 && up(to) {
			return Step{TransferTo: to}
		}
	}
	return Step{Change: &shard.Change{Kind: shard.EnterJoint, Promote: ids(p.promote), Demote: ids(p.demote)}}
}

// lead hands over to the store that shall lead, if that can.
func (p *plan) lead(leader shard.StoreID, g Goal, up func(shard.StoreID) bool) Step {
	able := func(r shard.Replica) bool { return r.Store == g.Leader && up(r.Store) }
	if g.Leader == 0 || g.Leader == leader || !slices.ContainsFunc(p.stay, able) {
		return Step{}
	}
	return Step{TransferTo: g.Leader}
}

// leave ends a joint configuration. A leader that would be demoted by that transfers first, to a voter of the new half.
func leave(d *shard.Descriptor, leader shard.StoreID, g Goal, up func(shard.StoreID) bool) Step {
	lead, ok := d.ReplicaOn(leader)
	if ok && lead.Role == shard.DemotingVoter {
		var half []shard.Replica
		for _, r := range d.Replicas {
			if r.Role == shard.Voter || r.Role == shard.IncomingVoter {
				half = append(half, r)
			}
		}
		return Step{TransferTo: heir(half, g, up)}
	}
	return Step{Change: &shard.Change{Kind: shard.LeaveJoint}}
}

// heir is who takes over the leadership: the store that shall lead, or the first that is up, or the first.
func heir(from []shard.Replica, g Goal, up func(shard.StoreID) bool) shard.StoreID {
	var best shard.StoreID
	for _, r := range from {
		switch {
		case r.Store == g.Leader && up(r.Store):
			return r.Store
		case best == 0, up(r.Store) && !up(best):
			best = r.Store
		}
	}
	return best
}

func ids(rs []shard.Replica) []shard.ReplicaID {
	var out []shard.ReplicaID
	for _, r := range rs {
		out = append(out, r.ID)
	}
	return out
}
