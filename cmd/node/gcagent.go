package node

import (
	"context"
	"errors"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/placement"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// gcAgent moves the safe point of transactions by itself. It runs beside every member and does something where the member
// leads: between the two numbers of a safe point locks must be resolved in all shards, which is a client's work, so it has
// one, of this node. The stores could each look after their own shards, but a lock's primary may lie anywhere, and whoever
// moves the second number must know that all have done it. Two leaders at once, of which one does not know yet that it is
// none, do no harm: both numbers only go forward, and each step may be done twice.
type gcAgent struct {
	n    *Node
	db   *client.DB // nil: not needed yet
	last time.Time  // of the last collection that worked
}

const (
	// gcLook is how often it looks whether something is due.
	gcLook = 2 * time.Second
	// The safe point moves twice while a version is kept, within these bounds. It wakes all shards with transactional keys,
	// which wake every 5 minutes in any case.
	gcShare  = 2
	gcLeast  = time.Second
	gcMost   = 5 * time.Minute
	gcBudget = 5 * time.Minute // of one collection
)

// run looks, until the node closes.
func (g *gcAgent) run(server *placement.Server) {
	defer g.close()
	for g.n.env.Sleep(g.n.ctx, gcLook) == nil {
		out, err := server.Administer(g.n.ctx, &beat.Order{GC: &beat.GCOrder{}})
		if err != nil || out.GC == nil || out.GC.Paused {
			if err != nil {
				g.close() // another member leads: its node does it
			}
			continue
		}
		keep := time.Duration(out.GC.KeepMillis) * time.Millisecond
		if g.n.env.Wall().Sub(g.last) < min(max(keep/gcShare, gcLeast), gcMost) {
			continue
		}
		switch err := g.collect(keep); {
		case err == nil:
			g.last = g.n.env.Wall()
		case g.n.ctx.Err() == nil:
			g.n.log.Warn("old versions of transactional keys are kept", "err", err)
		}
	}
}

func (g *gcAgent) collect(keep time.Duration) error {
	ctx, cancel := g.n.env.WithTimeout(g.n.ctx, gcBudget)
	defer cancel()
	if g.db == nil {
		opts := []client.Option{client.WithLogger(g.n.log)}
		if t := g.n.cfg.TLS; t != nil {
			cfg, err := t.Client()
			if err != nil {
				return err
			}
			opts = append(opts, client.WithTLS(cfg))
		}
		db, err := client.Open(ctx, g.n.Addr(), opts...)
		if err != nil {
			return err
		}
		g.db = db
	}
	_, err := g.db.Admin().CollectGarbage(ctx, keep)
	if errors.Is(err, shard.ErrClosed) || errors.Is(err, context.Canceled) {
		g.close()
	}
	return err
}

func (g *gcAgent) close() {
	if g.db != nil {
		_ = g.db.Close()
		g.db = nil
	}
}
