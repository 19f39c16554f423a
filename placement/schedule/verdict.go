package schedule

import (
	"slices"

	"github.com/skerrydb/skerry/placement/operator"
)

// outcome is what came of asking one question about one shard.
type outcome uint8

const (
	fine       outcome = iota // nothing is to be done
	proposed                  // something is, and can be begun
	waits                     // something is, when a limit allows
	impossible                // something is, and cannot be done as the cluster stands
)

// verdict is an outcome with its proposal, and what it changes in the picture once it is accepted.
type verdict struct {
	outcome
	proposal Proposal
	add, del int32 // indexes of stores that get and lose the replica; -1: none
	leader   int32 // index of the store that shall lead; -1: as it is
}

// no is a verdict without a proposal. The reason is written only if somebody asked for it.
func no(o outcome, tr *Trace, why func() string) verdict {
	if tr != nil {
		tr.say(why())
	}
	return verdict{outcome: o}
}

// propose is the verdict that the voters shall be `rest` and `add` (-1: none), and that del loses its replica (-1:
// none). If the leader's replica goes, the best of the new voters shall lead.
func (p *picture) propose(l *look, kind operator.Kind, rest []int32, add, del int32, why string) verdict {
	v := verdict{outcome: proposed, add: add, del: del, leader: -1}
	voters := rest
	bytes := uint64(0)
	if add >= 0 {
		voters = append(slices.Clone(rest), add)
		if !slices.Contains(l.learners, add) {
			bytes = l.Bytes
		}
	}
	if l.leader >= 0 && !slices.Contains(voters, l.leader) {
		v.leader = p.pickLeader(l, voters)
	}
	v.proposal = Proposal{Shard: l.Desc.ID, Epoch: l.Desc.Epoch, Kind: kind, Goal: p.goal(voters, v.leader), Bytes: bytes, Why: why}
	return v
}

// transfer is the verdict that another voter shall lead.
func (p *picture) transfer(l *look, kind operator.Kind, to int32, why string) verdict {
	return verdict{outcome: proposed, add: -1, del: -1, leader: to,
		proposal: Proposal{Shard: l.Desc.ID, Epoch: l.Desc.Epoch, Kind: kind, Goal: operator.Goal{Leader: p.stores[to].ID}, Why: why}}
}

// accept counts what a verdict changes as done.
func (p *picture) accept(l *look, v verdict) {
	w := weigh(l.Bytes, 1)
	if v.add >= 0 {
		s := &p.stores[v.add]
		s.weight, s.Bytes, s.Shards, s.Work = s.weight+w, s.Bytes+l.Bytes, s.Shards+1, s.Work+float64(l.Follow)
		s.Free -= min(s.Free, v.proposal.Bytes)
		s.open = s.State == Up && s.fits(0)
		if v.proposal.Bytes > 0 || !slices.Contains(l.learners, v.add) {
			s.receive, s.balance, s.Receiving = max(0, s.receive-1), max(0, s.balance-1), s.Receiving+1
			p.stores[l.leader].send = max(0, p.stores[l.leader].send-1)
		}
		p.shift(l.rule, v.add, w)
	}
	if v.del >= 0 {
		s := &p.stores[v.del]
		s.weight, s.Bytes, s.Shards = max(0, s.weight-w), s.Bytes-min(s.Bytes, l.Bytes), max(0, s.Shards-1)
		s.Work -= float64(l.Follow)
		p.shift(l.rule, v.del, -w)
	}
	if v.leader >= 0 && v.leader != l.leader {
		from, to := &p.stores[l.leader], &p.stores[v.leader]
		from.Leaders, from.leadersOut = max(0, from.Leaders-1), max(0, from.leadersOut-1)
		to.Leaders, to.leadersIn = to.Leaders+1, max(0, to.leadersIn-1)
		from.Work, to.Work = from.Work-l.leads(), to.Work+l.leads()
	}
}

// shift keeps the sums of a store's zone. Those of other rules are right again in the next call.
func (p *picture) shift(r *ruling, at int32, weight float64) {
	for i := range r.zones {
		if z := &r.zones[i]; z.site == p.stores[at].sites[0] && r.meets[at] && p.stores[at].open {
			z.weight += weight
		}
	}
}

// sendable reports whether the shard's leader may send one more copy.
func (p *picture) sendable(l *look) bool { return l.leader >= 0 && p.stores[l.leader].send > 0 }
