package placementsim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
)

// Scenario is something that happens to a cluster.
type Scenario struct {
	Name   string
	Config Config
	// Event happens at once. It returns how many bytes must be copied at the least to become even again.
	Event func(w *World) uint64
	// Settled: the cluster is first brought to rest, because it is not built so that it is.
	Settled bool
	// Slack is how much more may be copied than the least; 0: three tenths. Spare bytes are copied besides.
	Slack float64
}

// Report is what became of a scenario.
type Report struct {
	Name          string
	Tally         Tally
	Least         uint64
	Slack         float64
	Seconds       int  // simulated, until the last operator ended
	Rested        bool // afterwards nothing was begun for two rounds
	Before, After Spread
	InZones       Spread // afterwards
	WorkBefore    Spread
	WorkAfter     Spread
	Leaders       Spread
	HeapPerShard  uint64
	Wrong         []string
}

const (
	mib = 1 << 20
	tib = 1 << 40
	// maxSeconds bounds a scenario: three days.
	maxSeconds = 3 * 24 * 3600
)

// Uniform is a cluster of equal stores and shards in three zones.
func Uniform(stores, shards int) Config {
	return Config{Stores: stores, Shards: shards, Zones: 3, RackStores: 10, Replicas: 3, Seed: 1, FailurePercent: 1,
		Capacity: func(int) uint64 { return 2 * tib }, Bytes: func(*rand.Rand) uint64 { return 96 * mib }}
}

// Skewed has shards from kibibytes to gibibytes, and one store in four with four times the capacity.
func Skewed(stores, shards int) Config {
	c := Uniform(stores, shards)
	c.Bytes = func(r *rand.Rand) uint64 { return min(2<<30, uint64(32*mib*math.Exp(1.5*r.NormFloat64()))) }
	c.Capacity = func(i int) uint64 {
		if i/c.Zones%4 == 0 {
			return 4 * tib
		}
		return tib
	}
	return c
}

// Busy is a uniform cluster whose shards are asked for very different amounts, and those that a tenth of the stores lead for
// five times as much as the others.
func Busy(stores, shards int) Config {
	c := Uniform(stores, shards)
	c.Work = func(r *rand.Rand, leader int) float64 {
		work := 20 * math.Exp(1.2*r.NormFloat64())
		if leader%10 == 0 {
			work *= 5
		}
		return min(2000, work)
	}
	return c
}

// Scenarios are those that we ask of every change, for a cluster of a size. A tenth, a hundredth and so on of the
// stores take part in the event.
func Scenarios(stores, shards int) []Scenario {
	tenth, hundredth, few := max(6, stores/10), max(2, stores/100), max(1, stores/200)
	uniform := Uniform(stores, shards)
	return []Scenario{
		{Name: "static", Config: uniform, Event: func(*World) uint64 { return 0 }},
		{Name: fmt.Sprintf("add %d stores", tenth), Config: uniform, Settled: true, Event: func(w *World) uint64 {
			total := uint64(0)
			for i := range w.stores {
				total += w.stores[i].Bytes
			}
			for range tenth {
				w.addStore()
			}
			return total / uint64(len(w.stores)) * uint64(tenth)
		}},
		{Name: "lose 1 store", Config: uniform, Settled: true, Event: func(w *World) uint64 { return w.strike(1, schedule.Down) }},
		{Name: fmt.Sprintf("lose %d stores", hundredth), Config: uniform, Settled: true, Event: func(w *World) uint64 { return w.strike(hundredth, schedule.Down) }},
		{Name: fmt.Sprintf("drain %d stores", few), Config: uniform, Settled: true, Event: func(w *World) uint64 { return w.strike(few, schedule.Draining) }},
		{Name: "skewed sizes", Config: Skewed(stores, shards), Event: func(w *World) uint64 { return w.excess() }},
		{Name: "lose a zone", Config: uniform, Settled: true, Event: func(w *World) uint64 { return w.strike((stores+2)/3, schedule.Down) }},
		{Name: "skewed load", Config: Busy(stores, shards), Event: func(*World) uint64 { return 0 }},
		{Name: fmt.Sprintf("label change of %d stores", few*2), Config: uniform, Settled: true, Slack: 1, Event: func(w *World) uint64 { return w.relabel(few * 2) }},
	}
}

// relabel moves n stores of the first zone, by their labels, to the second: every shard on them has two replicas there then.
// One replica of each must be copied back to the first zone.
func (w *World) relabel(n int) uint64 {
	bytes := uint64(0)
	for i := 0; i < len(w.stores) && n > 0; i += w.cfg.Zones {
		s := &w.stores[i]
		bytes += s.Bytes
		s.Labels = slices.Clone(s.Labels)
		for j := range s.Labels {
			if s.Labels[j].Key == "zone" {
				s.Labels[j].Value = "z1"
			}
		}
		n--
	}
	return bytes
}

// strike gives a state to n stores of the first zone. Their bytes must be copied to others.
func (w *World) strike(n int, state schedule.State) uint64 {
	bytes := uint64(0)
	for i := 0; i < len(w.stores) && n > 0; i += w.cfg.Zones {
		bytes += w.stores[i].Bytes
		w.set(w.stores[i].ID, state)
		n--
	}
	return bytes
}

// excess is what the stores of each zone hold above what is theirs by capacity.
func (w *World) excess() uint64 {
	out := 0.0
	for zone := range w.cfg.Zones {
		bytes, capacity := 0.0, 0.0
		for i := zone; i < len(w.stores); i += w.cfg.Zones {
			bytes, capacity = bytes+float64(w.stores[i].Bytes), capacity+float64(w.stores[i].Capacity)
		}
		for i := zone; i < len(w.stores); i += w.cfg.Zones {
			out += max(0, float64(w.stores[i].Bytes)-bytes/capacity*float64(w.stores[i].Capacity))
		}
	}
	return uint64(out)
}

// Run lets a scenario happen until the cluster rests.
func Run(sc Scenario) Report {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	w := New(sc.Config)
	runtime.GC()
	runtime.ReadMemStats(&after)
	r := Report{Name: sc.Name, Slack: sc.Slack, HeapPerShard: (after.HeapAlloc - before.HeapAlloc) / uint64(len(w.shards))}
	w.reset()
	if sc.Settled {
		w.settle()
		w.reset()
	}
	r.Before, r.WorkBefore = w.Fullness(), w.Works()
	r.Least = sc.Event(w)
	if r.Before.MaxByMean == 1 || len(w.stores) > sc.Config.Stores {
		r.Before = w.Fullness()
	}
	began := w.now
	r.Rested = w.settle()
	r.Seconds = max(0, w.judge.lastEnd-began)
	r.Tally, r.After, r.Leaders, r.Wrong = w.Tally, w.Fullness(), w.Leaderships(), w.judge.Wrong
	r.InZones, r.WorkAfter = w.InZones(), w.Works()
	return r
}

// reset begins a new event.
func (w *World) reset() {
	w.Tally = Tally{Kinds: make(map[operator.Kind]int), Begun: w.Tally.Begun}
	w.Tally.since = w.Tally.Begun
	w.judge.event()
}

// settle lets time pass until nothing was begun in two full rounds over the shards, and again in two after what rests
// because it was moved may be moved again.
func (w *World) settle() bool {
	rounds, until := 2*(len(w.shards)/4096+1), w.now+maxSeconds
	for quiet, rested := 0, false; quiet < rounds || !rested; quiet++ {
		if quiet == rounds {
			w.now += int(schedule.DefaultLimits().Cooldown / time.Second)
			quiet, rested = 0, true
		}
		if w.Step() > 0 || len(w.ends) > 0 {
			quiet, rested = -1, false
			w.judge.lastEnd = w.now
		}
		if w.now > until {
			return false
		}
	}
	return true
}
