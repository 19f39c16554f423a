package shard

import (
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
)

// SplitID names one shard that a split makes.
type SplitID struct {
	Shard ID
	// Replicas are the new replica ids, in the order of the split descriptor's Replicas: the i-th copy of the new shard
	// lies on the store of the i-th copy of the old one.
	Replicas []ReplicaID
}

// Split cuts d at the given keys (ascending, strictly inside its range) and returns len(at)+1 descriptors in key order.
// The first keeps d's id and replicas, the others are named by ids. All inherit ConfVer and the roles, and the Version
// of all grows by the number of new shards.
//
// Along any one key the Version therefore only grows, whichever shards the key passes through; that is what lets a Map
// tell the newer of two overlapping shards. (That it grows by the number and not by one follows TiKV, where a split in
// n pieces and n-1 splits in two give the same Versions.)
//
// A shard inside a joint configuration is not split: its halves would each have to leave it on their own. An error is
// an *InvalidError, the same on every replica.
func (d *Descriptor) Split(at []Key, ids []SplitID) ([]*Descriptor, error) {
	if err := d.checkSplit(at, ids); err != nil {
		return nil, err
	}
	epoch := d.Epoch
	if !bug.SplitKeepsEpoch.On() {
		epoch.Version += uint64(len(at))
	}
	out := make([]*Descriptor, 0, len(at)+1)
	left := &Descriptor{ID: d.ID, Epoch: epoch, Replicas: d.Replicas,
		Range: Range{Start: d.Range.Start, End: at[0].Clone()}}
	out = append(out, left)
	for i, id := range ids {
		r := Range{Start: at[i].Clone(), End: d.Range.End}
		if i+1 < len(at) {
			r.End = at[i+1].Clone()
		}
		out = append(out, &Descriptor{ID: id.Shard, Range: r, Epoch: epoch, Replicas: d.renamed(id.Replicas)})
	}
	return out, nil
}

// renamed copies d's replicas with new ids, sorted by them.
func (d *Descriptor) renamed(ids []ReplicaID) []Replica {
	out := slices.Clone(d.Replicas)
	for i := range out {
		out[i].ID = ids[i]
	}
	sortReplicas(out)
	return out
}

func (d *Descriptor) checkSplit(at []Key, ids []SplitID) error {
	switch {
	case d.ID == MetaID:
		return invalidf("split %s: the shard of placement's metadata is never split", d.ID)
	case d.Joint():
		return invalidf("split %s: it is in a joint configuration; leave it first", d.ID)
	case len(at) == 0 || len(at) != len(ids):
		return invalidf("split %s: %d keys for %d new shards; give one key for each, at least one", d.ID, len(at), len(ids))
	}
	prev := d.Range.Start
	for _, k := range at {
		if k.Compare(prev) <= 0 || !d.Range.Contains(k) {
			return invalidf("split %s: key %s is not inside %s after %s", d.ID, k, d.Range, prev)
		}
		prev = k
	}
	return d.checkSplitIDs(ids)
}

// checkSplitIDs refuses ids that are zero, given twice, or of d itself.
func (d *Descriptor) checkSplitIDs(ids []SplitID) error {
	var shards []ID
	var replicas []ReplicaID
	for _, r := range d.Replicas {
		replicas = append(replicas, r.ID)
	}
	shards = append(shards, d.ID)
	for _, id := range ids {
		if id.Shard == 0 || slices.Contains(shards, id.Shard) {
			return invalidf("split %s: shard id %s is zero or taken; ask for fresh ids", d.ID, id.Shard)
		}
		shards = append(shards, id.Shard)
		if len(id.Replicas) != len(d.Replicas) {
			return invalidf("split %s: %d replica ids for %s, need %d", d.ID, len(id.Replicas), id.Shard, len(d.Replicas))
		}
		for _, r := range id.Replicas {
			if r == 0 || slices.Contains(replicas, r) {
				return invalidf("split %s: replica id %s is zero or taken; ask for fresh ids", d.ID, r)
			}
			replicas = append(replicas, r)
		}
	}
	return nil
}

// Child is the applied state with which a shard is born that was split from a shard with applied state a. Its log begins
// after the given index and term. It inherits the shard time and the safe points; every TTL of the parent counts as
// written at its birth. Of the parent's locks it has those in its range, locks of them.
func (a Applied) Child(index, term, locks uint64) Applied {
	c := Applied{Index: index, Term: term, TruncIndex: index, TruncTerm: term, Time: a.Time, Locks: locks,
		SafePoint: a.SafePoint, Collected: a.Collected}
	if a.Expiring != 0 {
		c.Expiring = index
	}
	return c
}

func sortReplicas(rs []Replica) {
	slices.SortFunc(rs, func(a, b Replica) int {
		switch {
		case a.ID < b.ID:
			return -1
		case a.ID > b.ID:
			return 1
		}
		return 0
	})
}

func invalidf(format string, args ...any) error {
	return &InvalidError{Why: fmt.Sprintf(format, args...)}
}
