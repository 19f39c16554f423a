package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
)

// DefaultSplitBytes is the size from which on shards are split unless the configuration says otherwise: moved in a second
// or two, and large enough that a terabyte is ten thousand of them.
const DefaultSplitBytes = 96 << 20

// DefaultSplitWork is how much work a shard may have before it is split by load unless the configuration says otherwise: a
// part of what one store does that is worth moving, and far above what costs more in heartbeats than it spreads.
const DefaultSplitWork = 5000

// splitTimeout bounds one split: ids from placement, and a log entry.
const splitTimeout = 10 * time.Second

// Split cuts a shard that is led on this node at keys, or, without any, into parts of about equal size, and returns the
// parts once that is applied here. The epoch makes it harmless to ask again: what was done is refused as stale.
//
// The ids come from placement, which does nothing else about a split: it hears of the parts by the heartbeats.
func (n *Node) Split(ctx context.Context, id shard.ID, epoch shard.Epoch, at []shard.Key, into int) ([]*shard.Descriptor, error) {
	s := n.leading(id)
	if s == nil {
		return nil, &shard.NotFoundError{Shard: id}
	}
	d, err := s.CheckEpoch(id, epoch)
	if err != nil {
		return nil, err
	}
	if s.Leading(id) == 0 && s.Leader(id).Store != s.ID() {
		return nil, &shard.NotLeaderError{Shard: id, Leader: s.Leader(id)}
	}
	if len(at) == 0 {
		if at, d, err = s.SplitPoints(id, into); err != nil {
			return nil, err
		}
	}
	return n.split(ctx, s, d, at)
}

// split asks for ids and proposes.
func (n *Node) split(ctx context.Context, s *raftstore.Store, d *shard.Descriptor, at []shard.Key) ([]*shard.Descriptor, error) {
	each := 1 + len(d.Replicas)
	if len(at) > raftstore.MaxSplitKeys {
		return nil, &shard.InvalidError{Why: fmt.Sprintf("split %s at %d keys, at most %d at once", d.ID, len(at), raftstore.MaxSplitKeys)}
	}
	var first uint64
	err := n.dir.ask(ctx, func(ctx context.Context, p rpc.Placement) (err error) {
		first, err = p.AllocIDs(ctx, len(at)*each)
		return err
	})
	if err != nil {
		return nil, &shard.ServerBusyError{Store: s.ID(), Why: "placement gives no ids for the parts: " + err.Error(), Wait: agentPoll}
	}
	ids := make([]shard.SplitID, len(at))
	for i := range ids {
		next := first + uint64(i*each)
		ids[i].Shard = shard.ID(next)
		for j := range d.Replicas {
			ids[i].Replicas = append(ids[i].Replicas, shard.ReplicaID(next+1+uint64(j)))
		}
	}
	return s.Split(ctx, d.ID, d.Epoch, at, ids)
}

// splitGrown splits the shards that have outgrown their size or have too much to do, one after the other. What does not
// work out is found again by the store.
func (a *storeAgent) splitGrown() {
	wishes := a.store.TakeSplits()
	if len(wishes) == 0 {
		return
	}
	n, s := a.n, a.store
	n.goTask("split", func() {
		for _, w := range wishes {
			d, err := s.Descriptor(w.Shard)
			if err != nil || d.Epoch.Version != w.Epoch.Version {
				continue
			}
			ctx, cancel := n.env.WithTimeout(n.ctx, splitTimeout)
			err = n.splitPatiently(ctx, s, d, w.Keys)
			cancel()
			what := "shard has outgrown its size"
			if w.Work > 0 {
				what = "shard is busy"
			}
			n.log.Info(what, "shard", w.Shard, "bytes", w.Bytes, "work", int64(w.Work), "at", w.Keys, "err", err)
		}
	})
}

// splitPatiently is split, again while the shard is busy with another change: a joint configuration passes.
func (n *Node) splitPatiently(ctx context.Context, s *raftstore.Store, d *shard.Descriptor, at []shard.Key) error {
	for {
		if now, err := s.Descriptor(d.ID); err != nil || now.Epoch.Version != d.Epoch.Version {
			return err // another range: the keys were chosen for that one
		} else {
			d = now
		}
		_, err := n.split(ctx, s, d, at)
		var busy *shard.ServerBusyError
		var stale *shard.StaleEpochError
		if !errors.As(err, &busy) && !errors.As(err, &stale) || n.env.Sleep(ctx, max(agentPoll, busyWait(busy))) != nil {
			return err
		}
	}
}

func busyWait(e *shard.ServerBusyError) time.Duration {
	if e == nil {
		return 0
	}
	return e.Wait
}
