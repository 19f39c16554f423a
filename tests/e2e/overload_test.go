package e2e

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
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
	overloadValueBytes = 16 << 10
	overloadPatience   = 2 * time.Second // of one put of the generator
	// overloadBudget is each store's, small, so that a short test gets to its end.
	overloadBudget     = 128 << 20
	overloadCacheBytes = 16 << 20
	overloadTableBytes = 16 << 20
	// overloadSlack is what a process may take beside its budget and what it took before: the cache and the memtables, which
	// may not have been full by then, and what the collector leaves behind.
	overloadSlack = overloadCacheBytes + 4*overloadTableBytes + 64<<20
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
		MemoryBudget: overloadBudget, SplitBytes: -1})
	r := &overloadRun{t: t, c: c, o: o, end: make(chan struct{})}
	r.fill()
	rate := r.capacity()
	watch := startOverloadWatch(c)
	time.Sleep(200 * time.Millisecond)
	watch.begin()
	steady := startSteady(c, o.shards, 50)
	time.Sleep(time.Second)
	calm := steady.take()

	stalled := c.Nodes[2]
	r.askWithoutTaking()
	time.Sleep(2 * time.Second)
	r.scan()
	r.generate(rate * o.times)
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
	close(r.end)
	r.wg.Wait()
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
	t.Logf("capacity %d puts/s of %d bytes; sent %d in %s: %d done, %d refused or out of time", rate, overloadValueBytes, r.sent.Load(), o.stall+o.rest, r.done.Load(), r.failed.Load())
	t.Logf("scanned %d MiB; %d requests for pages were not read", r.scanned.Load()>>20, r.unread.Load())
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

// overloadRun is the load.
type overloadRun struct {
	t   *testing.T
	c   *Cluster
	o   overload
	end chan struct{}
	wg  sync.WaitGroup

	sent, done, failed atomic.Int64
	scanned, unread    atomic.Int64
}

func (r *overloadRun) key(i int) []byte {
	return fmt.Appendf(nil, "k%03d/data/%06d", i%r.o.shards*1000/r.o.shards, i)
}

// fill writes what is to be scanned.
func (r *overloadRun) fill() {
	n := r.o.data / overloadValueBytes
	value := noise(overloadValueBytes)
	for i := 0; i < n; i += 64 {
		kvs := make([]client.KV, 0, 64)
		for j := i; j < min(i+64, n); j++ {
			kvs = append(kvs, client.KV{Key: r.key(j), Value: value})
		}
		if err := r.c.DB.PutMany(r.t.Context(), kvs); err != nil {
			r.t.Fatal(err)
		}
	}
}

// noise is what no disk compresses.
func noise(n int) []byte {
	out := make([]byte, n)
	x := uint32(1)
	for i := range out {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		out[i] = byte(x)
	}
	return out
}

// capacity is how many puts a second the cluster takes from writers that wait.
func (r *overloadRun) capacity() int {
	const writers, window = 32, 1500 * time.Millisecond
	value := noise(overloadValueBytes)
	ctx, cancel := context.WithTimeout(r.t.Context(), window)
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; ctx.Err() == nil; i += writers {
				if r.c.DB.Put(ctx, r.key(i), value) == nil {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return max(20, int(float64(n.Load())/window.Seconds()))
}

// generate sends puts at fixed times, whatever became of the others.
func (r *overloadRun) generate(rate int) {
	db := r.open()
	value := noise(overloadValueBytes)
	r.wg.Go(func() {
		var puts sync.WaitGroup
		begin := time.Now()
		for i := 0; ; {
			select {
			case <-r.end:
				puts.Wait()
				_ = db.Close()
				return
			case <-time.After(5 * time.Millisecond):
			}
			for due := int(time.Since(begin).Seconds() * float64(rate)); i < due; i++ {
				r.sent.Add(1)
				puts.Go(func() {
					ctx, cancel := context.WithTimeout(context.Background(), overloadPatience)
					defer cancel()
					if db.Put(ctx, r.key(i), value) == nil {
						r.done.Add(1)
					} else {
						r.failed.Add(1)
					}
				})
			}
		}
	})
}

func (r *overloadRun) open() *client.DB {
	db, err := client.Open(r.t.Context(), r.c.Addrs())
	if err != nil {
		r.t.Fatal(err)
	}
	return db
}

// scan has clients read everything, again and again.
func (r *overloadRun) scan() {
	for range r.o.scanners {
		r.wg.Go(func() {
			db, err := client.Open(context.Background(), r.c.Addrs())
			if err != nil {
				return
			}
			defer db.Close()
			for !r.over() {
				for kv, err := range db.Scan(context.Background(), client.Prefix("k")) {
					if err != nil || r.over() {
						break
					}
					r.scanned.Add(int64(len(kv.Value)))
				}
			}
		})
	}
}

func (r *overloadRun) over() bool {
	select {
	case <-r.end:
		return true
	default:
		return false
	}
}

// askWithoutTaking has clients ask each leader for pages, and take no answer.
func (r *overloadRun) askWithoutTaking() {
	addrs := make(map[shard.StoreID]string)
	stores, err := r.c.DB.Admin().Stores(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range stores {
		addrs[s.ID] = s.Addr
	}
	asked := make(map[shard.StoreID]bool)
	for s, err := range r.c.DB.Admin().Shards(r.t.Context()) {
		if err != nil {
			r.t.Fatal(err)
		}
		if asked[s.Leader.Store] || s.Leader.ID == 0 {
			continue
		}
		asked[s.Leader.Store] = true
		for range r.o.mute {
			if err := r.mute(addrs[s.Leader.Store], &s); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

// mute is one client that takes nothing. It has a window of 64 KiB, as a program that is stuck has after a while.
func (r *overloadRun) mute(addr string, s *client.ShardInfo) error {
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStaticStreamWindowSize(64<<10))
	if err != nil {
		return err
	}
	r.t.Cleanup(func() { _ = cc.Close() })
	stream, err := kvv1.NewKVClient(cc).Stream(metadata.AppendToOutgoingContext(r.t.Context(), "skerry-store", strconv.FormatUint(uint64(s.Leader.Store), 10)))
	if err != nil {
		return err
	}
	q := &raw.Query{Kind: raw.Scan, Range: shard.ModeRange(shard.ModeRaw), MaxBytes: 4 << 20}
	if len(s.Range.Start) > 0 {
		q.Range.Start = s.Range.Start
	}
	var frame []byte
	for i := range r.o.pages {
		frame = call.AppendRequest(frame, uint64(i+1), &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Timeout: time.Minute, Body: q.Append(nil)})
	}
	r.unread.Add(int64(r.o.pages))
	return stream.Send(&kvv1.Frame{Data: frame})
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
		bound := min(before+overloadBudget+overloadSlack, cfg.MemoryBytes())
		t.Logf("node %d: %d MiB resident before, at most %d MiB under overload; with the budget of %d MiB it may be %d MiB", p.Index+1, before>>20, most>>20, overloadBudget>>20, bound>>20)
		if most > bound || before == 0 {
			t.Errorf("node %d took %d MiB before and %d MiB under overload", p.Index+1, before>>20, most>>20)
		}
	}
	t.Logf("no shard was without a leader that works for more than %s", w.longest.Round(10*time.Millisecond))
	if w.longest > overloadLeaderless {
		t.Errorf("a shard was without a leader that works for %s", w.longest)
	}
}
