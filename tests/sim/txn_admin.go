package sim

import (
	"context"
	"errors"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// ask asks one shard's replica on a store something about its transactional keys: as its leader, or as a follower.
func (a *auditor) ask(ctx context.Context, addr string, store shard.StoreID, s *client.ShardInfo, follower bool, q *mvcc.Query) (*mvcc.Answer, error) {
	req := &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Follower: follower, Timeout: 2 * time.Second, Body: q.Append(nil)}
	var last error
	for ctx.Err() == nil {
		one, cancel := a.env.WithTimeout(ctx, 3*time.Second)
		rep := a.conn.Call(one, addr, store, req)
		cancel()
		if last = rep.Err; last == nil {
			return mvcc.DecodeAnswer(rep.Body)
		}
		var stale *shard.StaleEpochError
		var gone *shard.NotFoundError
		if !follower || errors.As(last, &stale) || errors.As(last, &gone) {
			return nil, last
		}
		_ = a.env.Sleep(ctx, 50*time.Millisecond)
	}
	return nil, last
}

// txnSum is the checksum of the transactional keys of a replica.
func (a *auditor) txnSum(ctx context.Context, addr string, store shard.StoreID, s *client.ShardInfo) (mvcc.Sum, error) {
	part := s.Range.Intersect(shard.ModeRange(shard.ModeTxn))
	if part.Empty() {
		return mvcc.Sum{}, nil
	}
	ans, err := a.ask(ctx, addr, store, s, true, &mvcc.Query{Kind: mvcc.Checksum, TS: 2, Range: part})
	if err != nil {
		return mvcc.Sum{}, err
	}
	return ans.Sum, nil
}

// collect has what only reads of some seconds ago could see collected, now and then.
func (c *cluster) collect(until time.Duration) {
	if c.knobs.Collect == 0 || c.knobs.Txns == 0 {
		return
	}
	c.env.Go("collect", func() {
		for c.w.Now() < until {
			_ = c.env.Sleep(context.Background(), c.w.Between(c.knobs.Collect/4, c.knobs.Collect))
			if c.w.Now() < until {
				c.administer("collect", c.auditor.collect)
			}
		}
	})
}

func (a *auditor) collect(ctx context.Context) error {
	a.c.collecting++
	defer func() { a.c.collecting-- }()
	p, err := a.db.Admin().CollectGarbage(ctx, a.c.w.Between(200*time.Millisecond, 4*time.Second))
	a.m.Log("collect: safe point %d, collected up to %d, %v", p.Safe, p.Collect, err)
	return err
}
