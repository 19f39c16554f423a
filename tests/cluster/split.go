package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"go.etcd.io/raft/v3/raftpb"
)

// SplitIDs names n new shards beside a shard, with ids that were never used in this cluster.
func (c *Cluster) SplitIDs(d *shard.Descriptor, n int) []shard.SplitID {
	out := make([]shard.SplitID, n)
	for i := range out {
		id := 1000 + c.ids.Add(1)*20
		out[i].Shard = shard.ID(id)
		for j := range d.Replicas {
			out[i].Replicas = append(out[i].Replicas, shard.ReplicaID(id+uint64(j)+1))
		}
	}
	return out
}

// TrySplit proposes one split to a shard's leader, if there is one. Keys are users'.
func (c *Cluster) TrySplit(ctx context.Context, id shard.ID, keys ...string) ([]*shard.Descriptor, error) {
	at := make([]shard.Key, len(keys))
	for i, k := range keys {
		at[i] = shard.RawKey([]byte(k))
	}
	return c.trySplit(ctx, id, at)
}

func (c *Cluster) trySplit(ctx context.Context, id shard.ID, at []shard.Key) ([]*shard.Descriptor, error) {
	err := error(&shard.NotLeaderError{Shard: id})
	for i := 1; i <= len(c.Stores); i++ {
		s, _ := c.store(shard.StoreID(i))
		if s == nil || s.Leader(id).Store != s.ID() {
			continue
		}
		var d *shard.Descriptor
		if d, err = s.Descriptor(id); err != nil {
			continue
		}
		var out []*shard.Descriptor
		if out, err = s.Split(ctx, id, d.Epoch, at, c.SplitIDs(d, len(at))); err == nil {
			return out, nil
		}
	}
	return nil, err
}

// Split splits a shard, whoever leads it.
func (c *Cluster) Split(id shard.ID, keys ...string) []*shard.Descriptor {
	c.T.Helper()
	var out []*shard.Descriptor
	c.WaitFor(fmt.Sprintf("a split of %s", id), func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var err error
		out, err = c.TrySplit(ctx, id, keys...)
		var invalid *shard.InvalidError
		if errors.As(err, &invalid) {
			c.T.Fatal(err)
		}
		return err == nil
	})
	return out
}

// Edited is a transport whose raft messages can be lost one by one; a frame holds those of many shards.
type Edited struct {
	raftstore.Transport
	Keep func(to shard.StoreID, id shard.ID, m *raftpb.Message) bool
}

// Send implements raftstore.Transport.
func (e *Edited) Send(to shard.StoreID, urgent bool, frame []byte) {
	const raft = 1 // the kind of a frame is its last byte
	if frame[len(frame)-1] != raft {
		e.Transport.Send(to, urgent, frame)
		return
	}
	var out []byte
	_ = group.DecodeFrame(frame[:len(frame)-1], func(id shard.ID, m *raftpb.Message) error {
		if e.Keep(to, id, m) {
			out = group.AppendMessage(out, id, m)
		}
		return nil
	})
	if out != nil {
		e.Transport.Send(to, urgent, append(out, raft))
	}
}
