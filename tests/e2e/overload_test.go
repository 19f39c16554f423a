package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/faultfs"
)

// overload is how much is asked of a cluster.
type overload struct {
	shards   int
	data     int           // bytes, scanned by everybody
	scanners int           // clients that scan everything again and again
	mute     int           // clients, on each store, that ask for pages and take none
	pages    int           // that each of those asks for
	stall    time.Duration // of one store's disk; a store whose disk hangs for 20 s ends, and is started again afterwards
	rest     time.Duration // after it, with all the rest going on
	times    int           // what the open-loop generator sends, as a multiple of what the cluster takes
}

const (
	// overloadBudget is each store's, small, so that a short test gets to its end.
	overloadBudget     = 128 << 20
	overloadCacheBytes = 16 << 20
	overloadTableBytes = 16 << 20
	// overloadProgramBytes is what the program's own file takes, which Go's runtime does not count.
	overloadProgramBytes = 40 << 20
	// leaderless is how long a shard may be without a leader that works.
	overloadLeaderless = 10 * time.Second
)

// TestOverload: a store's disk stalls, clients take no answers, others scan everything, and more is written than the cluster
// can take, all at once. No process takes more memory than its budget and what it is said to take beside, no shard is
// without a leader for long, and the cluster works when it is over. `make overload` runs the long form; both print what
// the others' puts took. It runs alone: it takes all of the machine.
func TestOverload(t *testing.T) {
	o := overload{shards: 6, data: 32 << 20, scanners: 12, mute: 2, pages: 200, stall: 4 * time.Second, rest: 500 * time.Millisecond, times: 4}
	if os.Getenv("SKERRY_LONG") != "" {
		o = overload{shards: 24, data: 1 << 30, scanners: 100, mute: 8, pages: 1000, stall: time.Minute, rest: 15 * time.Second, times: 4}
	}
	c := New(t, Options{Hurtful: true, SplitKeys: splitKeys(o.shards), MemTableBytes: overloadTableBytes, CacheBytes: overloadCacheBytes,
		MemoryBudget: overloadBudget, SplitBytes: -1, Direct: true})
	fillOverload(t, c, o)
	rate := overloadCapacity(t, c, o)
	watch := startOverloadWatch(c)
	time.Sleep(200 * time.Millisecond)
	watch.begin()
	steady := startSteady(c, o.shards, 50)
	time.Sleep(time.Second)
	calm := steady.take()

	stalled := c.Nodes[2]
	mute := startOverload(t, &overloadLoad{Addrs: c.Addrs(), Shards: o.shards, Mute: o.mute, Pages: o.pages})
	time.Sleep(2 * time.Second)
	load := startOverload(t, &overloadLoad{Addrs: c.Addrs(), Shards: o.shards, Scanners: o.scanners, Rate: rate * o.times, Clients: overloadClients, Value: overloadValueBytes})
	watch.stall(storeAt(t, c, stalled))
	stalled.Order(order{Disk: &faultfs.Faults{Hang: true, Path: "/store/"}})
	time.Sleep(o.stall)
	if exited := stalled.Exited(); exited != (o.stall > 30*time.Second) {
		t.Errorf("the process whose disk stalled for %s has ended: %v", o.stall, exited)
	} else if exited {
		if !strings.Contains(stalled.Log(), "the disk has not finished a sync for") {
			t.Error("it does not say why")
		}
		stalled.Restart()
	} else {
		stalled.Order(order{Disk: &faultfs.Faults{}})
	}
	watch.stall(0)
	time.Sleep(o.rest)
	loaded := steady.take()
	did := load.stop(t)
	did.Unread = mute.stop(t).Unread
	steady.stop()

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now()
	for i := range o.shards {
		if err := c.DB.Put(ctx, fmt.Appendf(nil, "k%03d/after", i*1000/o.shards), []byte("1")); err != nil {
			t.Fatalf("a put after the overload: %v", err)
		}
	}
	t.Logf("%d shards took a put %s after the end", o.shards, time.Since(began).Round(time.Millisecond))
	watch.stop()
	t.Logf("capacity %d puts/s of %d bytes; sent %d in %s: %d done, %d refused or out of time", rate, overloadValueBytes, did.Sent, o.stall+o.rest, did.Done, did.Failed+did.Refused)
	t.Logf("scanned %d MiB; %d requests for pages were not read", did.Scanned>>20, did.Unread)
	t.Logf("others' puts: before p50 %s, p99 %s; under overload %d of them, p50 %s, p99 %s (%v)", quantile(calm, 0.5), quantile(calm, 0.99),
		len(loaded), quantile(loaded, 0.5), quantile(loaded, 0.99), steady.failed())
	watch.judge(t)
}

// storeAt is the store of a node.
func storeAt(t *testing.T, c *Cluster, p *Proc) shard.StoreID {
	t.Helper()
	stores, err := c.DB.Admin().Stores(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stores {
		if s.Addr == p.Addr() {
			return s.ID
		}
	}
	t.Fatalf("no store at %s", p.Addr())
	return 0
}

// fillOverload writes what is to be scanned.
func fillOverload(t *testing.T, c *Cluster, o overload) {
	t.Helper()
	n := o.data / overloadValueBytes
	value := noise(overloadValueBytes)
	for i := 0; i < n; i += 64 {
		kvs := make([]client.KV, 0, 64)
		for j := i; j < min(i+64, n); j++ {
			kvs = append(kvs, client.KV{Key: overloadKey(j, o.shards), Value: value})
		}
		if err := c.DB.PutMany(t.Context(), kvs); err != nil {
			t.Fatal(err)
		}
	}
}

// overloadCapacity is how many puts a second the cluster takes from writers that wait.
func overloadCapacity(t *testing.T, c *Cluster, o overload) int {
	const writers, window = 32, 1500 * time.Millisecond
	value := noise(overloadValueBytes)
	ctx, cancel := context.WithTimeout(t.Context(), window)
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; ctx.Err() == nil; i += writers {
				if c.DB.Put(ctx, overloadKey(i, o.shards), value) == nil {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return max(20, int(float64(n.Load())/window.Seconds()))
}

// overloadWatch looks at memory and leaders all the time.
type overloadWatch struct {
	c    *Cluster
	quit chan struct{}
	wg   sync.WaitGroup

	mu      sync.Mutex
	before  map[int]int64 // resident bytes before the load, by node
	most    map[int]int64 // and since
	stalled shard.StoreID // whose disk hangs now
	since   map[shard.ID]time.Time
	longest time.Duration // that a shard was without a leader that works
}

func startOverloadWatch(c *Cluster) *overloadWatch {
	w := &overloadWatch{c: c, quit: make(chan struct{}), most: make(map[int]int64), since: make(map[shard.ID]time.Time)}
	every := func(d time.Duration, f func()) {
		w.wg.Go(func() {
			for {
				select {
				case <-w.quit:
					return
				case <-time.After(d):
					f()
				}
			}
		})
	}
	every(50*time.Millisecond, w.memory)
	every(250*time.Millisecond, w.leaders)
	return w
}

func (w *overloadWatch) stop() {
	close(w.quit)
	w.wg.Wait()
}

// begin notes what the processes take before they are loaded.
func (w *overloadWatch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before, w.most = w.most, make(map[int]int64)
}

// stall notes whose disk hangs from now on.
func (w *overloadWatch) stall(id shard.StoreID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stalled = id
}

func (w *overloadWatch) memory() {
	for _, p := range w.c.Nodes {
		n := p.Resident()
		w.mu.Lock()
		w.most[p.Index] = max(w.most[p.Index], n)
		w.mu.Unlock()
	}
}

func (w *overloadWatch) leaders() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for s, err := range w.c.DB.Admin().Shards(ctx) {
		if err != nil {
			return // what was not seen is not counted as seen: since goes on
		}
		w.mu.Lock()
		if s.Leader.ID == 0 || s.Leader.Store == w.stalled {
			if w.since[s.ID].IsZero() {
				w.since[s.ID] = time.Now()
			}
			w.longest = max(w.longest, time.Since(w.since[s.ID]))
		} else {
			delete(w.since, s.ID)
		}
		w.mu.Unlock()
	}
}

// judge says what was seen.
func (w *overloadWatch) judge(t *testing.T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	cfg := node.Config{Placement: &node.PlacementConfig{}, Store: &node.StoreConfig{MemoryBudget: overloadBudget, CacheBytes: overloadCacheBytes, MemTableBytes: overloadTableBytes}}
	for _, p := range w.c.Nodes {
		before, most := w.before[p.Index], w.most[p.Index]
		bound := cfg.MemoryBytes() + overloadProgramBytes
		t.Logf("node %d: %d MiB resident before, at most %d MiB under overload; with a budget of %d MiB and all that is beside it it may be %d MiB", p.Index+1, before>>20, most>>20, overloadBudget>>20, bound>>20)
		if most > bound || before == 0 {
			t.Errorf("node %d took %d MiB before and %d MiB under overload", p.Index+1, before>>20, most>>20)
		}
	}
	t.Logf("no shard was without a leader that works for more than %s", w.longest.Round(10*time.Millisecond))
	if w.longest > overloadLeaderless {
		t.Errorf("a shard was without a leader that works for %s", w.longest)
	}
}
