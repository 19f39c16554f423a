package raftstore

import (
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
)

// Verdict is what came out of a comparison.
type Verdict uint8

// The verdicts.
const (
	Equal      Verdict = iota // all replicas hold the same
	Divergent                 // some hold something else than a majority of the voters
	Undecided                 // they differ, and no majority of the voters holds the same: nobody is stopped
	Unfinished                // those that were heard hold the same, but not all were
	verdicts
)

func (v Verdict) String() string {
	return [...]string{"equal", "divergent", "undecided", "unfinished"}[v]
}

// Comparison is a comparison of all replicas of a shard at one applied index.
type Comparison struct {
	Shard   shard.ID
	Index   uint64
	Sums    []ReplicaSum // of the replicas as of Index, in the order of the descriptor
	Verdict Verdict
	// Majority is the sum that a majority of the voters has, unless the verdict is Undecided or Unfinished.
	Majority engine.Sum
}

// ReplicaSum is a replica's word in a comparison.
type ReplicaSum struct {
	shard.Replica
	Heard bool
	Sum   engine.Sum // if Heard
}

// differs reports whether a replica was heard with another sum than the majority's.
func (c *Comparison) differs(p *ReplicaSum) bool { return p.Heard && p.Sum != c.Majority }

func (c *Comparison) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s at %d: %s:", c.Shard, c.Index, c.Verdict)
	for i := range c.Sums {
		p := &c.Sums[i]
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, " %s on %s (%s) ", p.ID, p.Store, p.Role)
		if p.Heard {
			b.WriteString(p.Sum.String())
		} else {
			b.WriteString("not heard")
		}
	}
	return b.String()
}

// judge says what the words that were heard come to.
//
// INVARIANT: nobody is divergent against less than a strict majority of all voters, heard or not; learners have no say.
func judge(g *gathering) *Comparison {
	c := &Comparison{Shard: g.desc.ID, Index: g.index, Verdict: Equal}
	voters, missing, differ := 0, false, false
	votes := make(map[engine.Sum]int)
	var first *engine.Sum
	for _, rep := range g.desc.Replicas {
		h := g.heard[rep.ID]
		p := ReplicaSum{Replica: rep, Heard: h.index == g.index && !h.none, Sum: h.sum}
		if rep.Role != shard.Learner {
			voters++
		}
		c.Sums = append(c.Sums, p)
		if !p.Heard {
			missing = true
			continue
		}
		if first == nil {
			first = &p.Sum
		}
		differ = differ || p.Sum != *first
		if rep.Role != shard.Learner {
			votes[p.Sum]++
		}
	}
	decided := false
	// in any order: at most one has more than half
	for sum, n := range votes {
		if 2*n > voters {
			c.Majority, decided = sum, true
		}
	}
	switch {
	case differ && decided:
		c.Verdict = Divergent
	case differ:
		c.Verdict = Undecided
	case missing:
		c.Verdict = Unfinished
	}
	return c
}

// conclude does what a verdict asks for.
func (s *Store) conclude(c *Comparison) {
	s.metrics.comparisons[c.Verdict].Add(1)
	if o := s.opt.Observer; o != nil {
		o.Compared(c)
	}
	switch c.Verdict {
	case Divergent:
		for i := range c.Sums {
			if p := &c.Sums[i]; c.differs(p) {
				s.logger.Error("a replica's data differ from those of the majority; its store is stopped for good", "shard", c.Shard, "replica", p.ID,
					"on", p.Store, "index", c.Index, "sum", p.Sum, "majority", c.Majority)
				s.condemn(c, p)
			}
		}
	case Undecided:
		s.logger.Error("replicas differ, and no majority of the voters holds the same; none is stopped: stop writing to these keys, keep copies "+
			"of the stores' directories (skerry debug), find out which one is right, and remove the stores of the others (skerry ctl store remove)",
			"comparison", c.String())
	case Equal, Unfinished:
		s.logger.Debug("replicas compared", "comparison", c.String())
	}
}

// verdictRepeats is how often a store is told, an election timeout apart, while it is heard: a message may be lost.
const verdictRepeats = 20

// condemn tells a replica that it is divergent, until its store is not heard any more.
func (s *Store) condemn(c *Comparison, p *ReplicaSum) {
	m := &comparison{kind: comparisonVerdict, shard: c.Shard, to: p.ID, index: c.Index, sum: p.Sum, majority: c.Majority}
	if p.Store == s.id {
		s.hearVerdict(s.id, m)
		return
	}
	s.goTask("verdict", func() {
		for range verdictRepeats {
			s.sendComparison(p.Store, m)
			if s.env.Sleep(s.ctx, s.opt.electionTimeout()) != nil || s.stopped() {
				return
			}
			if live, _ := s.live.isLive(p.Store); !live {
				return
			}
		}
	})
}

// hearVerdict is the end of a store whose data differ from those of others.
//
// INVARIANT: it believes only what is said of its own sum, by the store that it told it to: no message that was made up,
// damaged or meant for somebody else stops a store. What was said is on disk before the store stops, so that it is never
// served from again.
func (s *Store) hearVerdict(from shard.StoreID, c *comparison) {
	r := s.replica(c.shard)
	if r == nil || r.self != c.to {
		return
	}
	last := r.summed.Load()
	if last == nil || last.index != c.index || last.store != from || last.sum != c.sum || c.majority == c.sum || s.condemned.Swap(true) {
		return
	}
	err := &engine.DivergedError{Why: fmt.Sprintf("%s of %s holds other data than the majority of its voters at index %d: %s, they %s",
		r.self, r.id, c.index, c.sum, c.majority)}
	s.goTask("diverged", func() {
		var failed error
		s.env.Call("mark the store", func() { failed = s.engine.MarkDiverged(err.Why) })
		if failed != nil {
			s.logger.Error("what differs could not be written down", "err", failed)
		}
		s.broken("compare replicas", err)
	})
}
