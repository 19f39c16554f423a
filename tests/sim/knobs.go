package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/skerrydb/skerry/tests/sim/simnet"
	"github.com/skerrydb/skerry/tests/sim/world"
)

// Knobs are everything that a seed decides before anything happens.
type Knobs struct {
	Seed       uint64
	Strategy   string
	Stores     int
	Members    int
	Late       int // stores that are added while faults go on
	Shards     int
	Clients    int
	Groups     int // of keys that clients work on
	Workers    int // of each store
	Faults     time.Duration
	Drift      float64       // of monotonic clocks, at most, either way
	WallSkew   time.Duration // of wall clocks, at most, either way
	SyncTime   time.Duration // of one sync, at most
	Net        simnet.Knobs
	Nemeses    []string
	Tick       time.Duration // of Raft
	Pace       time.Duration // between two faults, at most
	Churn      time.Duration // between two transfers or splits, at most; 0: none
	Seats      time.Duration // between two changes of placement's members, at most; 0: none
	Mix        string        // of operations: even, reads, writes
	Aim        float64       // the chance that a fault hits whoever leads most
	Think      time.Duration // between two operations of a client, at most
	Budget     time.Duration // of the retries of one call
	Bulk       int64         // bytes from which on snapshots are ingested; 0: as in production
	LogEntries uint64        // how long a log grows before it is cut

	Txns         int           // clients that run transactions
	Serializable bool          // what they ask for
	Watchers     int           // of what those write
	Perish       time.Duration // between two deaths of such clients, at most; 0: none
	Collect      time.Duration // between two moves of the safe point, at most; 0: none
	Echo         time.Duration // between two commands of transactions that are sent again, at most; 0: none

	Patience time.Duration // of placement's operators; 0: as in production
	Hurry    float64       // the chance that a client gives a transaction up in the middle

	Check time.Duration // in which each shard is compared once; 0: never

	Segment int64 // bytes of a segment of the raft log
	OldLogs int   // lives of a part in which its raft log is still in the database
}

func pick[T any](w *world.World, from ...T) T { return from[w.IntN(len(from))] }

// draw decides the knobs of a seed. Small and bad worlds are as likely as large and quiet ones.
func draw(seed uint64) *Knobs {
	w := world.New(seed, world.Uniform())
	k := &Knobs{Seed: seed, Strategy: pick(w, "uniform", "pct", "delay", "mix"), Stores: pick(w, 1, 3, 3, 3, 3, 4, 4, 5), Members: pick(w, 1, 3, 3),
		Shards: pick(w, 1, 1, 3, 8, 20), Clients: pick(w, 2, 4, 6), Workers: pick(w, 1, 1, 2), Faults: 20 * time.Second,
		Drift: pick(w, 0, 0.01, 0.024), WallSkew: pick(w, 0, 100*time.Millisecond, 3*time.Second),
		SyncTime: pick(w, 200*time.Microsecond, 2*time.Millisecond, 20*time.Millisecond), Think: pick(w, 2*time.Millisecond, 5*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond, time.Second),
		Tick: pick(w, 30*time.Millisecond, 100*time.Millisecond), Pace: pick(w, 60*time.Millisecond, 150*time.Millisecond, 1500*time.Millisecond),
		Aim: pick(w, 0, 0.5, 0.9),
		Net: simnet.Knobs{Latency: pick(w, 100*time.Microsecond, time.Millisecond, 10*time.Millisecond), Bandwidth: pick(w, int64(10<<20), int64(100<<20)),
			Loss: pick(w, 0, 0, 0.002, 0.02), Duplicate: pick(w, 0, 0.01), Reorder: pick(w, 0, 0, 0.05), Late: pick(w, 0, 0.001, 0.01),
			LateBy: pick(w, 500*time.Millisecond, 5*time.Second), BreakWait: pick(w, 20*time.Millisecond, 500*time.Millisecond, 3*time.Second)}}
	k.Groups = pick(w, 1, 2, 4, 16)
	k.Mix = pick(w, "even", "reads", "writes")
	k.LogEntries = pick(w, uint64(8), 16, 64, 4096)
	k.Budget = pick(w, 300*time.Millisecond, 2*time.Second, 10*time.Second)
	if k.Stores > 3 {
		k.Late = pick(w, 0, 1)
	}
	k.Churn = pick(w, 0, 100*time.Millisecond, 300*time.Millisecond, time.Second)
	k.Bulk = pick(w, int64(0), 1)
	k.Members = min(k.Members, k.Stores-k.Late)
	for _, n := range nemeses {
		if w.Chance(0.55) {
			k.Nemeses = append(k.Nemeses, n.name)
		}
	}
	// New knobs are drawn last, so that seeds draw what they drew before.
	k.Seats = pick(w, 0, 200*time.Millisecond, time.Second)
	k.Txns, k.Serializable = pick(w, 0, 2, 3, 4), w.Chance(0.4)
	k.Perish, k.Collect = pick(w, 0, 2*time.Second, 6*time.Second), pick(w, 0, time.Second, 4*time.Second)
	k.Patience = pick(w, 0, 0, 300*time.Millisecond, 2*time.Second)
	k.Hurry = pick(w, 0, 0.1, 0.5)
	k.Watchers = pick(w, 0, 1, 2)
	k.Echo = pick(w, 0, 60*time.Millisecond, 300*time.Millisecond)
	k.Check = pick(w, 0, 0, 0, 200*time.Millisecond, time.Second, 5*time.Second)
	k.Segment, k.OldLogs = pick(w, int64(4<<10), 16<<10, 128<<10), pick(w, 0, 0, 0, 1, 2)
	return k
}

// strategies by name. A mix gives every tenth of a second's worth of steps to another one.
var strategies = map[string]func() world.Strategy{
	"uniform": world.Uniform,
	"pct":     func() world.Strategy { return world.PCT(3, 2000) },
	"delay":   func() world.Strategy { return world.DelayBounded(20, 2000) },
	"mix": func() world.Strategy {
		return world.Mix(500, world.Uniform(), world.PCT(3, 2000), world.DelayBounded(20, 2000))
	},
}

func (k *Knobs) checkStrategy() error {
	if strategies[k.Strategy] == nil {
		return fmt.Errorf("no strategy is called %q: want one of %v", k.Strategy, slices.Sorted(maps.Keys(strategies)))
	}
	return nil
}

// String is one line a person reads.
func (k *Knobs) String() string {
	return fmt.Sprintf("seed %d: %d stores (%d of them late), %d members, %d shards, %d workers, %d clients on %d groups, mostly %s, logs of %d in segments of %d KiB, %d lives without, bulk %d, strategy %s, tick %s, drift %.3f, wall skew %s, sync %s, think %s, pace %s, aim %g, churn %s, seats %s, %d of transactions (%s, perish %s, collect %s, echo %s, %d watchers), patience %s, hurry %g, check %s,\n"+
		"  net latency %s bandwidth %d MiB/s loss %g duplicate %g reorder %g late %g by %s break %s\n  nemeses: %s",
		k.Seed, k.Stores, k.Late, k.Members, k.Shards, k.Workers, k.Clients, k.Groups, k.Mix, k.LogEntries, k.Segment>>10, k.OldLogs, k.Bulk, k.Strategy, k.Tick, k.Drift, k.WallSkew, k.SyncTime, k.Think, k.Pace, k.Aim, k.Churn, k.Seats, k.Txns, k.level(), k.Perish, k.Collect, k.Echo, k.watchers(), k.Patience, k.Hurry, k.Check, k.Net.Latency, k.Net.Bandwidth>>20, k.Net.Loss,
		k.Net.Duplicate, k.Net.Reorder, k.Net.Late, k.Net.LateBy, k.Net.BreakWait, strings.Join(k.Nemeses, ", "))
}

// watchers is how many there are: none where there is nothing to watch.
func (k *Knobs) watchers() int {
	if k.Txns == 0 {
		return 0
	}
	return k.Watchers
}

// replicas is how many each shard has.
func (k *Knobs) replicas() int {
	if k.Stores < 3 {
		return 1
	}
	return 3
}

// KnobsOf are the knobs that a seed draws.
func KnobsOf(seed uint64) *Knobs { return draw(seed) }
