package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// sameOnAllReplicas compares the checksums of all replicas of each shard, and the index at which each has them. Nobody
// writes any more; shards and leaderships may still move.
func sameOnAllReplicas(t testing.TB, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conns := rpc.NewConns(nil)
	defer conns.Close()
	calls := rpc.NewCalls(env.Real{}, conns)
	defer calls.Close()
	shards := 0
	for s, err := range c.DB.Admin().Shards(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		shards++
		for {
			err := sameShard(ctx, c, calls, &s)
			if err == nil {
				break
			}
			var stale *shard.StaleEpochError
			var gone *shard.NotFoundError
			var unled *shard.NotLeaderError // a follower asks its leader, and has none while there is an election
			if ctx.Err() != nil || !errors.As(err, &stale) && !errors.As(err, &gone) && !errors.As(err, &unled) {
				t.Fatalf("%s: %v", s.ID, err)
			}
			if unled != nil && s.HasUsers {
				if _, err := c.DB.Checksum(ctx, s.Users); err != nil { // answered once there is a leader
					t.Fatalf("%s: %v", s.ID, err)
				}
			}
			if s, err = c.DB.Admin().ShardByID(ctx, s.ID); err != nil { // it was moved meanwhile
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d shards: equal checksums at equal indexes on all replicas", shards)
}

// sameShard is sameOnAllReplicas for one shard.
func sameShard(ctx context.Context, c *Cluster, calls *rpc.Calls, s *client.ShardInfo) error {
	stores, err := c.DB.Admin().Stores(ctx)
	if err != nil {
		return err
	}
	addrs := make(map[shard.StoreID]string)
	for i := range stores {
		addrs[stores[i].ID] = stores[i].Addr
	}
	q := &raw.Query{Kind: raw.Checksum, Range: s.Range.Intersect(shard.ModeRange(shard.ModeRaw))}
	var first raw.Sum
	for i, r := range s.Replicas {
		rep := calls.Call(ctx, addrs[r.Store], r.Store, &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Follower: true, Timeout: 20 * time.Second, Body: q.Append(nil)})
		if rep.Err != nil {
			return fmt.Errorf("checksum on %s: %w", r.Store, rep.Err)
		}
		a, err := raw.DecodeAnswer(rep.Body)
		if err != nil {
			return err
		}
		if i == 0 {
			first = a.Sum
		}
		if a.Sum != first {
			return fmt.Errorf("replicas differ: %+v on %s, %+v on %s", first, s.Replicas[0].Store, a.Sum, r.Store)
		}
	}
	for { // the applied indexes become equal, and the sums stand for them
		infos, err := c.DB.Admin().Replicas(ctx, s.ID)
		if err != nil {
			return err
		}
		equal := true
		for i := range infos {
			equal = equal && infos[i].Err == nil && infos[i].Applied == infos[0].Applied
		}
		if equal {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("replicas do not come to one index: %+v", infos)
		}
	}
}
