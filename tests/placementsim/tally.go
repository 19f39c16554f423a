package placementsim

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
)

// Tally counts what happened since the last event.
type Tally struct {
	Begun, Finished, Failed int
	Kinds                   map[operator.Kind]int
	Moved                   uint64 // bytes that were to be copied
	since                   int    // Begun at the event
	calls                   []time.Duration
}

func (t *Tally) begun(p schedule.Proposal) {
	t.Begun++
	t.Kinds[p.Kind]++
	t.Moved += p.Bytes
}

func (t *Tally) called(d time.Duration) { t.calls = append(t.calls, d) }

// cost returns the mean, the 99th percentile and the longest of the calls of Propose.
func (t *Tally) cost() (mean, p99, longest time.Duration) {
	if len(t.calls) == 0 {
		return 0, 0, 0
	}
	sorted := slices.Sorted(slices.Values(t.calls))
	for _, d := range sorted {
		mean += d
	}
	return mean / time.Duration(len(sorted)), sorted[len(sorted)*99/100], sorted[len(sorted)-1]
}

func (t *Tally) kinds() string {
	var out []string
	for _, k := range []operator.Kind{operator.Finish, operator.Replace, operator.AddReplica, operator.RemoveReplica, operator.FixRule, operator.Drain, operator.EvadeSlow, operator.BalanceShards, operator.BalanceLeaders, operator.BalanceLoad} {
		if n := t.Kinds[k]; n > 0 {
			out = append(out, fmt.Sprintf("%s %d", k, n))
		}
	}
	return strings.Join(out, ", ")
}

// Spread is how unevenly something lies on the stores that are up.
type Spread struct{ MaxByMean, MinByMean, Deviation float64 }

func (s Spread) String() string {
	return fmt.Sprintf("%.3f..%.3f sd %.3f", s.MinByMean, s.MaxByMean, s.Deviation)
}

// spread measures what f says of each store that is up, against the mean.
func (w *World) spread(f func(*schedule.Store) float64) Spread {
	var all []float64
	sum := 0.0
	for i := range w.stores {
		if s := &w.stores[i]; s.State == schedule.Up {
			all, sum = append(all, f(s)), sum+f(s)
		}
	}
	mean := sum / float64(len(all))
	if mean == 0 {
		return Spread{}
	}
	square := 0.0
	for _, v := range all {
		square += (v - mean) * (v - mean)
	}
	return Spread{MaxByMean: slices.Max(all) / mean, MinByMean: slices.Min(all) / mean, Deviation: math.Sqrt(square/float64(len(all))) / mean}
}

// Fullness is the spread of bytes by capacity.
func (w *World) Fullness() Spread {
	return w.spread(func(s *schedule.Store) float64 { return float64(s.Bytes) / float64(max(1, s.Capacity)) })
}

// InZones is the spread of bytes by capacity, each store against its own zone: where every shard has a replica in each zone,
// those of different size cannot be equally full.
func (w *World) InZones() Spread {
	zones := make(map[string][2]float64) // bytes, capacity
	for i := range w.stores {
		if s := &w.stores[i]; s.State == schedule.Up {
			z := zones[s.Label("zone")]
			zones[s.Label("zone")] = [2]float64{z[0] + float64(s.Bytes), z[1] + float64(s.Capacity)}
		}
	}
	return w.spread(func(s *schedule.Store) float64 {
		z := zones[s.Label("zone")]
		return float64(s.Bytes) / float64(s.Capacity) / (z[0] / z[1])
	})
}

// Works is the spread of what the stores have to do.
func (w *World) Works() Spread {
	return w.spread(func(s *schedule.Store) float64 { return s.Work })
}

// Leaderships is the spread of leaders.
func (w *World) Leaderships() Spread {
	return w.spread(func(s *schedule.Store) float64 { return float64(s.Leaders) })
}
