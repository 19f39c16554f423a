package placement

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// How the members of shard 1 come to be those that the records want: one step after the other, each of which follows from
// the descriptor and the records alone, as the steps of every other shard do (operator.Next). A new leader goes on where
// the old one was.

// shallBe are the numbers that shall be members, ascending: those that are and were not removed, and those that were let
// in.
func (s *Server) shallBe(l *leadership) []shard.StoreID {
	var out []shard.StoreID
	for _, r := range s.meta.Descriptor().Replicas {
		if e, ok := l.roster.get(r.Store); !ok || !e.removed {
			out = append(out, r.Store)
		}
	}
	for _, r := range l.roster.all() {
		if !r.removed && !slices.Contains(out, r.id) {
			out = append(out, r.id)
		}
	}
	slices.Sort(out)
	return out
}

// followMembers does the next step, if one is due.
func (s *Server) followMembers(ctx context.Context) {
	l, err := s.leading()
	if err != nil {
		return
	}
	step, err := s.stepMembers(ctx, l)
	why := ""
	if err != nil {
		why = ": " + err.Error()
	}
	if l.roster.setStep(step, why) && step != "" {
		s.log.Info("placement members", "step", step, "err", err)
	}
}

func (s *Server) stepMembers(ctx context.Context, l *leadership) (what string, err error) {
	d, self, want := s.meta.Descriptor(), s.meta.Leader().Store, s.shallBe(l)
	if len(want) == 0 {
		return "", nil // nobody removes the last one
	}
	up := func(id shard.StoreID) bool {
		_, present := d.ReplicaOn(id)
		return !present || id == self || s.meta.Live(id)
	}
	goal := operator.Goal{Voters: want}
	step := operator.Next(d, self, goal, up)
	switch {
	case step.TransferTo != 0:
		return fmt.Sprintf("member %d hands over to member %d", uint64(self), uint64(step.TransferTo)), s.meta.TransferLeader(ctx, step.TransferTo)
	case step.Change != nil:
		c := *step.Change
		if step.NeedID {
			// INVARIANT: a member's number is its store's and its replica's id. It came from the counter that all ids come from
			// and its record is put once, so no replica of shard 1 ever had it.
			c.Replica.ID = shard.ReplicaID(c.Replica.Store)
		}
		return c.String(), s.meta.Change(ctx, d.Epoch, c)
	case !operator.Reached(d, self, goal):
		return "waits: too few of the members that shall remain are heard", nil
	}
	return "", nil
}

// members lists all that there are and were.
func (s *Server) members(l *leadership) *beat.Outcome {
	d, lead, shall := s.meta.Descriptor(), s.meta.Leader().Store, s.shallBe(l)
	ids := slices.Clone(shall)
	for _, r := range l.roster.all() {
		ids = append(ids, r.id)
	}
	slices.Sort(ids)
	out := &beat.Outcome{}
	for _, id := range slices.Compact(ids) {
		r, present := d.ReplicaOn(id)
		m := beat.MemberStatus{Member: id, Addr: s.memberAddr(l, id), Leader: id == lead, Live: present && (id == lead || s.meta.Live(id))}
		switch stays := slices.Contains(shall, id); {
		case stays && present && r.Role == shard.Voter:
			m.State = "voter" // and not while half the change is done: until it is, those before decide as well
		case stays:
			m.State = "joining"
		case present:
			m.State = "leaving"
		default:
			m.State = "removed"
		}
		if m.State == "joining" || m.State == "leaving" {
			m.Step = l.roster.lastStep()
		}
		out.Members = append(out.Members, m)
	}
	out.Lines = evenMembers(len(shall))
	return out
}

// evenMembers warns of a number that costs more than it brings.
func evenMembers(n int) []string {
	if n%2 != 0 {
		return nil
	}
	return []string{fmt.Sprintf("%d members survive no more failures than %d; have 1, 3 or 5", n, n-1)}
}

// removeMember has a member leave for good.
//
// INVARIANT (rule 15): a quorum is never given up by an order of ours: of those that remain, more than half are voters
// now and are heard.
func (s *Server) removeMember(ctx context.Context, l *leadership, o *beat.MemberOrder, dry bool) (*beat.Outcome, error) {
	if err := s.writes.enter(ctx); err != nil {
		return nil, err
	}
	defer s.writes.leave()
	rec, known := l.roster.get(o.Member)
	shall := s.shallBe(l)
	switch {
	case known && rec.removed:
		return &beat.Outcome{Lines: []string{fmt.Sprintf("member %d is removed already", uint64(o.Member))}}, nil
	case !slices.Contains(shall, o.Member):
		return nil, invalidf("there is no member %d; 'skerry ctl member list' shows them", uint64(o.Member))
	}
	rest := slices.DeleteFunc(shall, func(id shard.StoreID) bool { return id == o.Member })
	if why := s.quorumless(rest); why != "" {
		return nil, invalidf("without member %d %s", uint64(o.Member), why)
	}
	out := &beat.Outcome{Lines: evenMembers(len(rest))}
	if dry {
		return out, nil
	}
	r := rec.memberRecord
	r.id, r.removed = o.Member, true
	if r.addr == "" {
		r.addr = s.memberAddr(l, o.Member)
	}
	if err := s.putMembers(ctx, l, r); err != nil {
		return nil, err
	}
	s.log.Info("member is removed", "member", uint64(o.Member))
	return out, nil
}

// quorumless says why members could not decide anything alone, "" if they could.
func (s *Server) quorumless(rest []shard.StoreID) string {
	if len(rest) == 0 {
		return "there would be no placement: it is the last member; let another one join first"
	}
	d, self := s.meta.Descriptor(), s.meta.Leader().Store
	live, missing := 0, []string(nil)
	for _, id := range rest {
		r, present := d.ReplicaOn(id)
		switch {
		case !present || r.Role == shard.Learner:
			missing = append(missing, fmt.Sprintf("member %d has not joined yet", uint64(id)))
		case id != self && !s.meta.Live(id):
			missing = append(missing, fmt.Sprintf("member %d is not heard", uint64(id)))
		default:
			live++
		}
	}
	if live > len(rest)/2 {
		return ""
	}
	return fmt.Sprintf("only %d of the %d members that remain could decide: %s; wait for them, bring them back, or remove them first", live, len(rest), strings.Join(missing, ", "))
}

// transferMember hands the leadership of placement over.
func (s *Server) transferMember(ctx context.Context, o *beat.MemberOrder, dry bool) (*beat.Outcome, error) {
	r, present := s.meta.Descriptor().ReplicaOn(o.Member)
	self := s.meta.Leader().Store
	switch {
	case !present:
		return nil, invalidf("there is no member %d; 'skerry ctl member list' shows them", uint64(o.Member))
	case o.Member == self:
		return &beat.Outcome{Lines: []string{fmt.Sprintf("member %d leads already", uint64(o.Member))}}, nil
	case r.Role != shard.Voter && r.Role != shard.IncomingVoter:
		return nil, invalidf("member %d is only a %s, which cannot lead", uint64(o.Member), r.Role)
	case !s.meta.Live(o.Member):
		return nil, invalidf("member %d is not heard", uint64(o.Member))
	case dry:
		return &beat.Outcome{}, nil
	}
	s.log.Info("placement leadership is handed over", "to", uint64(o.Member))
	return &beat.Outcome{}, s.meta.TransferLeader(ctx, o.Member)
}
