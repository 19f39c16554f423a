package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, is error) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("error is %v, want one that is %v", err, is)
	}
}

// TestOverGRPC goes the whole way once: every call, over sockets, on real stores.
func TestOverGRPC(t *testing.T) {
	// The largest value keeps two cores busy for seconds under the race detector. Leaders shall not change meanwhile.
	f := newFixture(t, func(o *raftstore.Options) { o.Tick = raftstore.DefaultTick })
	db := f.serve()
	ctx := context.Background()
	t.Run("keys", func(t *testing.T) { testKeys(t, ctx, db) })
	t.Run("conditions", func(t *testing.T) { testConditions(t, ctx, db) })
	t.Run("ttl", func(t *testing.T) { testTTL(t, ctx, db) })
	t.Run("batches", func(t *testing.T) { testBatches(t, ctx, db) })
	t.Run("ranges", func(t *testing.T) { testRanges(t, ctx, db) })
	t.Run("long scans", func(t *testing.T) { testLongScans(t, ctx, db) })
	t.Run("admin", func(t *testing.T) { testAdmin(t, ctx, db) })
	t.Run("largest", func(t *testing.T) { testLargest(t, ctx, db) }) // last: it makes syncs of these disks slow
}

func testKeys(t *testing.T, ctx context.Context, db *client.DB) {
	k := []byte("key")
	_, err := db.Get(ctx, k)
	wantErr(t, err, client.ErrNotFound)
	must(t, db.Put(ctx, k, []byte("value")))
	v, err := db.Get(ctx, k)
	if must(t, err); string(v) != "value" {
		t.Fatalf("got %q", v)
	}
	must(t, db.Put(ctx, k, nil))
	if v, err = db.Get(ctx, k, client.ReadFromFollower()); err != nil || v == nil || len(v) != 0 {
		t.Fatalf("an empty value came back as %v, %v", v, err)
	}
	must(t, db.Delete(ctx, k))
	must(t, db.Delete(ctx, k))
	_, err = db.Get(ctx, k, client.ReadFromFollower())
	wantErr(t, err, client.ErrNotFound)

	wantErr(t, db.Put(ctx, nil, nil), client.ErrInvalid)
	wantErr(t, db.Put(ctx, make([]byte, shard.MaxKeyBytes+1), nil), client.ErrKeyTooLarge)
	wantErr(t, db.Put(ctx, k, make([]byte, shard.MaxValueBytes+1)), client.ErrValueTooLarge)
	wantErr(t, db.Put(ctx, k, nil, client.TTL(-1)), client.ErrInvalid)
}

// testLargest puts the largest value under the longest key.
func testLargest(t *testing.T, ctx context.Context, db *client.DB) {
	big := bytes.Repeat([]byte("0123456789abcdef"), shard.MaxValueBytes/16)
	long := bytes.Repeat([]byte("k"), shard.MaxKeyBytes)
	must(t, db.Put(ctx, long, big))
	if v, err := db.Get(ctx, long); err != nil || !bytes.Equal(v, big) {
		t.Fatalf("the largest value came back with %d bytes, %v", len(v), err)
	}
	must(t, db.Delete(ctx, long))
}

func testConditions(t *testing.T, ctx context.Context, db *client.DB) {
	k := []byte("cond")
	must(t, db.PutIfAbsent(ctx, k, []byte("1")))
	err := db.PutIfAbsent(ctx, k, []byte("2"))
	wantErr(t, err, client.ErrConflict)
	var c *client.ConflictError
	if !errors.As(err, &c) || !c.Exists || string(c.Current) != "1" || string(c.Key) != "cond" {
		t.Fatalf("conflict %+v", c)
	}
	must(t, db.CompareAndSwap(ctx, k, []byte("1"), []byte("2")))
	err = db.CompareAndSwap(ctx, k, []byte("1"), []byte("3"))
	if wantErr(t, err, client.ErrConflict); !errors.As(err, &c) || string(c.Current) != "2" {
		t.Fatalf("conflict %+v", c)
	}
	must(t, db.Atomic(ctx, func(b *client.Batch) {
		b.IfEquals(k, []byte("2"))
		b.IfExists(k)
		b.IfAbsent([]byte("cond2"))
		b.Put([]byte("cond2"), []byte("new"))
		b.Put([]byte("cond3"), []byte("x"))
		b.DeleteRange(client.Prefix("cond3"))
		b.Delete(k)
	}))
	_, err = db.Get(ctx, []byte("cond3"))
	wantErr(t, err, client.ErrNotFound)
	must(t, db.Delete(ctx, []byte("cond2")))
	wantErr(t, db.Atomic(ctx, func(b *client.Batch) { b.Put(k, nil); b.Delete([]byte("z")) }), client.ErrCrossShard)
	wantErr(t, db.Atomic(ctx, func(b *client.Batch) { b.Put(k, nil); b.DeleteRange(client.Range{}) }), client.ErrCrossShard)
	wantErr(t, db.Atomic(ctx, func(b *client.Batch) { b.IfAbsent(nil) }), client.ErrInvalid)
	must(t, db.Atomic(ctx, func(*client.Batch) {}))
	_, err = db.Get(ctx, k)
	wantErr(t, err, client.ErrNotFound)
}

func testTTL(t *testing.T, ctx context.Context, db *client.DB) {
	k := []byte("short")
	must(t, db.Put(ctx, k, []byte("life"), client.TTL(time.Hour)))
	left, err := db.GetTTL(ctx, k)
	if must(t, err); left <= 0 || left > time.Hour {
		t.Fatalf("%s are left of an hour", left)
	}
	must(t, db.Put(ctx, k, []byte("life"), client.TTL(300*time.Millisecond)))
	found, err := db.GetMany(ctx, [][]byte{k, k})
	for end := time.Now().Add(5 * time.Second); found[0].Found; time.Sleep(20 * time.Millisecond) {
		must(t, err)
		if found, err = db.GetMany(ctx, [][]byte{k, k}, client.ReadFromFollower()); time.Now().After(end) {
			t.Fatal("the key still lives")
		}
	}
	must(t, err)
	must(t, db.Put(ctx, k, nil))
	if left, err = db.GetTTL(ctx, k); err != nil || left != 0 {
		t.Fatalf("a key without end has %s left, %v", left, err)
	}
	must(t, db.Delete(ctx, k))
	_, err = db.GetTTL(ctx, k)
	wantErr(t, err, client.ErrNotFound)
}

// numbered is key i of n, spread over all shards: a/00…, b/00…, …
func numbered(i int) []byte { return fmt.Appendf(nil, "%c/%04d", 'a'+i%26, i) }

func testBatches(t *testing.T, ctx context.Context, db *client.DB) {
	const n = 2000
	kvs := make([]client.KV, n)
	keys := make([][]byte, n)
	for i := range kvs {
		kvs[i] = client.KV{Key: numbered(i), Value: strconv.AppendInt(nil, int64(i), 10)}
		keys[i] = kvs[i].Key
	}
	must(t, db.PutMany(ctx, kvs))
	found, err := db.GetMany(ctx, append([][]byte{[]byte("none")}, keys...), client.ReadFromFollower())
	if must(t, err); found[0].Found {
		t.Fatal("a key that was never written was found")
	}
	for i := range keys {
		if f := found[i+1]; !f.Found || string(f.Value) != strconv.Itoa(i) {
			t.Fatalf("key %d: %+v", i, f)
		}
	}
	err = db.PutMany(ctx, []client.KV{{Key: []byte("a"), Value: []byte("1")}, {}, {Key: []byte("z"), Value: []byte("2")}})
	var b *client.BatchError
	if !errors.As(err, &b) || b.Errs[0] != nil || !errors.Is(b.Errs[1], client.ErrInvalid) || b.Errs[2] != nil {
		t.Fatalf("batch with one bad key: %v", err)
	}
	must(t, db.DeleteMany(ctx, append(keys, []byte("a"), []byte("z"))))
	for kv, err := range db.Scan(ctx, client.Range{}) {
		t.Fatalf("%q is left, %v", kv.Key, err)
	}
}

func testRanges(t *testing.T, ctx context.Context, db *client.DB) {
	var kvs []client.KV
	var want []string
	for i := range 1000 {
		kvs = append(kvs, client.KV{Key: numbered(i), Value: []byte("v")})
		want = append(want, string(numbered(i)))
	}
	slices.Sort(want)
	must(t, db.PutMany(ctx, kvs))
	check := func(what string, want []string, scan func(context.Context, client.Range, ...client.ScanOption) func(func(client.KV, error) bool), r client.Range, opts ...client.ScanOption) {
		t.Helper()
		var got []string
		for kv, err := range scan(ctx, r, opts...) {
			must(t, err)
			got = append(got, string(kv.Key))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %d keys %v, want %d", what, len(got), got, len(want))
		}
	}
	forward := func(c context.Context, r client.Range, o ...client.ScanOption) func(func(client.KV, error) bool) {
		return db.Scan(c, r, o...)
	}
	backward := func(c context.Context, r client.Range, o ...client.ScanOption) func(func(client.KV, error) bool) {
		return db.ReverseScan(c, r, o...)
	}
	reversed := slices.Clone(want)
	slices.Reverse(reversed)
	check("scan", want, forward, client.Range{})
	check("small pages", want, forward, client.Range{}, client.PageBytes(100), client.KeysOnly(), client.ReadFromFollower())
	check("reverse", reversed, backward, client.Range{}, client.PageBytes(1000))
	check("limit", want[:500], forward, client.Range{}, client.Limit(500))
	check("reverse limit", reversed[:1], backward, client.Range{}, client.Limit(1))
	from, to := slices.Index(want, "e/0004"), slices.Index(want, "q/0016")
	check("part", want[from:to], forward, client.Range{Start: []byte("e/0004"), End: []byte("q/0016")})
	check("reverse from a bound of a shard", reversed[slices.IndexFunc(reversed, func(k string) bool { return k < "g" }):], backward, client.Range{End: []byte("g")})
	check("empty", nil, backward, client.Range{Start: []byte("c"), End: []byte("c")})
	for _, err := range db.Scan(ctx, client.Range{Start: []byte("d"), End: []byte("c")}) {
		wantErr(t, err, client.ErrInvalid)
	}
	for kv, err := range db.Scan(ctx, client.Prefix("c/")) {
		if must(t, err); !strings.HasPrefix(string(kv.Key), "c/") || string(kv.Value) != "v" {
			t.Fatalf("prefix scan yields %q=%q", kv.Key, kv.Value)
		}
		break
	}
	testPartitions(t, ctx, db, want)
	must(t, db.DeleteRange(ctx, client.Range{Start: []byte("c"), End: []byte("w")}))
	check("after a deleted range", slices.DeleteFunc(want, func(k string) bool { return k >= "c" && k < "w" }), forward, client.Range{})
	must(t, db.DeleteRange(ctx, client.Range{}))
	check("after all", nil, forward, client.Range{})
}

func testPartitions(t *testing.T, ctx context.Context, db *client.DB, want []string) {
	parts, err := db.Partitions(ctx, client.Range{Start: []byte("b")})
	if must(t, err); len(parts) != 3 || string(parts[0].Range.Start) != "b" || string(parts[1].Range.Start) != "g" || parts[2].Range.End != nil {
		t.Fatalf("partitions %v", parts)
	}
	var got []string
	var sum client.Sum
	for i := range parts {
		for kv, err := range parts[i].Scan(ctx, client.KeysOnly()) {
			must(t, err)
			got = append(got, string(kv.Key))
		}
		s, err := parts[i].Checksum(ctx)
		must(t, err)
		sum = sum.Add(s)
	}
	if want = want[slices.IndexFunc(want, func(k string) bool { return k >= "b" }):]; !slices.Equal(got, want) {
		t.Fatalf("partitions hold %d keys, want %d", len(got), len(want))
	}
	whole, err := db.Checksum(ctx, client.From("b"), client.ReadFromFollower())
	if must(t, err); whole != sum || int(sum.Keys) != len(want) {
		t.Fatalf("sum of the parts %+v, of the whole %+v", sum, whole)
	}
}

func testAdmin(t *testing.T, ctx context.Context, db *client.DB) {
	a := db.Admin()
	stores, err := a.Stores(ctx)
	if must(t, err); len(stores) != 3 || stores[2].State != "up" {
		t.Fatalf("stores %+v", stores)
	}
	members, err := a.Members(ctx)
	if must(t, err); len(members) != 1 || !members[0].Leader {
		t.Fatalf("members %+v", members)
	}
	var ids []shard.ID
	for s, err := range a.Shards(ctx) {
		must(t, err)
		ids = append(ids, s.ID)
	}
	if !slices.Equal(ids, []shard.ID{2, 3, 4}) {
		t.Fatalf("shards %v", ids)
	}
	s, err := a.Shard(ctx, []byte("h"))
	if must(t, err); s.ID != 3 || string(s.Users.Start) != "g" {
		t.Fatalf("shard of h: %+v", s)
	}
	_, err = a.ShardByID(ctx, 99)
	wantErr(t, err, client.ErrNoShard)
	lead := leaderOf(t, ctx, a, 3)
	to := lead%3 + 1
	must(t, a.TransferLeader(ctx, 3, to))
	for end := time.Now().Add(10 * time.Second); leaderOf(t, ctx, a, 3) != to; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the leadership was not handed over")
		}
	}
	must(t, db.Put(ctx, []byte("h"), nil))
	wantErr(t, a.TransferLeader(ctx, 3, 9), client.ErrInvalid)
}

func leaderOf(t *testing.T, ctx context.Context, a *client.Admin, id shard.ID) shard.StoreID {
	t.Helper()
	reps, err := a.Replicas(ctx, id)
	if must(t, err); len(reps) != 3 {
		t.Fatalf("replicas %+v", reps)
	}
	for _, r := range reps {
		must(t, r.Err)
		if r.Leading {
			return r.Store
		}
	}
	return 0
}

// TestFailover: counters are incremented by compare-and-swap while the leaders' stores crash and come back. A counter
// ends between the increments that succeeded and those that may have.
func TestFailover(t *testing.T) {
	f := newFixture(t)
	db := f.open()
	ctx, cancel := context.WithCancel(context.Background())
	const writers = 6
	var sure, maybe [writers]int
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			k := []byte{byte('d' + 5*i)}
			must(t, db.Put(ctx, k, []byte("0")))
			for n := 0; ctx.Err() == nil; {
				next := strconv.Itoa(n + 1)
				err := db.CompareAndSwap(ctx, k, []byte(strconv.Itoa(n)), []byte(next))
				var c *client.ConflictError
				switch {
				case err == nil:
					sure[i]++
					n++
				case errors.As(err, &c): // an ambiguous one did happen
					n, _ = strconv.Atoi(string(c.Current))
				case errors.Is(err, client.ErrAmbiguous):
					maybe[i]++
				case ctx.Err() == nil:
					t.Errorf("writer %d: %v", i, err)
					return
				}
			}
		})
	}
	for round := range 3 {
		time.Sleep(300 * time.Millisecond)
		lead := f.Leader(f.shards[round].ID)
		f.Crash(lead, 0)
		time.Sleep(700 * time.Millisecond)
		f.Start(lead)
	}
	time.Sleep(300 * time.Millisecond)
	cancel()
	wg.Wait()
	for i := range writers {
		v, err := db.Get(context.Background(), []byte{byte('d' + 5*i)})
		must(t, err)
		n, _ := strconv.Atoi(string(v))
		t.Logf("writer %d: %d increments, %d more may have happened, counter %d", i, sure[i], maybe[i], n)
		if n < sure[i] || n > sure[i]+maybe[i] || n == 0 {
			t.Errorf("writer %d: counter is %d after %d increments, and %d ambiguous ones", i, n, sure[i], maybe[i])
		}
	}
}

// TestNoQuorum: a write that its leader cannot commit ends when its context does, and says that nobody knows. Reads say
// that they are unavailable. Afterwards everything goes on.
func TestNoQuorum(t *testing.T) {
	f := newFixture(t)
	db := f.open()
	ctx := context.Background()
	must(t, db.Put(ctx, []byte("k"), []byte("1")))
	f.Net.SetFilter(func(from, to shard.StoreID, _ []byte) bool { return from == to })
	begin := time.Now()
	short, cancel := context.WithTimeout(ctx, 150*time.Millisecond)
	defer cancel()
	err := db.Put(short, []byte("k"), []byte("2"))
	wantErr(t, err, client.ErrAmbiguous)
	wantErr(t, err, context.DeadlineExceeded)
	if d := time.Since(begin); d > 2*time.Second {
		t.Fatalf("it took %s to return", d)
	}
	time.Sleep(time.Second) // now there is no leader
	short, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	_, err = db.Get(short, []byte("k"))
	wantErr(t, err, client.ErrUnavailable)
	var e *client.Error
	if !errors.As(err, &e) || len(e.Reasons) == 0 || e.Attempts == 0 || e.Shard != 3 {
		t.Fatalf("the error says too little: %v", err)
	}
	err = db.Put(short, []byte("k"), []byte("3"))
	wantErr(t, err, client.ErrUnavailable)
	f.Net.SetFilter(nil)
	v, err := db.Get(ctx, []byte("k"))
	if must(t, err); string(v) != "1" && string(v) != "2" {
		t.Fatalf("read %q", v)
	}
}

// TestCloseDuringWrite: Close ends what is under way.
func TestCloseDuringWrite(t *testing.T) {
	f := newFixture(t)
	db := f.open()
	ctx := context.Background()
	must(t, db.Put(ctx, []byte("k"), []byte("1")))
	f.Net.SetFilter(func(from, to shard.StoreID, _ []byte) bool { return from == to })
	defer f.Net.SetFilter(nil)
	done := make(chan error, 1)
	go func() { done <- db.Put(ctx, []byte("k"), []byte("2")) }()
	time.Sleep(50 * time.Millisecond)
	must(t, db.Close())
	select {
	case err := <-done:
		if wantErr(t, err, client.ErrAmbiguous); errors.Is(err, client.ErrClosed) {
			t.Fatalf("ErrClosed would say that nothing happened: %v", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("the write outlived its client")
	}
	wantErr(t, db.Put(ctx, []byte("k"), nil), client.ErrClosed)
}

// TestOpenRefuses: addresses that lead nowhere, and contexts that end.
func TestOpenRefuses(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	_, err := client.Open(ctx, "127.0.0.1:1")
	wantErr(t, err, client.ErrUnavailable)
	_, err = client.Open(context.Background(), " ,")
	wantErr(t, err, client.ErrInvalid)
	_, err = client.Open(context.Background(), "127.0.0.1:1", client.WithRetryBudget(100*time.Millisecond))
	wantErr(t, err, client.ErrUnavailable)
}
