package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// TestWriteTable: the laws of the table that make a write happen at most once.
func TestWriteTable(t *testing.T) {
	for _, row := range writeTable.Rows() {
		if row.To == sending && row.From != cutting && row.From != refreshing {
			t.Errorf("%s on %s sends without having been cut", row.From, row.On)
		}
		if row.From == sending && row.On == silent && row.To != asking {
			t.Errorf("an attempt without an answer is not asked about but goes to %s", row.To)
		}
		if row.From == asking && row.To != asking && row.To != done && row.On != never && row.On != refused {
			t.Errorf("asking ends on %s, which is not definite", row.On)
		}
	}
	for s := range done {
		if to, kind := writeTable.Next(s, timeOver); kind != fsm.Taken || to != done {
			t.Errorf("%s does not end when the time is over", s)
		}
	}
	if done.String() != "done" || timeOver.String() != "time over" {
		t.Errorf("states and events are not called by their names: %s, %s", done, timeOver)
	}
}

// TestPrefix: the range of a prefix holds exactly the keys that begin with it.
func TestPrefix(t *testing.T) {
	letters := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xfe, 0xff}), 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		p, k := letters.Draw(t, "prefix"), letters.Draw(t, "key")
		if got, want := Prefix(p).Contains(k), bytes.HasPrefix(k, p); got != want {
			t.Fatalf("prefix %q: %s contains %q: %v", p, Prefix(p), k, got)
		}
		r := Range{Start: p, End: k}
		if got, ok := userRange(r.whole()); ok != !r.empty() || ok && (!bytes.Equal(got.Start, r.Start) || !bytes.Equal(got.End, r.End)) {
			t.Fatalf("%s came back as %s, %v", r, got, ok)
		}
	})
}

// TestFindBefore: a reverse scan begins in the shard that holds the keys just below its end, wherever bounds lie.
func TestFindBefore(t *testing.T) {
	letters := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 'a', 0xff}), 1, 5)
	rapid.Check(t, func(t *rapid.T) {
		var bounds []shard.Key
		for range rapid.IntRange(0, 6).Draw(t, "bounds") {
			bounds = append(bounds, shard.RawKey(letters.Draw(t, "bound")))
		}
		slices.SortFunc(bounds, shard.Key.Compare)
		bounds = slices.CompactFunc(bounds, func(a, b shard.Key) bool { return bytes.Equal(a, b) })
		r := newRoutes()
		start := shard.Key(nil)
		for i := 0; i <= len(bounds); i++ {
			d := &shard.Descriptor{ID: shard.ID(i + 1), Range: shard.Range{Start: start}, Epoch: shard.Epoch{ConfVer: 1, Version: 1},
				Replicas: []shard.Replica{{ID: 1, Store: 1, Role: shard.Voter}}}
			if i < len(bounds) {
				d.Range.End = bounds[i]
				start = bounds[i]
			}
			r.insert([]*shard.Descriptor{d}, 0)
		}
		end := shard.ModeRange(shard.ModeRaw).End
		if len(bounds) > 0 && rapid.Bool().Draw(t, "at a bound") {
			end = bounds[rapid.IntRange(0, len(bounds)-1).Draw(t, "which")]
		} else if rapid.Bool().Draw(t, "anywhere") {
			end = shard.RawKey(letters.Draw(t, "end"))
		}
		rt, ok := r.find(&target{first: end, before: true})
		if !ok {
			t.Fatalf("no shard before %s", end)
		}
		if d := rt.desc; d.Range.Start.Compare(end) >= 0 || len(d.Range.End) != 0 && d.Range.End.Compare(end) < 0 {
			t.Fatalf("before %s: found %s among bounds %v", end, d.Range, bounds)
		}
	})
}

// TestRoutes: whose word about a route counts.
func TestRoutes(t *testing.T) {
	r := newRoutes()
	at := func(k string) string {
		tg := keyTarget(shard.RawKey([]byte(k)))
		rt, ok := r.find(&tg)
		if !ok {
			return "none"
		}
		return fmt.Sprintf("%s e%s leader %s term %d applied %d", rt.desc.ID, rt.desc.Epoch, rt.leader.ID, rt.term, rt.applied)
	}
	want := func(k, s string) {
		t.Helper()
		if got := at(k); got != s {
			t.Errorf("route of %s: %s, want %s", k, got, s)
		}
	}
	picture := func(full bool, lines ...string) {
		in := &beat.Routes{Full: full, Stores: fakeStores(3)}
		for _, l := range lines {
			in.Routes = append(in.Routes, parseRoute(l))
		}
		in.Routes = append(in.Routes, beat.Route{}) // a route without a descriptor is passed over
		r.apply(in)
	}
	picture(true, "s2 - m 1.1 leader=1 term=5 applied=100", "s3 m - 1.1")
	want("a", "s2 e1.1 leader r21 term 5 applied 100")
	want("z", "s3 e1.1 leader r0 term 0 applied 0")
	// A store that answers as the leader is believed, and its word outlives an older one of placement.
	r.heard(2, fakeReplica(2, 2), 6, 110)
	picture(false, "s2 - m 1.1 leader=1 term=5 applied=105")
	want("a", "s2 e1.1 leader r22 term 6 applied 110")
	// A leader that does not answer is forgotten, and placement's word about the same term does not bring it back.
	r.forgetLeader(2, fakeReplica(2, 2))
	picture(false, "s2 - m 1.1 leader=2 term=6 applied=111")
	want("a", "s2 e1.1 leader r0 term 6 applied 111")
	// A term without a leader is no term: who cannot reach the others counts on.
	r.notLeader(2, fakeReplica(2, 3), &shard.NotLeaderError{Shard: 2, Term: 90})
	want("a", "s2 e1.1 leader r0 term 6 applied 111")
	r.notLeader(2, fakeReplica(2, 3), &shard.NotLeaderError{Shard: 2, Leader: fakeReplica(2, 1), Term: 7})
	want("a", "s2 e1.1 leader r21 term 7 applied 111")
	r.notLeader(2, fakeReplica(2, 3), &shard.NotLeaderError{Shard: 2, Leader: fakeReplica(2, 3), Term: 6})
	want("a", "s2 e1.1 leader r21 term 7 applied 111")
	// A split is heard of from a store. A full picture that is older does not undo it, and a gap in it counts.
	r.insert([]*shard.Descriptor{fakeDesc(2, "-", "g", shard.Epoch{ConfVer: 1, Version: 2}), fakeDesc(4, "g", "m", shard.Epoch{ConfVer: 1, Version: 2})}, 2)
	picture(true, "s2 - m 1.1 leader=1 term=5 applied=100")
	want("a", "s2 e1.2 leader r21 term 7 applied 111")
	want("k", "s4 e1.2 leader r42 term 0 applied 0") // who led the whole is the first to lead a part
	want("z", "none")
	// What shards that are gone said is forgotten.
	picture(false, "s3 g - 1.9 leader=2 term=1 applied=7")
	want("k", "s3 e1.9 leader r32 term 1 applied 7")
	if _, ok := r.hints[4]; ok {
		t.Error("a shard that is gone still has a hint")
	}
}

// TestTokens: a healthy client never waits; in an outage retries settle at the rate of the bucket.
func TestTokens(t *testing.T) {
	now := env.Time(1)
	b := newTokens(now)
	for range int(retryBurst) {
		if w := b.take(now); w != 0 {
			t.Fatalf("waited %s within the burst", w)
		}
	}
	if w := b.take(now); w != time.Second/time.Duration(retriesPerSecond) {
		t.Fatalf("first wait %s", w)
	}
	for range 10000 {
		if w := b.take(now); w > longestTokenWait {
			t.Fatalf("waited %s", w)
		}
	}
	now = now.Add(2 * time.Second)
	if w := b.take(now); w != 0 {
		t.Fatalf("two seconds later it still waits %s", w)
	}
	b.have = 0
	for range 20 {
		b.earn()
	}
	if w := b.take(now); w != 0 {
		t.Fatalf("answers earned nothing: %s", w)
	}
}

// oneByOne is a CallMany that calls.
func oneByOne(ctx context.Context, c interface {
	Call(context.Context, string, shard.StoreID, *call.Request) call.Reply
}, addr string, to shard.StoreID, reqs []*call.Request, reps []call.Reply) {
	for i, req := range reqs {
		reps[i] = c.Call(ctx, addr, to, req)
	}
}

// slowConn is a cluster whose answers take as long as told. Counts are atomic.
type slowConn struct {
	fakePlacement
	call    func(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply
	locates atomic.Int64
	watch   func(ctx context.Context, addr string, f func(*beat.Routes) error) error
}

func (c *slowConn) CallMany(ctx context.Context, addr string, to shard.StoreID, reqs []*call.Request, reps []call.Reply) {
	oneByOne(ctx, c, addr, to, reqs, reps)
}

func (c *slowConn) Call(ctx context.Context, _ string, to shard.StoreID, req *call.Request) call.Reply {
	return c.call(ctx, to, req)
}

func (c *slowConn) Locate(ctx context.Context, addr string, key shard.Key, limit int) (*beat.Routes, error) {
	c.locates.Add(1)
	time.Sleep(10 * time.Millisecond)
	return c.fakePlacement.Locate(ctx, addr, key, limit)
}

func (c *slowConn) Watch(ctx context.Context, addr string, f func(*beat.Routes) error) error {
	if c.watch == nil {
		return errors.New("no stream here")
	}
	return c.watch(ctx, addr, f)
}

func openSlow(t *testing.T, c *slowConn, opts ...Option) *DB {
	t.Helper()
	c.routes.Stores = fakeStores(3)
	db, err := Open(context.Background(), "seed", append(opts, WithWorld(env.Real{}, c))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func found(v string) call.Reply {
	return call.Reply{Body: (&raw.Answer{Rows: []raw.Row{{Value: []byte(v), Found: true}}}).Append(nil)}
}

// TestHungStore: an attempt at a store that hangs ends in time for another one, and nothing is left behind.
func TestHungStore(t *testing.T) {
	c := &slowConn{}
	c.routes.Routes = []beat.Route{parseRoute("s2 - - 1.1 leader=1 term=5 applied=100")}
	c.call = func(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply {
		if to == 1 {
			<-ctx.Done()
			return call.Reply{Err: ctx.Err()}
		}
		return found("v")
	}
	db := openSlow(t, c, WithRetryBudget(time.Second))
	begin := time.Now()
	if v, err := db.Get(context.Background(), []byte("k")); err != nil || string(v) != "v" {
		t.Fatalf("get: %q, %v", v, err)
	}
	if d := time.Since(begin); d < 400*time.Millisecond || d > 900*time.Millisecond {
		t.Errorf("the store that hung was waited for for %s, half of the budget is 500ms", d)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		db.scopes.mu.Lock()
		resting, empty := db.scopes.resting, db.scopes.list.next == &db.scopes.list
		db.scopes.mu.Unlock()
		if resting && empty {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the sweeper rests: %v, nothing under way: %v", resting, empty)
		}
	}
}

// TestColdCache: many callers that miss at once ask placement once.
func TestColdCache(t *testing.T) {
	c := &slowConn{call: func(context.Context, shard.StoreID, *call.Request) call.Reply { return found("v") }}
	db := openSlow(t, c) // knows no shard yet
	c.routes.Routes = []beat.Route{parseRoute("s2 - m 1.1"), parseRoute("s3 m - 1.1")}
	before := c.locates.Load()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			if _, err := db.Get(context.Background(), []byte{byte('a' + i%26)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := c.locates.Load() - before; n > 3 {
		t.Errorf("%d questions for one miss", n)
	}
}

// TestWatch: a stream begins with a full picture and goes on with changes; after it broke, another member is asked.
func TestWatch(t *testing.T) {
	c := &slowConn{}
	c.routes.Members = []beat.Member{{Store: 1, Replica: 1, Addr: "p1"}, {Store: 2, Replica: 2, Addr: "p2"}}
	c.routes.Routes = []beat.Route{parseRoute("s2 - - 1.1")}
	c.call = func(context.Context, shard.StoreID, *call.Request) call.Reply { return found("v") }
	picture := func(full bool, lines ...string) *beat.Routes {
		in := &beat.Routes{Full: full, Stores: fakeStores(3), Members: c.routes.Members}
		for _, l := range lines {
			in.Routes = append(in.Routes, parseRoute(l))
		}
		return in
	}
	var streams atomic.Int64
	c.watch = func(ctx context.Context, addr string, f func(*beat.Routes) error) error {
		switch n := streams.Add(1); {
		case n == 1:
			_ = f(picture(true, "s2 - m 1.2", "s3 m - 1.2"))
			_ = f(picture(false, "s3 m t 1.3", "s4 t - 1.3"))
			return shard.ErrUnavailable
		case addr != "p2":
			return &shard.NotLeaderError{Shard: shard.MetaID, Leader: shard.Replica{ID: 2, Store: 2}, Term: 3}
		case n > 100:
			return errors.New("asked too often")
		}
		_ = f(picture(true, "s2 - m 1.2", "s4 m - 1.9"))
		<-ctx.Done()
		return ctx.Err()
	}
	db := openSlow(t, c)
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		tg := keyTarget(shard.RawKey([]byte("n")))
		if rt, ok := db.routes.find(&tg); ok && rt.desc.ID == 4 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the second picture did not come")
		}
	}
	if _, ok := db.routes.get(3); ok {
		t.Error("a shard that is gone is still believed in")
	}
	if got := db.place.addresses()[0]; got != "p2" {
		t.Errorf("the member that answers is p2, asked first would be %s", got)
	}
}

// TestWrongCluster: an address of another cluster is refused.
func TestWrongCluster(t *testing.T) {
	db := openSlow(t, &slowConn{})
	if err := db.place.take("p1", &beat.Routes{Cluster: 7}); err != nil {
		t.Fatal(err)
	}
	var wrong *shard.WrongClusterError
	if err := db.place.take("p1", &beat.Routes{Cluster: 8}); !errors.As(err, &wrong) {
		t.Fatalf("routes of another cluster: %v", err)
	}
}

// BenchmarkGet and BenchmarkPut show what the SDK itself costs.
func BenchmarkGet(b *testing.B) {
	db := benchDB(b)
	k := []byte("user/42")
	for b.Loop() {
		if _, err := db.Get(context.Background(), k); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	db := benchDB(b)
	k := []byte("user/42")
	for b.Loop() {
		if err := db.Put(context.Background(), k, k); err != nil {
			b.Fatal(err)
		}
	}
}

func benchDB(b *testing.B) *DB {
	b.ReportAllocs()
	c := &slowConn{}
	c.routes.Stores = fakeStores(3)
	c.routes.Routes = []beat.Route{parseRoute("s2 - - 1.1 leader=1 term=5 applied=100")}
	get, put := found("v"), call.Reply{Term: 5, Applied: 101, Body: raw.Result{Failed: -1}.Append(nil)}
	c.call = func(_ context.Context, _ shard.StoreID, req *call.Request) call.Reply {
		if req.Kind == call.Read {
			return get
		}
		return put
	}
	db, err := Open(context.Background(), "seed", WithWorld(env.Real{}, c))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	return db
}
