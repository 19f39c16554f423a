package node_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
	"github.com/skerrydb/skerry/shard"
)

// busyCluster is three stores with one shard, which look at rates five times as often as in production and split from a
// work that a test can make.
func busyCluster(t *testing.T) (context.Context, *client.DB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	p, err := node.StartPlayground(ctx, node.PlaygroundConfig{Stores: 3, Listen: "127.0.0.1:0", Memory: true, Logger: log,
		Store: node.StoreConfig{Tick: 20 * time.Millisecond, SplitWork: 400}, Placement: node.PlacementConfig{Tick: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	db, err := client.Open(ctx, p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return ctx, db
}

// load reads, and now and then writes, keys that pick chooses, until it is stopped: some two thousand a second.
func load(ctx context.Context, t *testing.T, db *client.DB, pick func(r *rand.Rand) string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			for n := 0; ctx.Err() == nil; n++ {
				var err error
				if key := []byte(pick(r)); n%20 == 0 {
					err = db.Put(ctx, key, []byte("v"))
				} else if _, err = db.Get(ctx, key); errors.Is(err, client.ErrNotFound) {
					err = nil
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("%v", err)
					return
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// TestHotRangeSpreads: a hundredth of a shard's keys is hot. It becomes several shards, whose bounds lie in it, led on
// several stores, and nobody is refused meanwhile.
func TestHotRangeSpreads(t *testing.T) {
	ctx, db := busyCluster(t)
	for i := range 100 {
		if err := db.Put(ctx, fmt.Appendf(nil, "key/%02d", i), []byte("cold")); err != nil {
			t.Fatal(err)
		}
	}
	stop := load(ctx, t, db, func(r *rand.Rand) string { return fmt.Sprintf("key/42/%02d", r.IntN(64)) })
	defer stop()
	for {
		hot, leaders := 0, make(map[shard.StoreID]bool)
		reads := float32(0)
		for s, err := range db.Admin().Shards(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if start := string(s.Users.Start); start != "" && !strings.HasPrefix(start, "key/42/") {
				t.Fatalf("a shard begins at %q", start)
			}
			reads += s.Reads
			if s.Reads > 50 {
				hot++
				leaders[s.Leader.Store] = true
			}
		}
		if hot >= 3 && len(leaders) >= 2 && reads > 500 {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%d hot shards on %v, %.0f reads/s", hot, leaders, reads)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// TestHotKeyStays: one key cannot be parted; its shard stays whole.
func TestHotKeyStays(t *testing.T) {
	ctx, db := busyCluster(t)
	for i := range 100 {
		if err := db.Put(ctx, fmt.Appendf(nil, "key/%02d", i), []byte("cold")); err != nil {
			t.Fatal(err)
		}
	}
	stop := load(ctx, t, db, func(*rand.Rand) string { return "key/42" })
	defer stop()
	for until := time.Now().Add(8 * time.Second); time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		n, busy := 0, false
		for s, err := range db.Admin().Shards(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			n, busy = n+1, busy || s.Reads > 400
		}
		if n != 1 {
			t.Fatalf("%d shards", n)
		}
		if busy {
			until = until.Add(-50 * time.Millisecond) // it was: half the time is enough to see that nothing comes of it
		}
	}
	for s, err := range db.Admin().Shards(ctx) {
		if err != nil || s.Reads < 400 {
			t.Fatalf("it was not busy: %+v, %v", s, err)
		}
	}
}
