package node

import (
	"context"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/raftstore"
)

// leaveNews is how often a node that leaves says how far it is.
const leaveNews = time.Second

// Leave prepares for Close: the node says that it is not ready any more, its stores give their leaderships to others, then
// its placement member does, and what they were asked before is answered. Without it the shards that are led here would
// have no leader for an election timeout. It returns an error if ctx ends before that is done; Close is right in any case.
// What the node is elected to between Leave and Close, when all of them stood still say, it gives away as well.
func (n *Node) Leave(ctx context.Context) error {
	if n.leaving.Swap(true) {
		return nil
	}
	begun := n.env.Now()
	for _, s := range n.allStores() { // users' shards first: placement is told meanwhile, by whoever leads it
		if err := n.leaveStore(ctx, s); err != nil {
			return err
		}
		n.stayAway(s)
	}
	n.log.Info("leaderships are given away, requests are answered", "took", n.env.Now().Sub(begun).Round(time.Millisecond))
	return nil
}

// stayAwayInterval lies between two looks at what a store leads that has left.
const stayAwayInterval = 200 * time.Millisecond

// stayAway has a store that has left give away what it leads again, until the node is closed.
func (n *Node) stayAway(s *raftstore.Store) {
	n.open.RLock()
	defer n.open.RUnlock()
	if n.closed {
		return
	}
	n.goTask("stay-away", func() {
		for n.env.Sleep(n.ctx, stayAwayInterval) == nil {
			if s.Leave(n.ctx, func(raftstore.Leaving) {}) != nil {
				return
			}
		}
	})
}

func (n *Node) leaveStore(ctx context.Context, s *raftstore.Store) error {
	var last raftstore.Leaving
	var said int64
	err := s.Leave(ctx, func(l raftstore.Leaving) {
		last = l
		if now := int64(n.env.Now()); l.Led > 0 && (said == 0 || now-said >= int64(leaveNews)) {
			said = now
			n.log.Info("gives its leaderships away", "store", s.ID(), "left", l.Led)
		}
	})
	if err != nil {
		return fmt.Errorf("%s still leads %d shards that others could lead: %w", s.ID(), last.Led, err)
	}
	if last.Stuck > 0 {
		n.log.Info("shards that nobody else can lead have no leader until this node or another store is back", "store", s.ID(), "shards", last.Stuck)
	}
	return nil
}
