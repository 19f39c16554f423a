package schedule

import (
	"bytes"
	"slices"

	"github.com/skerrydb/skerry/shard"
)

// Effective is what the rules say of one range.
type Effective struct {
	// Name is of the RangeRule that holds; empty: none does, and the cluster's own values hold.
	Name string
	// Replicas is how many voters; 0: as many as there are (rules that were never set).
	Replicas  int
	Isolation []string
	Require   []Constraint
	Leaders   []Constraint
	// Straddles are the bounds of rules that lie inside the range, in ascending order. No rule holds for it as a whole,
	// so none holds at all, until it is split there.
	Straddles []shard.Key
}

// For returns what holds for the shard with this range.
func (r *Rules) For(rng shard.Range) Effective {
	out := Effective{Replicas: r.Replicas, Isolation: r.Isolation}
	i := r.indexFor(rng)
	if i >= 0 {
		rule := &r.Ranges[i]
		out.Name, out.Require, out.Leaders = rule.Name, rule.Require, rule.Leaders
		if rule.Replicas != 0 {
			out.Replicas = rule.Replicas
		}
		return out
	}
	for i := range r.Ranges {
		for _, at := range r.Ranges[i].bounds() {
			if inside(rng, at) && (len(out.Straddles) == 0 || !bytes.Equal(out.Straddles[len(out.Straddles)-1], at)) {
				out.Straddles = append(out.Straddles, at)
			}
		}
	}
	return out
}

// indexFor is the rule that holds for rng, -1 if none does.
func (r *Rules) indexFor(rng shard.Range) int {
	if len(r.Ranges) == 0 {
		return -1
	}
	// The last rule that does not begin after the range does.
	n, found := slices.BinarySearchFunc(r.Ranges, rng.Start, func(a RangeRule, k shard.Key) int { return bytes.Compare(a.Start, k) })
	if !found {
		n--
	}
	if n < 0 || !r.Ranges[n].rng().ContainsRange(rng) {
		return -1
	}
	return n
}

func (r *RangeRule) rng() shard.Range { return shard.Range{Start: r.Start, End: r.End} }

// bounds are the start and the end, without those that are the keyspace's own.
func (r *RangeRule) bounds() []shard.Key {
	var out []shard.Key
	for _, b := range [][]byte{r.Start, r.End} {
		if len(b) != 0 {
			out = append(out, b)
		}
	}
	return out
}

// inside reports whether a shard of this range could be split at k.
func inside(rng shard.Range, k shard.Key) bool { return rng.Contains(k) && !bytes.Equal(rng.Start, k) }

// SplitPoint is a key at which a shard must be split before the rules can hold on both sides of it.
type SplitPoint struct {
	Shard shard.ID
	At    shard.Key
}

// SplitPoints lists the bounds of rules that lie inside a shard, in the order of keys. It costs a lookup per bound.
func SplitPoints(v *View) []SplitPoint {
	var out []SplitPoint
	for i := range v.Rules.Ranges {
		for _, at := range v.Rules.Ranges[i].bounds() {
			v.Shards(at, func(sh *Shard) bool {
				next := SplitPoint{Shard: sh.Desc.ID, At: at}
				if inside(sh.Desc.Range, at) && (len(out) == 0 || !bytes.Equal(out[len(out)-1].At, at)) {
					out = append(out, next)
				}
				return false
			})
		}
	}
	return out
}

// met reports whether a store meets all constraints.
func met(cs []Constraint, s *Store) bool { return firstUnmet(cs, s) == nil }

// firstUnmet is the first constraint that a store does not meet, nil if it meets all.
func firstUnmet(cs []Constraint, s *Store) *Constraint {
	for i := range cs {
		if slices.Contains(cs[i].Values, s.Label(cs[i].Key)) == cs[i].Not {
			return &cs[i]
		}
	}
	return nil
}
