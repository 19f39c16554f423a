package sim

import (
	"context"
	"errors"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// replace declares a store gone for good while it lives, as an administrator does with a machine that he gives back. Its
// replicas are made anew elsewhere; its process ends when it hears of it, is started again a few times by somebody who
// does not know, and at last begins as a new store with an empty directory.
//
// One store is replaced at a time: to remove a second one before the first one's replicas are made anew is to lose data.
func (c *cluster) replace() {
	s := c.anyServer()
	if c.replacing || c.reseating || !s.up() || s.node == nil || c.knobs.replicas() < 2 {
		return // a store that holds the only replicas is never removed, also by somebody who was not answered
	}
	c.replaceBy("replace", s, c.auditor.replace)
}

// replaceBy runs what ends with another store in the place of s. Its caller has seen that no store is being replaced.
func (c *cluster) replaceBy(what string, s *server, f func(*server) error) {
	c.replacing = true
	c.auditor.env.Go(what, func() {
		if err := f(s); err != nil {
			c.main.Log("%s %s: %v", what, s, err)
		}
		c.replacing = false
	})
}

// spareStore is the store of a server, 0 if it has none that answers, and an error if not every shard has all its
// replicas: then none can be spared.
func (a *auditor) spareStore(ctx context.Context, s *server) (shard.StoreID, error) {
	if err := a.open(ctx); err != nil {
		return 0, err
	}
	// Nothing half done may be left of the one before.
	if err := a.unsettled(ctx); err != nil {
		return 0, err
	}
	info, err := a.conn.Node(ctx, s.addr)
	if err != nil || len(info.Stores) == 0 {
		return 0, err
	}
	return info.Stores[0], nil
}

func (a *auditor) replace(s *server) error {
	ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	old, err := a.spareStore(ctx, s)
	if err != nil || old == 0 {
		return err
	}
	a.m.Log("remove %s, which is %s", old, s)
	err = a.db.Admin().RemoveStore(ctx, old)
	if err != nil && !errors.Is(err, client.ErrAmbiguous) && !errors.Is(err, client.ErrUnavailable) {
		return err
	}
	a.c.faults["store-removed"]++
	s.removed = a.c.w.Chance(0.7) // else it comes back with the old directory once more
	a.awaitReplaced(old, s, s.disk.wipes)
	return nil
}

// awaitReplaced returns when no shard has a replica on a store any more. The directory of the store is wiped once, when
// its process is found to have ended: wipes is how often that has happened before, and whoever begins there afterwards is
// another store.
func (a *auditor) awaitReplaced(old shard.StoreID, s *server, wipes int) {
	for refused := 0; ; {
		_ = a.env.Sleep(context.Background(), 500*time.Millisecond)
		ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
		err := a.unsettled(ctx)
		var addrs map[shard.StoreID]string
		if err == nil {
			addrs, err = a.addrOf(ctx)
		}
		cancel()
		if err == nil && addrs[old] == "" {
			a.m.Log("%s is replaced", old)
			return
		}
		if err == nil && addrs[old] != "" {
			// Placement did not answer, or did not hear: it may still do so. Whoever began this says it again.
			ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
			err := a.db.Admin().RemoveStore(ctx, old)
			cancel()
			a.m.Log("remove %s again: %v", old, err)
			if errors.Is(err, client.ErrInvalid) {
				refused++
			}
			if refused > 30 { // long after the first attempt could still be on its way
				a.m.Log("%s is not removed", old)
				s.removed = false
				return
			}
		}
		if s.disk.wipes == wipes && (s.broken != nil || !s.up()) {
			s.removed = true // by now its administrator knows
		}
	}
}

func (a *auditor) open(ctx context.Context) error {
	if a.db != nil {
		return nil
	}
	db, err := client.Open(ctx, a.c.addrs(), client.WithWorld(a.env, a.conn), client.WithRetryBudget(10*time.Second))
	if err == nil {
		a.db = db
	}
	return err
}
