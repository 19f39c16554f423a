package schedule

import (
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
)

// ShardAnswer says why a shard is where it is, and what would be done about it.
type ShardAnswer struct {
	Shard shard.ID
	// Found is false if there is no such shard; then nothing else is set.
	Found  bool
	Desc   *shard.Descriptor
	Leader shard.StoreID
	Bytes  uint64
	// Rule is what holds for the shard.
	Rule Effective
	// Pending is the goal of its operator; nil: it has none.
	Pending *operator.Goal
	// Stuck says why nothing can be done to it at all; empty if something can.
	Stuck string
	// Steps are the questions asked about it, in their order, with what was found.
	Steps []Step
	// Proposal is what Propose would propose if it looked at the shard now; nil: nothing.
	Proposal *Proposal
}

// Step is one question about a shard.
type Step struct {
	Question string
	Kind     operator.Kind // of the operator that it could lead to
	// Answer is "fine", "proposed", "waits" or "impossible".
	Answer string
	Trace
}

var outcomeNames = [...]string{"fine", "proposed", "waits", "impossible"}

func (o outcome) String() string { return outcomeNames[o] }

// Explain says what a Scheduler with these limits would do with a shard, and why: with the same code that decides. What
// it cannot know is that a replica rests because it was moved to balance not long ago.
func Explain(v *View, id shard.ID, limits Limits) ShardAnswer {
	sh := v.lookup()(id)
	if sh == nil {
		return ShardAnswer{Shard: id}
	}
	p := newPicture(v, limits.orDefault(), 0)
	l := p.look(sh)
	a := ShardAnswer{Shard: id, Found: true, Desc: sh.Desc, Leader: sh.Leader, Bytes: sh.Bytes, Rule: l.rule.Effective, Pending: sh.Pending, Stuck: p.stuck(l)}
	if a.Stuck != "" {
		return a
	}
	leadsOnly := false
	for _, st := range append(repairs(), shardBalance(), leaderBalance(), workBalance()) {
		step := Step{Question: st.name, Kind: st.kind, Answer: fine.String()}
		if leadsOnly && !st.leads {
			continue
		}
		if st.wanted(p, l) {
			v := st.resolve(p, l, &step.Trace)
			step.Answer = v.outcome.String()
			leadsOnly = leadsOnly || v.outcome == impossible && repairing(st.kind)
			if v.outcome == proposed {
				a.Proposal = &v.proposal
			}
		}
		a.Steps = append(a.Steps, step)
		if step.Answer == proposed.String() || step.Answer == waits.String() {
			break
		}
	}
	return a
}

// stuck says why nothing is proposed for a shard whatever its state.
func (p *picture) stuck(l *look) string {
	switch {
	case l.Desc.ID == shard.MetaID:
		return "it is placement's own and is never moved"
	case l.Pending != nil:
		return "it has an operator; the next is decided when that ends"
	case !l.quorum:
		return fmt.Sprintf("%d of its %d voters answer: no change of it could be agreed", l.alive, len(l.voters))
	case l.leader < 0:
		return "its leader is not known, so nobody could carry out a change"
	case !p.stores[l.leader].alive:
		return fmt.Sprintf("its leader %s is %s, so nobody could carry out a change", l.Leader, p.stores[l.leader].State)
	}
	return ""
}

// Lines are the answer for people, one line each.
func (a ShardAnswer) Lines() []string {
	if !a.Found {
		return []string{fmt.Sprintf("%s: there is no such shard", a.Shard)}
	}
	out := []string{fmt.Sprintf("%s, %s, led by %s", a.Desc, size(a.Bytes), a.Leader), "rule: " + a.Rule.String()}
	for _, at := range a.Rule.Straddles {
		out = append(out, fmt.Sprintf("  no rule holds for it as a whole: it is to be split at %s", at))
	}
	if a.Pending != nil {
		out = append(out, fmt.Sprintf("operator: to voters %v, leader %s", a.Pending.Voters, a.Pending.Leader))
	}
	if a.Stuck != "" {
		return append(out, "nothing: "+a.Stuck)
	}
	for i := range a.Steps {
		out = append(out, a.Steps[i].lines()...)
	}
	if a.Proposal == nil {
		return append(out, "nothing is proposed")
	}
	return append(out, "proposed: "+a.Proposal.String())
}

func (a ShardAnswer) String() string { return strings.Join(a.Lines(), "\n") }

func (s *Step) lines() []string {
	out := []string{fmt.Sprintf("%s: %s", s.Question, s.Answer)}
	for _, n := range s.Notes {
		out = append(out, "  "+n)
	}
	for i := range s.Searches {
		search := &s.Searches[i]
		out = append(out, fmt.Sprintf("  places beside %v:", search.Staying))
		for _, pl := range search.Places {
			out = append(out, fmt.Sprintf("    %-8s %s: %s", pl.Store, pl.Tier, pl.Why))
		}
	}
	return out
}

// String is the proposal in one line.
func (p Proposal) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", p.Kind, p.Shard)
	if len(p.Goal.Voters) > 0 {
		fmt.Fprintf(&b, " to %v", p.Goal.Voters)
	}
	if p.Goal.Leader != 0 {
		fmt.Fprintf(&b, ", led by %s", p.Goal.Leader)
	}
	if p.Bytes > 0 {
		fmt.Fprintf(&b, ", copies %s", size(p.Bytes))
	}
	return b.String() + ": " + p.Why
}

// String is what holds, in one line.
func (e Effective) String() string {
	var b strings.Builder
	if e.Name == "" {
		b.WriteString("the cluster's own")
	} else {
		fmt.Fprintf(&b, "%q", e.Name)
	}
	if e.Replicas > 0 {
		fmt.Fprintf(&b, ", %d voters", e.Replicas)
	}
	if len(e.Isolation) > 0 {
		fmt.Fprintf(&b, ", apart by %s", strings.Join(e.Isolation, ", "))
	}
	for _, c := range e.Require {
		fmt.Fprintf(&b, ", on %s", c)
	}
	for _, c := range e.Leaders {
		fmt.Fprintf(&b, ", led on %s", c)
	}
	return b.String()
}
