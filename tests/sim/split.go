package sim

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// maxShards bounds how far splits go.
const maxShards = 30

// split cuts a random shard at the beginning of one or several groups of keys, never inside one: a group's batches demand
// one shard.
func (c *cluster) split() {
	if c.knobs.Txns > 0 && c.w.Chance(0.5) {
		at := placePrefix(c.w.IntN(txnPlaces)) + pick(c.w, "", "bank", "count", "list/001", "pair")
		c.auditor.env.Go("split", func() { c.auditor.splitTxn(mvcc.Key([]byte(at))) })
		return
	}
	slot := c.w.IntN(c.knobs.Groups)
	var at [][]byte
	for range 1 + c.w.IntN(3) {
		group := (c.slots[slot].generation+c.w.IntN(3))*maxSlots + slot
		at = append(at, []byte(groupPrefix(group)))
	}
	c.auditor.env.Go("split", func() { c.auditor.split(at) })
}

func (a *auditor) split(at [][]byte) {
	ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if a.open(ctx) != nil {
		return
	}
	if shards, err := a.shards(ctx); err != nil || len(shards) >= maxShards {
		return
	}
	s, err := a.db.Admin().Shard(ctx, at[0])
	if err != nil {
		return
	}
	var inside [][]byte
	for _, k := range sortedKeys(at) {
		if s.Users.Contains(k) && string(s.Users.Start) != string(k) {
			inside = append(inside, k)
		}
	}
	if len(inside) == 0 {
		return
	}
	parts, err := a.db.Admin().Split(ctx, s.ID, inside...)
	a.m.Log("split %s at %q: %d parts, %v", s.ID, inside, len(parts), err)
	if err == nil {
		a.c.faults["shards-split"]++
	}
}

// splitTxn cuts the shard that holds a key of transactions there, by asking whoever leads it.
func (a *auditor) splitTxn(at shard.Key) {
	ctx, cancel := a.env.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if a.open(ctx) != nil {
		return
	}
	shards, err := a.shards(ctx)
	if err != nil || len(shards) >= maxShards {
		return
	}
	addrs, err := a.addrOf(ctx)
	if err != nil {
		return
	}
	for _, s := range shards {
		if !s.Range.Contains(at) || at.Compare(s.Range.Start) == 0 || addrs[s.Leader.Store] == "" {
			continue
		}
		parts, err := a.conn.Split(ctx, addrs[s.Leader.Store], s.ID, s.Epoch, []shard.Key{at}, 0)
		a.m.Log("split %s at %s: %d parts, %v", s.ID, at, len(parts), err)
		if err == nil {
			a.c.faults["shards-split"]++
		}
	}
}

// sortedKeys are the keys in their order, each once.
func sortedKeys(keys [][]byte) [][]byte {
	out := slices.Clone(keys)
	slices.SortFunc(out, bytes.Compare)
	return slices.CompactFunc(out, bytes.Equal)
}
