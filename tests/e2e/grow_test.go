package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// TestGrowAndShrink imports Go's source tree into one shard and lets the cluster do the rest: it splits by itself, spreads
// over a fourth and a fifth store, comes to rest, makes up for a store that is lost for good, goes on without the leader of
// placement, and empties a store that is drained and removed. A reader and a writer run all the time and must not see an
// error. What is exported at the end is what was imported, and all replicas agree.
//
// By default a part of the tree, and a short look at the rest; SKERRY_LONG=1 takes all of it and looks for a minute.
func TestGrowAndShrink(t *testing.T) {
	t.Parallel()
	root, split, rest := filepath.Join(goroot(t), "src", "go"), int64(80<<10), 10*time.Second
	if os.Getenv("SKERRY_LONG") != "" {
		root, split, rest = filepath.Join(goroot(t), "src"), 4<<20, time.Minute
	}
	files := tree(t, root)
	bin := buildSkerry(t)
	c := New(t, Options{Nodes: 5, Late: 2, Apart: 3, SplitBytes: split, DownAfter: 10 * time.Second, MemTableBytes: 16 << 20})
	t.Log(c.skerry(bin, "import", root, "--prefix", "src/"))
	load := startLoad(t, c, files)
	g := &growth{t: t, c: c}

	g.within(2*time.Minute, "split into at least 20 shards", func(all []client.ShardInfo, _ []client.StoreInfo) string {
		return unless(len(all) >= 20, "%d shards", len(all))
	})
	c.Nodes[3].Start()
	c.Nodes[4].Start()
	begun := time.Now()
	g.within(3*time.Minute, "spread evenly over five stores", even(5))
	g.rests(begun.Add(3*time.Minute), rest)
	g.within(time.Second, "still even", even(5))

	c.Nodes[0].Kill()
	lost := g.storeAt(c.Nodes[0])
	g.within(3*time.Minute, "replace what was on "+lost.String(), gone(lost))
	g.placementLeader().Kill()
	g.within(time.Minute, "a new leader of placement", func([]client.ShardInfo, []client.StoreInfo) string { return "" })

	drained := g.storeAt(c.Nodes[1])
	t.Log(c.skerry(bin, "ctl", "store", "drain", drained.String(), "--wait", "--timeout", "3m"))
	t.Log(c.skerry(bin, "ctl", "store", "remove", drained.String(), "--yes"))
	g.within(time.Minute, drained.String()+" holds nothing", gone(drained))

	load.stop()
	t.Logf("meanwhile: %d reads, %d writes", load.reads.Load(), load.writes.Load())
	sameOnAllReplicas(t, c)
	sameTree(t, c, bin, files)
	if err := load.check(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// growth looks at a cluster that changes by itself.
type growth struct {
	t testing.TB
	c *Cluster
}

// look is one picture; an error is what a client would see, too.
func (g *growth) look(ctx context.Context) ([]client.ShardInfo, []client.StoreInfo, error) {
	var all []client.ShardInfo
	for s, err := range g.c.DB.Admin().Shards(ctx) {
		if err != nil {
			return nil, nil, err
		}
		all = append(all, s)
	}
	stores, err := g.c.DB.Admin().Stores(ctx)
	return all, stores, err
}

// within waits until lacks says "", and says how long that took.
func (g *growth) within(limit time.Duration, what string, lacks func([]client.ShardInfo, []client.StoreInfo) string) {
	g.t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	why := "nothing was seen"
	var stores []client.StoreInfo
	for {
		all, now, err := g.look(ctx)
		if err == nil {
			stores = now
			if why = lacks(all, stores); why == "" {
				g.t.Logf("%s: %.1f s, %d shards", what, time.Since(begun).Seconds(), len(all))
				return
			}
		}
		if ctx.Err() != nil {
			g.t.Fatalf("%s: not within %s: %s (%v)\n%s\n%s", what, limit, why, err, g.operators(), g.explained(stores))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// rests demands that the operators come to an end before a moment, and that none begins for a while after it.
func (g *growth) rests(by time.Time, length time.Duration) {
	g.t.Helper()
	newest := func() (id uint64, what string) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ops, err := g.c.DB.Admin().Operators(ctx, 0, true)
		if err != nil {
			g.t.Fatal(err)
		}
		for _, o := range ops {
			if o.ID > id {
				id, what = o.ID, fmt.Sprintf("%s of %s: %s", o.Kind, o.Shard, o.Why)
			}
		}
		return id, what
	}
	last, what := newest()
	for since := time.Now(); time.Since(since) < length; time.Sleep(time.Second) {
		if now, w := newest(); now != last {
			if time.Now().After(by) {
				g.t.Fatalf("balance does not rest: %s, and before that %s", w, what)
			}
			last, what, since = now, w, time.Now()
		}
	}
	g.t.Logf("no operator began for %s; the last one was %s", length, what)
}

// operators is what placement does and did, for a failure.
func (g *growth) operators() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ops, err := g.c.DB.Admin().Operators(ctx, 0, true)
	if err != nil {
		return err.Error()
	}
	text, _ := json.MarshalIndent(ops[:min(len(ops), 30)], "", " ")
	return string(text)
}

// explained is what placement says of stores and of scheduling.
func (g *growth) explained(stores []client.StoreInfo) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	admin := g.c.DB.Admin()
	sched, err := admin.Scheduling(ctx)
	out := fmt.Sprintf("scheduling %+v, %v\n", sched, err)
	for _, s := range stores {
		why, err := admin.ExplainStore(ctx, s.ID)
		out += fmt.Sprintf("%+v\n%+v, %v\n", s, why, err)
	}
	return out
}

func (g *growth) storeAt(p *Proc) shard.StoreID {
	g.t.Helper()
	_, stores, err := g.look(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, s := range stores {
		if s.Addr == p.Addr() {
			return s.ID
		}
	}
	g.t.Fatalf("no store at %s", p.Addr())
	return 0
}

// placementLeader is the process whose member leads.
func (g *growth) placementLeader() *Proc {
	g.t.Helper()
	members, err := g.c.DB.Admin().Members(context.Background())
	if err != nil {
		g.t.Fatal(err)
	}
	for _, m := range members {
		for _, p := range g.c.procs() {
			if m.Leader && m.Addr == p.Addr() {
				return p
			}
		}
	}
	g.t.Fatal("placement has no leader")
	return nil
}

func unless(ok bool, format string, args ...any) string {
	if ok {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// even wants replicas and leaders of each of n stores within a tenth, or two, of an even share, and nothing half done.
func even(n int) func([]client.ShardInfo, []client.StoreInfo) string {
	return func(all []client.ShardInfo, _ []client.StoreInfo) string {
		replicas, leaders, voters := make(map[shard.StoreID]int), make(map[shard.StoreID]int), 0
		for _, s := range all {
			for _, r := range s.Replicas {
				if r.Role != shard.Voter {
					return fmt.Sprintf("%s is being changed", s.ID)
				}
				replicas[r.Store]++
				voters++
			}
			leaders[s.Leader.Store]++
		}
		if len(replicas) != n {
			return fmt.Sprintf("%d stores hold something", len(replicas))
		}
		for id, k := range replicas {
			if off(k, voters, n) || off(leaders[id], len(all), n) {
				return fmt.Sprintf("%s holds %d replicas and leads %d; replicas %v, leaders %v", id, k, leaders[id], counts(replicas), counts(leaders))
			}
		}
		return ""
	}
}

// off says whether k is further than a tenth, and than two, from the n-th part of all.
func off(k, all, n int) bool {
	share := float64(all) / float64(n)
	return max(share-float64(k), float64(k)-share) > max(2, share/10)
}

func counts(of map[shard.StoreID]int) []int {
	var out []int
	for _, k := range of {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// gone wants no replica on a store, three voters of every shard, and a leader.
func gone(id shard.StoreID) func([]client.ShardInfo, []client.StoreInfo) string {
	return func(all []client.ShardInfo, _ []client.StoreInfo) string {
		for _, s := range all {
			for _, r := range s.Replicas {
				if r.Store == id || r.Role != shard.Voter {
					return fmt.Sprintf("%s has %v", s.ID, s.Replicas)
				}
			}
			if len(s.Replicas) != 3 || s.Leader.ID == 0 {
				return fmt.Sprintf("%s has %d replicas, leader %v", s.ID, len(s.Replicas), s.Leader)
			}
		}
		return ""
	}
}
