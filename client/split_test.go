package client_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// TestSplitUnderCalls: every kind of call is right while the shards that it spans are split again and again, and
// placement never says a word about it: its table still shows the first three shards.
func TestSplitUnderCalls(t *testing.T) {
	f := newFixture(t)
	db := f.open()
	ctx := context.Background()
	const n = 300
	key := func(i int) []byte { return fmt.Appendf(nil, "%c%03d", 'a'+i%26, i) }
	var kvs []client.KV
	for i := range n {
		kvs = append(kvs, client.KV{Key: key(i), Value: []byte("0")})
	}
	must(t, db.PutMany(ctx, kvs))
	var over atomic.Bool
	var wg sync.WaitGroup
	work := func(f func(i int) error) {
		wg.Go(func() {
			for i := 0; !over.Load() || i < 20; i++ {
				if err := f(i); err != nil {
					t.Errorf("call %d: %v", i, err)
					return
				}
			}
		})
	}
	scan := func(seq func(func(client.KV, error) bool)) (got int, err error) {
		for kv, err := range seq {
			if err != nil {
				return got, err
			}
			if len(kv.Key) == 4 { // one of kvs
				got++
			}
		}
		return got, nil
	}
	must(t, db.Put(ctx, []byte("m-count"), []byte("0")))
	added := 0
	work(func(int) error { // a counter that loses and doubles no increment
		err := db.CompareAndSwap(ctx, []byte("m-count"), fmt.Append(nil, added), fmt.Append(nil, added+1))
		added++
		return err
	})
	work(func(i int) error { return db.PutMany(ctx, kvs) })
	work(func(i int) error {
		got, err := scan(db.Scan(ctx, client.Range{}))
		if err == nil && got != n {
			err = fmt.Errorf("a scan found %d of %d keys", got, n)
		}
		return err
	})
	work(func(i int) error {
		got, err := scan(db.ReverseScan(ctx, client.Range{}))
		if err == nil && got != n {
			err = fmt.Errorf("a reverse scan found %d of %d keys", got, n)
		}
		return err
	})
	work(func(i int) error {
		parts, err := db.Partitions(ctx, client.Range{})
		got := 0
		for j := range parts {
			var k int
			if k, err = scan(parts[j].Scan(ctx)); err != nil {
				return err
			}
			got += k
		}
		if err == nil && got != n {
			err = fmt.Errorf("%d partitions hold %d of %d keys", len(parts), got, n)
		}
		return err
	})
	// Each of the first shards keeps its first part, which is split again.
	for _, s := range []struct {
		id  shard.ID
		cut string
	}{{2, "e"}, {3, "n"}, {4, "w"}, {2, "c"}, {3, "m-count"}, {4, "t"}, {2, "b"}, {3, "m"}, {3, "k"}} {
		parts, err := db.Admin().Split(ctx, s.id, []byte(s.cut))
		if must(t, err); len(parts) < 2 {
			t.Fatalf("%s at %s: %+v", s.id, s.cut, parts)
		}
		if again, err := db.Admin().Split(ctx, s.id, []byte(s.cut)); err != nil || len(again) != len(parts) {
			t.Fatalf("the same again: %+v %v", again, err)
		}
	}
	over.Store(true)
	wg.Wait()
	if v, err := db.Get(ctx, []byte("m-count")); err != nil || string(v) != fmt.Sprint(added) {
		t.Fatalf("%s of %d increments, %v", v, added, err)
	}
	parts, err := db.Partitions(ctx, client.Range{})
	if must(t, err); len(parts) != 12 {
		t.Fatalf("%d partitions", len(parts))
	}
	_, err = db.Admin().Split(ctx, 2, []byte("z"))
	wantErr(t, err, client.ErrInvalid)
	_, err = db.Admin().SplitInto(ctx, 2, 1)
	wantErr(t, err, client.ErrInvalid)
	halves, err := db.Admin().SplitInto(ctx, 4, 3)
	if must(t, err); len(halves) < 3 {
		t.Fatalf("%+v", halves)
	}
}
