package node

import (
	"context"

	"github.com/skerrydb/skerry/rpc"
)

// timestamps is the store's way to placement's timestamps. The store asks for few, and lets those who ask at the same
// time share one question.
type timestamps struct{ n *Node }

// Timestamp implements raftstore.Timestamps.
func (t timestamps) Timestamp(ctx context.Context) (first uint64, err error) {
	err = t.n.dir.ask(ctx, func(ctx context.Context, p rpc.Placement) error {
		first, err = p.Timestamps(ctx, 1)
		return err
	})
	return first, err
}
