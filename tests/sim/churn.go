package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// churn is what an administrator and placement do all day, faults or not: leaders are handed over, shards are split and
// moved, stores are drained. Its pace is a knob of its own, so that a fault meets one of them half done in most worlds.
var churn = []nemesis{
	{"transfer", (*cluster).transfer},
	{"split", (*cluster).split},
	{"move", func(c *cluster) { c.administer("move", c.auditor.move) }},
	{"place-leader", func(c *cluster) { c.administer("place leader", c.auditor.placeLeader) }},
	{"drain", func(c *cluster) { c.administer("drain", c.auditor.drain) }},
	{"scatter", func(c *cluster) { c.administer("scatter", c.auditor.scatter) }},
	{"cancel", func(c *cluster) { c.administer("cancel", c.auditor.cancel) }},
	{"both-lead", func(c *cluster) { c.administer("lead by two", c.auditor.leadByTwo) }},
}

// stir does one of them after the other until the phase is over.
func (c *cluster) stir(until time.Duration) {
	if c.knobs.Churn == 0 {
		return
	}
	c.env.Go("churn", func() {
		for c.w.Now() < until {
			churn[c.w.IntN(len(churn))].do(c)
			_ = c.env.Sleep(context.Background(), c.w.Between(c.knobs.Churn/4, c.knobs.Churn))
		}
	})
}

// administer is one order to placement, by somebody who does not wait long.
func (c *cluster) administer(what string, f func(ctx context.Context) error) {
	a := c.auditor
	a.env.Go(what, func() {
		ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if a.open(ctx) != nil {
			return
		}
		if err := f(ctx); err != nil {
			a.m.Log("%s: %v", what, err)
			return
		}
		c.faults["ordered: "+what]++
	})
}

// anyShard is one of the users' shards, and the stores that are not gone.
func (a *auditor) anyShard(ctx context.Context) (client.ShardInfo, []shard.StoreID, error) {
	shards, err := a.shards(ctx)
	if err != nil {
		return client.ShardInfo{}, nil, err
	}
	stores, err := a.db.Admin().Stores(ctx)
	if err != nil {
		return client.ShardInfo{}, nil, err
	}
	var ids []shard.StoreID
	for _, s := range stores {
		if s.State != "removed" {
			ids = append(ids, s.ID)
		}
	}
	s := shards[a.c.w.IntN(len(shards))]
	if len(ids) == 0 || len(s.Replicas) == 0 {
		return client.ShardInfo{}, nil, fmt.Errorf("%d stores, %s has %d replicas", len(ids), s.ID, len(s.Replicas))
	}
	return s, ids, nil
}

// move wants a replica on another store.
func (a *auditor) move(ctx context.Context) error {
	s, stores, err := a.anyShard(ctx)
	if err != nil {
		return err
	}
	from, to := s.Replicas[a.c.w.IntN(len(s.Replicas))].Store, stores[a.c.w.IntN(len(stores))]
	o, err := a.db.Admin().MoveShard(ctx, s.ID, from, to)
	a.m.Log("move %s from %s to %s: o%d, %v", s.ID, from, to, o.ID, err)
	return err
}

// placeLeader has placement move a leader.
func (a *auditor) placeLeader(ctx context.Context) error {
	s, _, err := a.anyShard(ctx)
	if err != nil {
		return err
	}
	_, err = a.db.Admin().PlaceLeader(ctx, s.ID, s.Replicas[a.c.w.IntN(len(s.Replicas))].Store)
	return err
}

// leadByTwo has placement move a leader, while somebody else does the same by hand.
func (a *auditor) leadByTwo(ctx context.Context) error {
	s, _, err := a.anyShard(ctx)
	if err != nil {
		return err
	}
	to := s.Replicas[a.c.w.IntN(len(s.Replicas))].Store
	a.env.Go("by hand", func() {
		ctx, cancel := a.env.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		_ = a.env.Sleep(ctx, a.c.w.Between(0, time.Second))
		err := a.db.Admin().TransferLeader(ctx, s.ID, to)
		a.m.Log("%s to %s by hand: %v", s.ID, to, err)
	})
	_, err = a.db.Admin().PlaceLeader(ctx, s.ID, to)
	return err
}

// scatter has all shards spread anew.
func (a *auditor) scatter(ctx context.Context) error {
	ops, err := a.db.Admin().ScatterRange(ctx, client.Range{})
	a.m.Log("scatter: %d operators, %v", len(ops), err)
	return err
}

// cancel ends an operator, in the middle of what it does or before it began.
func (a *auditor) cancel(ctx context.Context) error {
	ops, err := a.db.Admin().Operators(ctx, 0, false)
	if err != nil {
		return err
	}
	if len(ops) == 0 {
		return errors.New("there is nothing to cancel")
	}
	o := ops[a.c.w.IntN(len(ops))]
	_, err = a.db.Admin().CancelOperator(ctx, o.ID)
	a.m.Log("cancel o%d (%s of %s, %s): %v", o.ID, o.Kind, o.Shard, o.State, err)
	return err
}

// drain has a store emptied, for a while.
func (a *auditor) drain(ctx context.Context) error {
	if a.c.draining {
		return errors.New("another store is drained")
	}
	_, stores, err := a.anyShard(ctx)
	if err != nil {
		return err
	}
	id := stores[a.c.w.IntN(len(stores))]
	err = a.db.Admin().DrainStore(ctx, id, false)
	a.m.Log("drain %s: %v", id, err)
	if err != nil && !isUnanswered(err) {
		return err
	}
	a.c.draining = true
	d := a.c.w.Scale(time.Second, 8*time.Second)
	a.env.Go("undrain", func() {
		_ = a.env.Sleep(context.Background(), d)
		a.undrain(id)
	})
	return err
}

// undrain says so until it is heard: whoever drained may have been heard or not.
func (a *auditor) undrain(id shard.StoreID) {
	for {
		ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
		err := a.db.Admin().UndrainStore(ctx, id)
		cancel()
		a.m.Log("undrain %s: %v", id, err)
		if err == nil || !isUnanswered(err) {
			a.c.draining = false
			return
		}
		_ = a.env.Sleep(context.Background(), 200*time.Millisecond)
	}
}
