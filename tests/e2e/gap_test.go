package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/bench/still"
)

// TestGaps measures for how long puts stall while their shard's leadership is handed over, while the shard is split, and, to
// compare, while nothing happens. A put is due each millisecond whatever became of the others, and its latency counts from
// then: the longest of a trial is its gap. No put may fail. Where it can be known for how long the machine itself stood still
// meanwhile, see tests/bench/still, it says what is left without; and before all that what three bare files make of it, see bare.
// `make bench-gaps` makes 100 trials of each.
func TestGaps(t *testing.T) {
	t.Parallel()
	trials := int(setting(t, "SKERRY_GAPS", 4))
	g := &gaps{t: t}
	if w, err := still.Start(); err != nil {
		t.Log(err)
	} else {
		defer w.Stop()
		g.still = w
	}
	began := time.Now()
	g.compare("nothing but three files is there", began, bare(t, trials))
	g.c = New(t, Options{SplitBytes: -1, Direct: true})
	if err := g.c.DB.Admin().PauseScheduling(context.Background(), time.Hour); err != nil {
		t.Fatal(err)
	}
	g.load = startSteady(g.c, 1, 1000)
	time.Sleep(2 * time.Second) // connections, caches
	g.measure("nothing happens", trials, func(int) {})
	g.measure("the leadership is handed over", trials, func(int) { g.handOver() })
	g.measure("the shard is split", trials, g.split)
	g.load.stop()
	if err := g.load.failed(); err != nil {
		t.Fatal(err)
	}
	sameOnAllReplicas(t, g.c)
}

// gaps is a series of trials under a steady load of puts to the keys k000/0 to k000/99.
type gaps struct {
	t     *testing.T
	c     *Cluster
	load  *steady
	still *still.Watch // nil: it cannot be known
}

// gapWindow is how long each trial waits for the puts that it held up.
const gapWindow = 250 * time.Millisecond

func (g *gaps) measure(what string, trials int, do func(i int)) {
	g.t.Helper()
	began := time.Now()
	var of [][]timedPut
	for i := range trials {
		time.Sleep(gapWindow)
		g.load.takePuts()
		do(i)
		time.Sleep(gapWindow)
		puts := g.load.takePuts()
		for len(puts) == 0 { // all that was due stands still
			time.Sleep(gapWindow)
			puts = g.load.takePuts()
		}
		of = append(of, puts)
	}
	g.compare(what, began, of)
}

// compare reports the longest put of each trial since a time, and what is left without what the machine stood still.
func (g *gaps) compare(what string, began time.Time, of [][]timedPut) {
	g.t.Helper()
	g.report(fmt.Sprintf("longest put while %s, %d trials", what, len(of)), of, timedPut.took)
	if g.still == nil {
		return
	}
	spells, now := g.still.Spells(), time.Now()
	share := float64(still.Within(spells, began, now)) / float64(now.Sub(began))
	g.report(fmt.Sprintf("without the %.1f %% of that time in which the machine stood still", 100*share), of, func(p timedPut) time.Duration {
		return p.took() - still.Within(spells, p.due, p.ended)
	})
}

// report logs the longest put of each trial, by what it took.
func (g *gaps) report(what string, of [][]timedPut, took func(timedPut) time.Duration) {
	g.t.Helper()
	var longest []time.Duration
	for _, puts := range of {
		var most time.Duration
		for _, p := range puts {
			most = max(most, took(p))
		}
		longest = append(longest, most)
	}
	slices.Sort(longest)
	g.t.Logf("%s: median %s, p90 %s, p99 %s, largest %s", what,
		quantile(longest, 0.5), quantile(longest, 0.9), quantile(longest, 0.99), quantile(longest, 1))
}

// holds is the shard of a key.
func (g *gaps) holds(key []byte) client.ShardInfo {
	g.t.Helper()
	s, err := g.c.DB.Admin().Shard(context.Background(), key)
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

// handOver hands the shard to the store after its leader's.
func (g *gaps) handOver() {
	g.t.Helper()
	s := g.holds([]byte("k000/0"))
	var stores []shard.StoreID
	for _, r := range s.Replicas {
		stores = append(stores, r.Store)
	}
	slices.Sort(stores)
	to := stores[(slices.Index(stores, s.Leader.Store)+1)%len(stores)]
	if err := g.c.DB.Admin().TransferLeader(context.Background(), s.ID, to); err != nil {
		g.t.Fatal(err)
	}
}

// split splits the shard that holds the i-th key, there.
func (g *gaps) split(i int) {
	g.t.Helper()
	key := fmt.Appendf(nil, "k000/%d", i%100)
	if _, err := g.c.DB.Admin().Split(context.Background(), g.holds(key).ID, key); err != nil {
		g.t.Fatal(err)
	}
}
