package placement

import (
	"context"
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
)

// A member whose first start comes late, when the others have elected already, looks like one that lost its directory.
// The first may begin; the second must not: it has forgotten its votes, and under its old id it could help to elect a
// leader that lacks what it once acknowledged. A record per member tells them apart.
//
// INVARIANT: a late member begins only after its record is put, and the record is put only if absent. A member that
// starts while there is no cluster yet begins without asking; the leader puts its record as soon as it takes part. In
// the moment between, the first of the cluster's life, losing its directory would go unnoticed.

// JoinMember lets a member of the first list begin that never took part.
func (s *Server) JoinMember(ctx context.Context, id shard.StoreID) error {
	if _, err := s.leading(); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.Members(), isMember(id)) {
		return &shard.InvalidError{Why: fmt.Sprintf("there is no member %d in this cluster", uint64(id))}
	}
	if slices.Contains(s.meta.Active(ctx), id) {
		return errLostMember(id)
	}
	put, err := s.putMember(ctx, id)
	if err != nil {
		return err
	}
	if !put {
		return errLostMember(id)
	}
	s.log.Info("member joins late", "member", uint64(id))
	return nil
}

func isMember(id shard.StoreID) func(beat.Member) bool {
	return func(m beat.Member) bool { return m.Store == id }
}

func errLostMember(id shard.StoreID) error {
	return &shard.InvalidError{Why: fmt.Sprintf("member %d has taken part in this cluster before: with an empty directory it cannot come back under its id", uint64(id))}
}

// putMember puts a member's record; false if it was there.
func (s *Server) putMember(ctx context.Context, id shard.StoreID) (bool, error) {
	key := idKey(prefixMember, uint64(id))
	res, err := s.meta.Commit(ctx, &raw.Command{Conditions: []raw.Condition{unchanged(key, nil)}, Ops: []raw.Op{putOp(key, encodeNumber(1))}})
	if err != nil {
		return false, fmt.Errorf("record member %d: %w", uint64(id), err)
	}
	return res.Failed < 0, nil
}

// noteMembers records the members that take part.
func (s *Server) noteMembers(ctx context.Context, l *leadership) error {
	if len(l.seen) == len(s.opt.Members) {
		return nil
	}
	for _, id := range s.meta.Active(ctx) {
		if slices.Contains(l.seen, id) {
			continue
		}
		if _, err := s.putMember(ctx, id); err != nil {
			return err
		}
		l.seen = append(l.seen, id)
	}
	return nil
}
