package e2e

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// TestRestartSpeed measures how long a store with many shards and much data takes from the start of its process until it
// answers for all of them again, after an orderly stop and after kill -9. `make bench-restart` has 1,000 shards and 2 GiB.
func TestRestartSpeed(t *testing.T) {
	t.Parallel()
	shards, mebi := int(setting(t, "SKERRY_RESTART", 10)), int(setting(t, "SKERRY_RESTART_MIB", 4))
	c := New(t, Options{SplitKeys: splitKeys(shards), SplitBytes: -1})
	fillShard(t, c, mebi)
	admin := c.DB.Admin()
	if err := admin.PauseScheduling(context.Background(), time.Hour); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"an orderly stop", "kill -9"} {
		victim := c.Nodes[1]
		if how == "kill -9" {
			victim.Kill()
		} else {
			victim.Stop()
		}
		time.Sleep(3 * time.Second) // the others lead its shards
		begun := time.Now()
		victim.Start()
		answers := time.Since(begun)
		serves := serving(t, c, victim, begun)
		t.Logf("%d shards, %d MiB, after %s: the process answers after %s, reads of all its shards after %s",
			shards, mebi, how, answers.Round(time.Millisecond), serves.Round(time.Millisecond))
	}
	sameOnAllReplicas(t, c)
}

// serving waits until a node itself answers a read of each shard, which its replica can only once it has caught up with the
// leader, and returns how long that is after begun.
func serving(t *testing.T, c *Cluster, p *Proc, begun time.Time) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	conns := rpc.NewConns(nil)
	defer conns.Close()
	calls := rpc.NewCalls(env.Real{}, conns)
	defer calls.Close()
	all, stores, err := (&growth{t: t, c: c}).look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(stores, func(s client.StoreInfo) bool { return s.Addr == p.Addr() })
	// Several at once: one after the other would measure how long a thousand questions take.
	var wg sync.WaitGroup
	next := make(chan *call.Request)
	for range 16 {
		wg.Go(func() {
			for req := range next {
				for rep := calls.Call(ctx, p.Addr(), stores[at].ID, req); rep.Err != nil; rep = calls.Call(ctx, p.Addr(), stores[at].ID, req) {
					if ctx.Err() != nil {
						t.Errorf("%s does not answer: %v", req.Shard, rep.Err)
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	for _, s := range all {
		q := &raw.Query{Kind: raw.Get, Keys: []shard.Key{append(s.Range.Start.Clone(), 'x')}}
		if len(s.Range.Start) == 0 {
			q.Keys[0] = shard.RawKey([]byte("a"))
		}
		next <- &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Follower: true, Timeout: time.Second, Body: q.Append(nil)}
	}
	close(next)
	wg.Wait()
	return time.Since(begun)
}
