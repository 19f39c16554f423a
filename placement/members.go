package placement

import (
	"context"
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
)

// Who may take part in placement itself.
//
// A member whose first start comes late, when the others have elected already, looks like one that lost its directory.
// The first may begin; the second must not: it has forgotten its votes, and under its old number it could help to elect a
// leader that lacks what it once acknowledged. A record per member tells them apart, with the token that its directory drew
// and wrote down before it asked: the same directory may ask again, another one never gets the number. One that lost its
// directory comes back as a new member, with a number that was never used.
//
// INVARIANT: a late or a new member begins only after its record is put, and the record is put only if absent. A member
// that starts while there is no cluster yet begins without asking; the leader puts its record, without a token, as soon as
// it takes part. In the moment between, the first of the cluster's life, losing its directory would go unnoticed.

// maxMembers bounds how many there may be, those that join or leave included: each more makes every write of a record
// slower, and seven survive the loss of three.
const maxMembers = 7

// JoinMember lets a member take part, or says why it may not.
func (s *Server) JoinMember(ctx context.Context, m beat.Candidate) (beat.Admission, error) {
	l, err := s.leading()
	if err != nil {
		return beat.Admission{}, err
	}
	if m.Cluster != 0 && m.Cluster != l.cluster {
		return beat.Admission{}, &shard.WrongClusterError{Want: m.Cluster, Have: l.cluster}
	}
	if err := s.writes.enter(ctx); err != nil {
		return beat.Admission{}, err
	}
	defer s.writes.leave()
	if err := l.accepts(m.Versions); err != nil {
		return beat.Admission{}, err
	}
	id := m.Member
	switch {
	case id == 0:
		id, err = s.admit(ctx, l, m)
	case m.Began:
		err = s.greet(ctx, l, m)
	default:
		err = s.begins(ctx, l, m)
	}
	if err != nil {
		return beat.Admission{}, err
	}
	return beat.Admission{Cluster: l.cluster, Member: id, Members: s.Members()}, s.confirm(ctx, l)
}

// begins lets a member of the first list begin that never took part.
func (s *Server) begins(ctx context.Context, l *leadership, m beat.Candidate) error {
	rec, known := l.roster.get(m.Member)
	_, first := s.meta.Descriptor().ReplicaOn(m.Member)
	switch {
	case known && rec.removed:
		return errRemovedMember(m.Member)
	case known && m.Token != 0 && rec.token == m.Token:
		return nil // it did not hear the answer, or died before it wrote anything
	case !known && !first:
		return invalidf("member %d is none of the first members of this cluster; to bring a new one, leave --member-id and --members out and start it with --join", uint64(m.Member))
	case known, slices.Contains(s.meta.Active(ctx), m.Member):
		return errLostMember(m.Member)
	}
	rec.memberRecord = memberRecord{id: m.Member, token: m.Token, addr: m.Addr}
	if err := s.putMembers(ctx, l, rec.memberRecord); err != nil {
		return err
	}
	s.log.Info("member joins late", "member", uint64(m.Member), "addr", m.Addr)
	return nil
}

// greet takes the address of a member that has begun, and tells one that was removed that it was.
func (s *Server) greet(ctx context.Context, l *leadership, m beat.Candidate) error {
	rec, known := l.roster.get(m.Member)
	_, present := s.meta.Descriptor().ReplicaOn(m.Member)
	switch {
	case known && rec.removed:
		return errRemovedMember(m.Member)
	case !known && !present:
		return invalidf("there is no member %d in this cluster, and there never was", uint64(m.Member))
	case known && rec.token != 0 && rec.token != m.Token:
		return invalidf("member %d belongs to another directory", uint64(m.Member))
	case m.Addr == "" || known && rec.addr == m.Addr:
		return nil
	}
	if other := s.memberAt(l, m.Addr, m.Member); other != 0 && s.meta.Live(other) {
		return errMemberAddrTaken(m.Addr, other)
	}
	r := rec.memberRecord
	r.id, r.addr = m.Member, m.Addr
	if err := s.putMembers(ctx, l, r); err != nil {
		return err
	}
	s.log.Info("member has an address", "member", uint64(m.Member), "addr", m.Addr)
	return nil
}

// admit gives a new member its number, once for each token.
func (s *Server) admit(ctx context.Context, l *leadership, m beat.Candidate) (shard.StoreID, error) {
	if m.Addr == "" || m.Token == 0 {
		return 0, invalidf("a new member must say where it listens, and which directory it has")
	}
	if rec, ok := l.roster.withToken(m.Token); ok {
		if rec.removed {
			return 0, errRemovedMember(rec.id)
		}
		return rec.id, nil
	}
	writes, err := s.replaced(l, m)
	if err != nil {
		return 0, err
	}
	// What the first members were told and a new one was not must not change when that one leads.
	if l.policy.implied() {
		if err := s.setRules(ctx, l, l.policy.current()); err != nil {
			return 0, err
		}
	}
	n, err := s.AllocIDs(ctx, 1)
	if err != nil {
		return 0, err
	}
	id := shard.StoreID(n)
	if err := s.putMembers(ctx, l, append(writes, memberRecord{id: id, token: m.Token, addr: m.Addr})...); err != nil {
		return 0, err
	}
	s.log.Info("new member", "member", n, "addr", m.Addr, "replaces", uint64(m.Replace))
	return id, nil
}

// replaced returns the record of the member that a new one comes in the place of, as it shall be; nothing if it replaces
// none that is still there. It refuses what must not be.
func (s *Server) replaced(l *leadership, m beat.Candidate) ([]memberRecord, error) {
	shall := s.shallBe(l)
	if other := s.memberAt(l, m.Addr, m.Replace); other != 0 {
		if s.meta.Live(other) {
			return nil, errMemberAddrTaken(m.Addr, other)
		}
		return nil, invalidf("member %d is on record at %s; if its directory is lost, start the new member with --replace %d in its place, or remove it first (skerry ctl member remove %d)",
			uint64(other), m.Addr, uint64(other), uint64(other))
	}
	if m.Replace == 0 {
		if len(shall) >= maxMembers {
			return nil, invalidf("there are %d members, and at most %d are allowed; remove one first (skerry ctl member remove)", len(shall), maxMembers)
		}
		return nil, nil
	}
	rec, known := l.roster.get(m.Replace)
	switch {
	case known && rec.removed:
		return nil, nil // somebody has removed it already
	case !slices.Contains(shall, m.Replace):
		return nil, invalidf("there is no member %d to replace; 'skerry ctl member list' shows them", uint64(m.Replace))
	}
	gone := rec.memberRecord
	gone.id, gone.removed = m.Replace, true
	return []memberRecord{gone}, nil
}

// memberAt is the member, another than this one, that is to be found at an address; 0 if there is none.
func (s *Server) memberAt(l *leadership, addr string, but shard.StoreID) shard.StoreID {
	for _, id := range s.shallBe(l) {
		if id != but && s.memberAddr(l, id) == addr {
			return id
		}
	}
	return 0
}

func isMember(id shard.StoreID) func(beat.Member) bool {
	return func(m beat.Member) bool { return m.Store == id }
}

func errMemberAddrTaken(addr string, other shard.StoreID) error {
	return &shard.NotReadyError{Shard: shard.MetaID, Why: fmt.Sprintf("%s is the address of member %d, which is heard; give each member an address of its own (--advertise)", addr, uint64(other))}
}

func errLostMember(id shard.StoreID) error {
	return invalidf("member %d has taken part in this cluster before: with an empty directory it cannot come back under its id; "+
		"start it as a new member with --join and --replace %d, without --member-id, --members and --bootstrap", uint64(id), uint64(id))
}

func errRemovedMember(id shard.StoreID) error {
	return invalidf("member %d was removed from placement, and its number never comes back; to bring this node back as a new member, empty its placement directory and start it with --join", uint64(id))
}

// putMembers writes members' records, all or none, if each still is what this leadership knows.
func (s *Server) putMembers(ctx context.Context, l *leadership, rs ...memberRecord) error {
	cmd := &raw.Command{}
	for _, r := range rs {
		key, old := idKey(prefixMember, uint64(r.id)), []byte(nil)
		if e, ok := l.roster.get(r.id); ok {
			old = e.bytes
		}
		cmd.Conditions = append(cmd.Conditions, unchanged(key, old))
		cmd.Ops = append(cmd.Ops, putOp(key, r.encode()))
	}
	if err := s.write(ctx, l, cmd); err != nil {
		return fmt.Errorf("record member %d: %w", uint64(rs[len(rs)-1].id), err)
	}
	for _, r := range rs {
		l.roster.put(r, r.encode())
	}
	l.view.membersChanged()
	return nil
}

// loadMembers reads the records at the beginning of a term.
func (s *Server) loadMembers(ctx context.Context, l *leadership) error {
	return s.scanKeys(ctx, prefixMember, func(id uint64, v []byte) error {
		r, err := decodeMember(shard.StoreID(id), v)
		if err == nil {
			l.roster.put(r, slices.Clone(v))
		}
		return err
	})
}

// noteMembers records the members that take part.
func (s *Server) noteMembers(ctx context.Context, l *leadership) error {
	active := slices.DeleteFunc(slices.Clone(s.meta.Active(ctx)), func(id shard.StoreID) bool {
		_, known := l.roster.get(id)
		return known
	})
	if len(active) == 0 {
		return nil
	}
	if err := s.writes.enter(ctx); err != nil {
		return err
	}
	defer s.writes.leave()
	for _, id := range active {
		if _, known := l.roster.get(id); known {
			continue // meanwhile
		}
		if err := s.putMembers(ctx, l, memberRecord{id: id, addr: s.memberAddr(l, id)}); err != nil {
			return err
		}
	}
	return nil
}

// memberAddr is where a member listens, as far as is known.
func (s *Server) memberAddr(l *leadership, id shard.StoreID) string {
	if e, ok := l.roster.get(id); ok && e.addr != "" {
		return e.addr
	}
	if i := slices.IndexFunc(s.opt.Members, isMember(id)); i >= 0 {
		return s.opt.Members[i].Addr
	}
	return ""
}

// Members are those that placement is found at; the leader is marked. A member that does not lead knows what it was told
// at its start.
func (s *Server) Members() []beat.Member {
	out, lead := slices.Clone(s.opt.Members), s.meta.Leader()
	if l := s.current(); l != nil {
		out = nil
		for _, r := range s.meta.Descriptor().Replicas {
			if e, ok := l.roster.get(r.Store); ok && e.removed {
				continue // on its way out: nobody is to begin with it
			}
			out = append(out, beat.Member{Store: r.Store, Replica: r.ID, Addr: s.memberAddr(l, r.Store)})
		}
	}
	for i := range out {
		out[i].Leader = out[i].Store == lead.Store && lead.Store != 0
	}
	return out
}
