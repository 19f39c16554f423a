package sim

import (
	"context"
	"errors"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
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

// collect moves the safe point on, now and then, to a moment of the last seconds, and has versions below the one before
// collected, once no lock below it is left.
func (c *cluster) collect(until time.Duration) {
	if c.knobs.Collect == 0 || c.knobs.Txns == 0 {
		return
	}
	c.env.Go("collect", func() {
		for c.w.Now() < until {
			_ = c.env.Sleep(context.Background(), c.w.Between(c.knobs.Collect/4, c.knobs.Collect))
			c.administer("collect", c.auditor.collect)
		}
	})
}

func (a *auditor) collect(ctx context.Context) error {
	now, err := a.db.Timestamp(ctx)
	if err != nil {
		return err
	}
	safe := mvcc.AtMillis(now.Millis()-shard.Millis(a.c.w.Between(200*time.Millisecond, 4*time.Second).Milliseconds())) + 1
	if err := a.moveSafe(ctx, beat.SafePoints{Safe: uint64(safe)}); err != nil {
		return err
	}
	clean, err := a.clean(ctx, safe)
	a.m.Log("safe point %d: no locks below it %v, %v", safe, clean, err)
	if err != nil || !clean {
		return err
	}
	return a.moveSafe(ctx, beat.SafePoints{Safe: uint64(safe), Collect: uint64(safe)})
}

// moveSafe tells every member: who leads does it.
func (a *auditor) moveSafe(ctx context.Context, p beat.SafePoints) (err error) {
	for _, addr := range a.c.joinAddrs() {
		one, cancel := a.env.WithTimeout(ctx, time.Second)
		_, err = a.conn.Administer(one, addr, &beat.Order{SafePoints: &p})
		cancel()
		if err == nil {
			return nil
		}
	}
	return err
}

// clean has every shard take up the safe point, and reports whether no lock below it is left in any. What stands is read,
// which finishes it.
func (a *auditor) clean(ctx context.Context, safe mvcc.Timestamp) (bool, error) {
	shards, err := a.shards(ctx)
	if err != nil {
		return false, err
	}
	addrs, err := a.addrOf(ctx)
	if err != nil {
		return false, err
	}
	clean := true
	for i := range shards {
		s := &shards[i]
		part := s.Range.Intersect(shard.ModeRange(shard.ModeTxn))
		if part.Empty() {
			continue
		}
		gc := &call.Request{Kind: call.Write, Shard: s.ID, Epoch: s.Epoch, Timeout: time.Second, Body: (&mvcc.GC{SafePoint: safe}).Append(nil)}
		if rep := a.conn.Call(ctx, addrs[s.Leader.Store], s.Leader.Store, gc); rep.Err != nil {
			return false, rep.Err
		}
		ans, err := a.ask(ctx, addrs[s.Leader.Store], s.Leader.Store, s, false, &mvcc.Query{Kind: mvcc.ScanLocks, TS: safe, Range: part})
		if err != nil {
			return false, err
		}
		clean = clean && len(ans.Locks) == 0 && (!ans.More || len(ans.Next) == 0 || part.CompareEnd(ans.Next) == 0)
		for _, l := range ans.Locks {
			user, _ := mvcc.UserKey(l.Key)
			_ = a.db.View(ctx, func(tx *client.Txn) error { _, err := tx.Get(user); return err })
		}
	}
	return clean, nil
}
