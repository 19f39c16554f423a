package placement

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Administer does what an administrator asks for, or, in a dry run, says what it would do. What is refused is refused with
// an *shard.InvalidError that says why; asking again after a lost answer is harmless.
func (s *Server) Administer(ctx context.Context, o *beat.Order) (*beat.Outcome, error) {
	l, err := s.leading()
	if err != nil {
		return nil, err
	}
	if asksOfStores(o) {
		if err := l.view.acquainted(); err != nil {
			return nil, err
		}
	}
	out, err := s.administer(ctx, l, o)
	if err != nil {
		return nil, err
	}
	out.Paused = l.policy.left(s.millis())
	// What was read, too, is only worth something if this member still leads.
	return out, s.confirm(ctx, l)
}

func (s *Server) administer(ctx context.Context, l *leadership, o *beat.Order) (*beat.Outcome, error) {
	switch {
	case o.Move != nil:
		return s.move(ctx, l, o.Move, o.DryRun)
	case o.Transfer != nil:
		return s.transfer(ctx, l, o.Transfer, o.DryRun)
	case o.Scatter != nil:
		return s.scatter(ctx, l, o.Scatter, o.DryRun)
	case o.Drain != nil:
		return s.drain(ctx, l, o.Drain, true, o.DryRun)
	case o.Undrain != nil:
		return s.drain(ctx, l, o.Undrain, false, o.DryRun)
	case o.Evict != nil:
		return s.evict(ctx, l, o.Evict, true, o.DryRun)
	case o.Admit != nil:
		return s.evict(ctx, l, o.Admit, false, o.DryRun)
	case o.Remove != nil:
		return s.remove(ctx, l, o.Remove, o.DryRun)
	case o.Label != nil:
		return s.label(ctx, l, o.Label, o.DryRun)
	case o.Operators != nil:
		return l.view.operators(o.Operators)
	case o.Cancel != nil:
		return s.cancel(ctx, l, o.Cancel, o.DryRun)
	case o.Rules != nil:
		return s.rules(ctx, l, o.Rules, o.DryRun)
	case o.Pause != nil:
		return s.pause(ctx, l, o.Pause, o.DryRun)
	case o.Explain != nil:
		return s.explain(l, o.Explain)
	case o.Plan != nil:
		return s.plan(l, o.Plan)
	case o.Members != nil:
		return s.members(l), nil
	case o.RemoveMember != nil:
		return s.removeMember(ctx, l, o.RemoveMember, o.DryRun)
	case o.TransferMember != nil:
		return s.transferMember(ctx, o.TransferMember, o.DryRun)
	case o.SafePoints != nil:
		return s.moveSafePoints(ctx, l, o.SafePoints, o.DryRun)
	case o.Version != nil:
		return s.finalize(ctx, l, o.Version, o.DryRun)
	case o.Settings != nil:
		return s.setSettings(ctx, l, o.Settings, o.DryRun)
	case o.GC != nil:
		return s.setGC(ctx, l, o.GC, o.DryRun)
	}
	return nil, invalidf("the order asks for nothing")
}

func invalidf(format string, args ...any) error {
	return &shard.InvalidError{Why: fmt.Sprintf(format, args...)}
}

// find returns a shard that operators may be made for.
func (v *view) find(id shard.ID) (schedule.Shard, error) {
	if id == shard.MetaID {
		return schedule.Shard{}, invalidf("%s holds what placement itself knows; it is not moved", id)
	}
	sh, ok := v.shardNow(id)
	if !ok {
		return sh, invalidf("there is no shard %s; 'skerry ctl shard list' shows them", id)
	}
	return sh, nil
}

// target returns a store that can be given something now.
func (v *view) target(id shard.StoreID) (schedule.Store, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stores[id] == nil {
		return schedule.Store{}, invalidf("there is no store %s; 'skerry ctl store list' shows them", id)
	}
	st := v.storeLocked(id)
	if st.State != schedule.Up {
		return st, invalidf("%s is %s; only a store that is up is given anything", id, v.stores[id].state.beatState())
	}
	return st, nil
}

// move plans to put the replica on one store onto another.
func (s *Server) move(ctx context.Context, l *leadership, m *beat.MoveOrder, dry bool) (*beat.Outcome, error) {
	sh, err := l.view.find(m.Shard)
	if err != nil {
		return nil, err
	}
	to, err := l.view.target(m.To)
	if err != nil {
		return nil, err
	}
	voters := operator.Targets(sh.Desc, operator.Goal{})
	switch r, held := sh.Desc.ReplicaOn(m.To); {
	case !slices.Contains(voters, m.From):
		return nil, invalidf("%s has no replica of %s to move; it is on %s", m.From, m.Shard, join(voters))
	case held && r.Role != shard.Learner:
		return nil, invalidf("%s has a replica of %s already, and never two of one shard lie on one store; name one without", m.To, m.Shard)
	case to.Capacity > 0 && to.Free < sh.Bytes:
		return nil, invalidf("%s has %d bytes free and %s about %d", m.To, to.Free, m.Shard, sh.Bytes)
	}
	rule := l.policy.rulesFor(sh.Desc.Range)
	if why := unmet(rule.Require, &to); why != "" {
		return nil, invalidf("rule %q wants %s of %s, and %s is not that; the replica would be moved back", rule.Name, why, m.Shard, m.To)
	}
	goal := operator.Goal{Voters: slices.DeleteFunc(slices.Clone(voters), func(st shard.StoreID) bool { return st == m.From })}
	goal.Voters = append(goal.Voters, m.To)
	slices.Sort(goal.Voters)
	return s.byHand(ctx, l, []schedule.Proposal{{Shard: m.Shard, Epoch: sh.Desc.Epoch, Kind: operator.Move, Goal: goal, Bytes: sh.Bytes,
		Why: fmt.Sprintf("an administrator moves it from %s to %s", m.From, m.To)}}, dry)
}

// transfer plans to let the voter on a store lead.
func (s *Server) transfer(ctx context.Context, l *leadership, t *beat.TransferOrder, dry bool) (*beat.Outcome, error) {
	sh, err := l.view.find(t.Shard)
	if err != nil {
		return nil, err
	}
	r, ok := sh.Desc.ReplicaOn(t.To)
	switch {
	case !ok:
		return nil, invalidf("%s has no replica of %s; it has some on %s", t.To, t.Shard, join(operator.Targets(sh.Desc, operator.Goal{})))
	case r.Role != shard.Voter && r.Role != shard.IncomingVoter:
		return nil, invalidf("%s has only a %s of %s, which cannot lead", t.To, r.Role, t.Shard)
	case l.view.evicting(t.To):
		return nil, invalidf("%s shall lead nothing; 'skerry ctl store allow-leaders %s' ends that", t.To, t.To)
	case !l.view.isLive(t.To):
		return nil, invalidf("%s is not heard", t.To)
	case sh.Leader == t.To && sh.Pending == nil:
		return &beat.Outcome{Lines: []string{fmt.Sprintf("%s is led by %s already", t.Shard, t.To)}}, nil
	}
	return s.byHand(ctx, l, []schedule.Proposal{{Shard: t.Shard, Epoch: sh.Desc.Epoch, Kind: operator.TransferLeader,
		Goal: operator.Goal{Leader: t.To}, Why: fmt.Sprintf("an administrator wants it to be led by %s", t.To)}}, dry)
}

// byHand begins what an administrator wants; all of it, or, if anything is refused, nothing.
func (s *Server) byHand(ctx context.Context, l *leadership, ps []schedule.Proposal, dry bool) (*beat.Outcome, error) {
	var ops []*operator.Operator
	var gone []schedule.Proposal
	if dry {
		for i := range ps {
			if o, ok := l.view.newOperator(0, &ps[i], true); ok {
				ops = append(ops, o)
			} else {
				gone = append(gone, ps[i])
			}
		}
	} else {
		var err error
		if ops, gone, err = s.operators(ctx, l, ps, true); err != nil {
			return nil, err
		}
	}
	if len(gone) > 0 {
		return nil, invalidf("%s has just changed; look at it and ask again", gone[0].Shard)
	}
	if why := l.view.takeAll(ops, dry); why != "" {
		return nil, invalidf("%s", why)
	}
	out := &beat.Outcome{}
	for _, o := range ops {
		if !dry {
			s.log.Info("operator begun", "id", o.ID, "kind", o.Kind, "shard", o.Shard, "voters", o.Goal.Voters, "leader", o.Goal.Leader, "why", o.Why)
		}
		out.Operators = append(out.Operators, l.view.describe(o))
	}
	return out, nil
}

// takeAll puts operators to work if none is refused; else it says why one is.
func (v *view) takeAll(ops []*operator.Operator, dry bool) (refused string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, o := range ops {
		if why := v.book.Refuses(o); why != "" {
			return why + "; wait for it, or cancel it"
		}
	}
	if dry {
		return ""
	}
	for _, o := range ops {
		if why := v.addLocked(o); why != "" {
			return why // beyond the bound of what is planned
		}
	}
	return ""
}

// cancel ends an operator, and undoes what is half done of it.
func (s *Server) cancel(ctx context.Context, l *leadership, c *beat.CancelOrder, dry bool) (*beat.Outcome, error) {
	first, err := s.AllocIDs(ctx, 1)
	if err != nil {
		return nil, err
	}
	return l.view.cancel(operator.ID(c.ID), operator.ID(first), dry)
}

func (v *view) cancel(id, undo operator.ID, dry bool) (*beat.Outcome, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	o := v.book.Find(id)
	switch {
	case o == nil:
		return nil, invalidf("there is no operator %s, nor was there lately; 'skerry ctl op list --history' shows them", id)
	case o.State() == operator.OpCancelled:
		return &beat.Outcome{Operators: []beat.Operator{v.describeLocked(o)}}, nil // asked again
	case o.Over():
		return nil, invalidf("%s has ended already: %s %s", id, o.State(), o.Reason)
	case dry:
		return &beat.Outcome{Operators: []beat.Operator{v.describeLocked(o)}}, nil
	}
	v.endLocked(o, operator.OpCancel, "an administrator cancelled it")
	out := &beat.Outcome{Operators: []beat.Operator{v.describeLocked(o)}}
	d, ok := v.shards.Get(o.Shard)
	if !ok || settled(d) {
		return out, nil
	}
	// INVARIANT: a joint configuration is left whatever becomes of the operator that entered it.
	u := &operator.Operator{ID: undo, Kind: operator.Finish, Shard: o.Shard, ByHand: true, Goal: operator.Goal{Voters: operator.Targets(d, operator.Goal{})},
		Why: fmt.Sprintf("%s was cancelled; what is half done of it is undone", id)}
	if v.addLocked(u) == "" {
		out.Operators = append(out.Operators, v.describeLocked(u))
	}
	return out, nil
}

// settled reports whether a descriptor shows no change under way.
func settled(d *shard.Descriptor) bool {
	return !slices.ContainsFunc(d.Replicas, func(r shard.Replica) bool { return r.Role != shard.Voter })
}

// maxOperators bounds how many operators one answer holds.
const maxOperators = 4096

// operators lists what is under way, and what ended lately.
func (v *view) operators(q *beat.OperatorsOrder) (*beat.Outcome, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := &beat.Outcome{}
	if q.ID != 0 {
		o := v.book.Find(operator.ID(q.ID))
		if o == nil {
			return nil, invalidf("there is no operator %s, nor was there lately; 'skerry ctl op list --history' shows them", operator.ID(q.ID))
		}
		out.Operators = append(out.Operators, v.describeLocked(o))
		return out, nil
	}
	list := v.book.All()
	if q.History {
		list = append(list, v.book.History()...)
	}
	for _, o := range list {
		if (q.Shard == 0 || o.Shard == q.Shard) && len(out.Operators) < maxOperators {
			out.Operators = append(out.Operators, v.describeLocked(o))
		}
	}
	return out, nil
}

func (v *view) describe(o *operator.Operator) beat.Operator {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.describeLocked(o)
}

// describeLocked is an operator as people see it. Requires mu.
func (v *view) describeLocked(o *operator.Operator) beat.Operator {
	out := beat.Operator{ID: uint64(o.ID), Kind: string(o.Kind), Shard: o.Shard, State: o.State().String(), Voters: o.Goal.Voters,
		Leader: o.Goal.Leader, Why: o.Why, Reason: o.Reason, Bytes: o.Bytes, ByHand: o.ByHand}
	switch {
	case o.Over():
		out.Age, out.Took = v.clock()-o.Begun, o.Ended-o.Begun
		return out
	case o.ID != 0:
		out.Age = v.clock() - o.Begun
	}
	out.Step = v.dueLocked(o)
	return out
}

// dueLocked says what an operator does next, or what it waits for. Requires mu.
func (v *view) dueLocked(o *operator.Operator) string {
	d, ok := v.shards.Get(o.Shard)
	rv := v.routes[o.Shard]
	switch {
	case !ok:
		return "the shard is no more"
	case rv == nil || rv.store == 0:
		return "waits: the shard has no leader that is heard"
	case v.book.Waits(o) != "":
		return "waits: " + v.book.Waits(o)
	}
	st := operator.Next(d, rv.store, o.Goal, v.liveLocked(v.env.Now()))
	switch {
	case st.TransferTo != 0:
		return fmt.Sprintf("%s hands over to %s", rv.store, st.TransferTo)
	case st.NeedID:
		return fmt.Sprintf("add a learner on %s", st.Change.Replica.Store)
	case st.Change != nil:
		return st.Change.String()
	case operator.Reached(d, rv.store, o.Goal):
		return "done"
	}
	return "waits: too few of its stores are heard"
}

// rules says what the rules are, or sets others, which are checked.
func (s *Server) rules(ctx context.Context, l *leadership, o *beat.RulesOrder, dry bool) (*beat.Outcome, error) {
	if len(o.Set) == 0 {
		return &beat.Outcome{Rules: schedule.EncodeRules(l.policy.current())}, nil
	}
	rules, err := schedule.DecodeRules(o.Set)
	if err != nil {
		return nil, invalidf("%s", err)
	}
	if why := l.view.infeasible(&rules); why != "" {
		return nil, invalidf("%s", why)
	}
	out := &beat.Outcome{Rules: schedule.EncodeRules(rules)}
	if dry {
		return out, nil
	}
	if err := s.setRules(ctx, l, rules); err != nil {
		return nil, err
	}
	s.log.Info("placement rules set", "rules", string(out.Rules))
	return out, nil
}

// infeasible says which rule no choice of stores can meet, "" if all can be met.
func (v *view) infeasible(rules *schedule.Rules) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	able := func(cs []schedule.Constraint) int {
		n := 0
		// in any order: counted
		for id, sv := range v.stores {
			if st := v.storeLocked(id); sv.state != storeRemoved && sv.state != storeDraining && unmet(cs, &st) == "" {
				n++
			}
		}
		return n
	}
	if n := able(nil); n < rules.Replicas {
		return fmt.Sprintf("%d replicas need as many stores, there are %d; add stores, or ask for fewer", rules.Replicas, n)
	}
	for i := range rules.Ranges {
		r := &rules.Ranges[i]
		want := r.Replicas
		if want == 0 {
			want = rules.Replicas
		}
		if n := able(r.Require); n < want {
			return fmt.Sprintf("rule %q needs %d stores that are %s, there are %d; label stores with 'skerry ctl store label'", r.Name, want, constraints(r.Require), n)
		}
	}
	return ""
}

// unmet names the first constraint that a store does not meet, "" if it meets all.
func unmet(cs []schedule.Constraint, st *schedule.Store) string {
	for i := range cs {
		if slices.Contains(cs[i].Values, st.Label(cs[i].Key)) == cs[i].Not {
			return cs[i].String()
		}
	}
	return ""
}

func constraints(cs []schedule.Constraint) string {
	var out []string
	for _, c := range cs {
		out = append(out, c.String())
	}
	if len(out) == 0 {
		return "up"
	}
	return strings.Join(out, " and ")
}

// rulesFor is what the rules say of a range.
func (p *policy) rulesFor(r shard.Range) schedule.Effective {
	rules := p.current()
	return rules.For(r)
}

// pause begins or ends a time of rest.
func (s *Server) pause(ctx context.Context, l *leadership, o *beat.PauseOrder, dry bool) (*beat.Outcome, error) {
	if o.For < 0 || o.For > maxPause {
		return nil, invalidf("a pause of %s: it can be up to %s, and be prolonged", o.For, maxPause)
	}
	if !dry {
		if err := s.setPause(ctx, l, o.For.Round(time.Millisecond)); err != nil {
			return nil, err
		}
		s.log.Info("scheduling paused", "for", o.For)
	}
	return &beat.Outcome{}, nil
}

func join[T fmt.Stringer](ids []T) string {
	var out []string
	for _, id := range ids {
		out = append(out, id.String())
	}
	if len(out) == 0 {
		return "no store"
	}
	return strings.Join(out, ", ")
}
