package shard

// Merge joins two neighbours into one: left's id, replicas and ConfVer, both ranges. Its Version is one more than the
// larger of the two, so that it is newer than either for every key. Both must lie on the same stores in the same roles,
// outside a joint configuration. An error is an *InvalidError, the same on every replica.
func Merge(left, right *Descriptor) (*Descriptor, error) {
	switch {
	case left.ID == right.ID || left.ID == MetaID || right.ID == MetaID:
		return nil, invalidf("merge %s and %s: these shards cannot be merged", left.ID, right.ID)
	case len(left.Range.End) == 0 || left.Range.End.Compare(right.Range.Start) != 0:
		return nil, invalidf("merge %s%s and %s%s: not neighbours", left.ID, left.Range, right.ID, right.Range)
	case left.Joint() || right.Joint():
		return nil, invalidf("merge %s and %s: one is in a joint configuration; leave it first", left.ID, right.ID)
	case len(left.Replicas) != len(right.Replicas):
		return nil, invalidf("merge %s and %s: %d and %d replicas; bring them to the same stores first",
			left.ID, right.ID, len(left.Replicas), len(right.Replicas))
	}
	for _, l := range left.Replicas {
		if r, ok := right.ReplicaOn(l.Store); !ok || r.Role != l.Role {
			return nil, invalidf("merge %s and %s: not both %s on %s; bring them to the same stores first",
				left.ID, right.ID, l.Role, l.Store)
		}
	}
	return &Descriptor{
		ID:       left.ID,
		Range:    Range{Start: left.Range.Start, End: right.Range.End},
		Epoch:    Epoch{ConfVer: left.Epoch.ConfVer, Version: max(left.Epoch.Version, right.Epoch.Version) + 1},
		Replicas: left.Replicas,
	}, nil
}
