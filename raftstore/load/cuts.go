package load

import (
	"slices"

	"github.com/skerrydb/skerry/shard"
)

// Sample is one request: a key, or the range that it covered.
type Sample struct {
	Start shard.Key
	// End is the first key behind it; nil: it is the one key Start.
	End    shard.Key
	Weight float64 // of its work, against a request that carries nothing
}

const (
	// minSamples say something about where the requests of a shard, or of a part of it, go.
	minSamples = 100
	minInPart  = 40
	// maxShare is how much of the work the larger part may keep, with what would have to visit both: a cut that leaves
	// more to it helps nobody.
	maxShare = 0.8
	// maxCrossed is how much of the work may be requests that a cut makes visit both parts.
	maxCrossed = 0.25
)

// Cuts finds at most parts-1 keys inside rng that part the sampled requests, ascending: one that leaves the larger part as
// little as can be, and so on in the parts. There is none if no key helps: all ask for the same key, or for everything.
func Cuts(samples []Sample, rng shard.Range, parts int) []shard.Key {
	if parts < 2 || len(samples) < minInPart {
		return nil
	}
	at, ok := bestCut(samples, rng)
	if !ok {
		return nil
	}
	var left, right []Sample
	l, r := 0.0, 0.0
	for _, s := range samples {
		if !s.after(at) {
			left, l = append(left, s), l+s.Weight
		}
		if !s.before(at) {
			right, r = append(right, s), r+s.Weight
		}
	}
	n := min(parts-1, max(1, int(float64(parts)*l/(l+r)+0.5)))
	out := Cuts(left, shard.Range{Start: rng.Start, End: at}, n)
	return slices.Concat(out, []shard.Key{at}, Cuts(right, shard.Range{Start: at, End: rng.End}, parts-n))
}

// before reports whether a request stays below a key.
func (s *Sample) before(at shard.Key) bool {
	if s.End == nil {
		return s.Start.Compare(at) < 0
	}
	return len(s.End) > 0 && s.End.Compare(at) <= 0
}

// after reports whether a request stays at or above a key.
func (s *Sample) after(at shard.Key) bool { return s.Start.Compare(at) >= 0 }

// bestCut is the first key of one of the requests that leaves the larger part the least.
func bestCut(samples []Sample, rng shard.Range) (shard.Key, bool) {
	starts := slices.Clone(samples)
	slices.SortStableFunc(starts, func(a, b Sample) int { return a.Start.Compare(b.Start) })
	ends := slices.Clone(samples)
	slices.SortStableFunc(ends, func(a, b Sample) int { return compareEnds(&a, &b) })
	total := 0.0
	for i := range samples {
		total += samples[i].Weight
	}
	var best shard.Key
	found, least := false, maxShare*total
	below, passed, e := 0.0, 0.0, 0 // weight that stays below the key; that begins below it
	for i := range starts {
		k := starts[i].Start
		for e < len(ends) && ends[e].before(k) {
			below, e = below+ends[e].Weight, e+1
		}
		if first := i == 0 || starts[i-1].Start.Compare(k) != 0; first && rng.Contains(k) && k.Compare(rng.Start) > 0 {
			above, crossed := total-passed, passed-below
			if larger := max(below, above) + crossed; crossed <= maxCrossed*total && (larger < least || !found && larger == least) {
				best, found, least = k, true, larger
			}
		}
		passed += starts[i].Weight
	}
	return best, found
}

// compareEnds orders requests by where they end: of one key, right behind it.
func compareEnds(a, b *Sample) int {
	switch {
	case a.End == nil && b.End == nil:
		return a.Start.Compare(b.Start)
	case a.End != nil && len(a.End) == 0:
		return one(b.End == nil || len(b.End) > 0)
	case b.End != nil && len(b.End) == 0:
		return -1
	case a.End == nil:
		if c := a.Start.Compare(b.End); c != 0 {
			return c
		}
		return 1 // behind Start, where b ends
	case b.End == nil:
		return -compareEnds(b, a)
	}
	return a.End.Compare(b.End)
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}
