package placement

import (
	"context"
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
)

// A member whose first start comes late, when the others have elected already, looks like one that lost its directory.
// The first may begin; the second must not: it has forgotten its votes, and under its old id it could help to elect a
// leader that lacks what it once acknowledged. A record per member tells them apart, with the token that its directory drew
// and wrote down before it asked: the same directory may ask again, another one never gets the number.
//
// INVARIANT: a late member begins only after its record is put, and the record is put only if absent. A member that
// starts while there is no cluster yet begins without asking; the leader puts its record, without a token, as soon as it
// takes part. In the moment between, the first of the cluster's life, losing its directory would go unnoticed.

// memberRecord is what must survive of a member.
type memberRecord struct {
	id shard.StoreID
	// token is what the member's directory drew before it asked; 0: it began without asking.
	token uint64
}

// Version 1 of a member's record is a one and says only that the member took part.
const memberRecordVersion = 2

func (r memberRecord) encode() []byte {
	b := codec.AppendUvarint([]byte{memberRecordVersion}, uint64(r.id))
	return codec.AppendUvarint(b, r.token)
}

func decodeMember(id shard.StoreID, b []byte) (memberRecord, error) {
	d := codec.Decoder{B: b}
	version := d.Version(memberRecordVersion)
	n := d.Uvarint()
	if version == 1 {
		return memberRecord{id: id}, d.Done()
	}
	return memberRecord{id: shard.StoreID(n), token: d.Uvarint()}, d.Done()
}

// JoinMember lets a member of the first list begin that never took part.
func (s *Server) JoinMember(ctx context.Context, m beat.Candidate) error {
	if _, err := s.leading(); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.Members(), isMember(m.Member)) {
		return &shard.InvalidError{Why: fmt.Sprintf("there is no member %d in this cluster", uint64(m.Member))}
	}
	if slices.Contains(s.meta.Active(ctx), m.Member) {
		return errLostMember(m.Member)
	}
	put, err := s.putMember(ctx, memberRecord{id: m.Member, token: m.Token})
	if err != nil {
		return err
	}
	if put {
		s.log.Info("member joins late", "member", uint64(m.Member))
		return nil
	}
	b, err := s.get(ctx, string(idKey(prefixMember, uint64(m.Member))[1:]))
	if err != nil {
		return err
	}
	r, err := decodeMember(m.Member, b)
	if err != nil {
		return fmt.Errorf("record of member %d: %w", uint64(m.Member), err)
	}
	if m.Token == 0 || r.token != m.Token {
		return errLostMember(m.Member)
	}
	return nil
}

func isMember(id shard.StoreID) func(beat.Member) bool {
	return func(m beat.Member) bool { return m.Store == id }
}

func errLostMember(id shard.StoreID) error {
	return &shard.InvalidError{Why: fmt.Sprintf("member %d has taken part in this cluster before: with an empty directory it cannot come back under its id", uint64(id))}
}

// putMember puts a member's record; false if there was one.
func (s *Server) putMember(ctx context.Context, r memberRecord) (bool, error) {
	key := idKey(prefixMember, uint64(r.id))
	res, err := s.meta.Commit(ctx, &raw.Command{Conditions: []raw.Condition{unchanged(key, nil)}, Ops: []raw.Op{putOp(key, r.encode())}})
	if err != nil {
		return false, fmt.Errorf("record member %d: %w", uint64(r.id), err)
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
		if _, err := s.putMember(ctx, memberRecord{id: id}); err != nil {
			return err
		}
		l.seen = append(l.seen, id)
	}
	return nil
}
