package schedule

import (
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/shard"
)

// StoreAnswer says why a store holds what it holds, and why it gets more or nothing.
type StoreAnswer struct {
	Store shard.StoreID
	// Found is false if there is no such store; then nothing else is set.
	Found bool
	State State
	// Load is what it holds by its relative capacity, Mean the same of all stores that are open, Tolerance how far the two
	// may be apart before anything is moved; in bytes, a shard counting one mebibyte beside its own.
	Load, Mean, Tolerance float64
	Shards, Leaders       int
	MeanLeaders           float64
	Bytes, Free, Capacity uint64
	// Against are the reasons, of the store as a whole, for which it gets no replicas or no leaders now; none: it may.
	Against []string
	// Looked is how many shards were looked at. Places counts for how many of those that are not on the store it would be
	// the place for a further replica, or which tier speaks against it. The order is that of the tiers.
	Looked int
	Places []TierCount
}

// TierCount is how often a tier decided.
type TierCount struct {
	Tier  Tier
	Count int
}

// explainShards is how many shards ExplainStore looks at: enough to tell what is common.
const explainShards = 512

// ExplainStore says what a Scheduler with these limits thinks of a store. It looks at all stores and at a sample of shards
// spread over the keyspace.
func ExplainStore(v *View, id shard.StoreID, limits Limits) StoreAnswer {
	p := newPicture(v, limits.orDefault(), 0)
	at, ok := p.at[id]
	if !ok {
		return StoreAnswer{Store: id}
	}
	s := &p.stores[at]
	r := p.ruling(shard.Range{})
	a := StoreAnswer{Store: id, Found: true, State: s.State, Load: s.load(), Mean: r.mean, Tolerance: p.tolerance, Shards: s.Shards, Leaders: s.Leaders,
		MeanLeaders: p.meanLeaders, Bytes: s.Bytes, Free: s.Free, Capacity: s.Capacity, Against: p.against(s)}
	counts := make([]int, TierChosen+1)
	every := max(1, v.Count/explainShards)
	n := 0
	v.Shards(nil, func(sh *Shard) bool {
		if n++; n%every != 0 {
			return true
		}
		l := p.look(sh)
		if l.holds(at) || l.joint || len(l.learners) > 0 || len(l.voters) == 0 {
			return true
		}
		a.Looked++
		counts[p.verdictOn(l, at)]++
		return a.Looked < explainShards
	})
	for t, n := range counts {
		if n > 0 {
			a.Places = append(a.Places, TierCount{Tier: Tier(t), Count: n})
		}
	}
	return a
}

// verdictOn says which tier keeps a store from being the place for the replica of the fullest voter.
func (p *picture) verdictOn(l *look, at int32) Tier {
	from := p.worstVoter(l, func(*standing) bool { return true })
	c := choice{look: l, rest: l.others(from)}
	if t := p.ruleOut(&c, at); t != TierNone {
		return t
	}
	best, ok := p.choose(&c, nil)
	if !ok || best.at == at {
		return TierChosen
	}
	mine := p.candidate(&c, at)
	_, t := p.compare(&c, &best, &mine)
	return t
}

// against lists what speaks against a store whatever the shard.
func (p *picture) against(s *standing) []string {
	var out []string
	note := func(b bool, format string, args ...any) {
		if b {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	note(s.State == Suspect, "it has been silent for a while: it keeps what it has and gets nothing")
	note(s.State == Draining, "it is draining: its replicas are moved elsewhere")
	note(s.Leaving, "its process is stopping: it gives its leaderships away and gets none")
	note(s.Evicting, "an administrator wants it to lead nothing: its leaderships are moved elsewhere")
	note(s.gone(), "it is %s: its replicas are replaced elsewhere", s.State)
	note(s.State == Up && !s.fits(0), "its disk is nearly full: %s free of %s, %s stay free", size(s.Free), size(s.Capacity), size(s.reserve))
	note(s.SlowDisk, "its disk is slow: it gets replicas only where nothing else will do")
	note(p.leadSlow(s), "it is slow: leaders are moved elsewhere")
	note(s.slow() && p.manySlow, "it is slow, but so are more than a third of all stores: no leaders are moved for that")
	note(s.receive == 0, "it receives %d replicas now, as many as it may", s.Receiving)
	note(s.receive > 0 && s.balance == 0, "it receives %d replicas now: there is room for repairs only", s.Receiving)
	note(s.send == 0, "it sends %d replicas now, as many as it may", s.Sending)
	return out
}

// Lines are the answer for people, one line each.
func (a StoreAnswer) Lines() []string {
	if !a.Found {
		return []string{fmt.Sprintf("%s: there is no such store", a.Store)}
	}
	out := []string{fmt.Sprintf("%s: %s, %d replicas, %d leaders, %s; disk %s free of %s", a.Store, a.State, a.Shards, a.Leaders, size(a.Bytes), size(a.Free), size(a.Capacity)),
		fmt.Sprintf("load %s, mean %s, tolerance %s: %s", size(uint64(a.Load)), size(uint64(a.Mean)), size(uint64(a.Tolerance)), a.stand()),
		fmt.Sprintf("leaders %d, mean %.1f", a.Leaders, a.MeanLeaders)}
	for _, r := range a.Against {
		out = append(out, "against it: "+r)
	}
	if len(a.Against) == 0 {
		out = append(out, "nothing speaks against it")
	}
	if a.Looked == 0 {
		out = append(out, "all shards that were looked at have a replica on it")
	} else {
		out = append(out, fmt.Sprintf("as the place for a replica of %d shards that are not on it:", a.Looked))
	}
	for _, c := range a.Places {
		out = append(out, fmt.Sprintf("  %6d %s", c.Count, c.Tier))
	}
	return out
}

func (a StoreAnswer) String() string { return strings.Join(a.Lines(), "\n") }

func (a StoreAnswer) stand() string {
	switch {
	case a.Load > a.Mean+a.Tolerance:
		return "fuller than it should be: replicas leave it where they have a better place"
	case a.Load < a.Mean-a.Tolerance:
		return "emptier than it should be: it gets replicas of shards that it may hold"
	}
	return "balanced"
}
