package placement

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
)

// scheduleInterval lies between two looks of the schedulers: as often as stores report.
const scheduleInterval = time.Second

// proposer is what decides which shards move: a *schedule.Scheduler.
type proposer interface {
	Propose(v *schedule.View, max int) []schedule.Proposal
	Touch(id shard.ID)
	SetLimits(l schedule.Limits)
}

// maxProposals bounds what is begun in one look.
const maxProposals = 256

// schedule looks at the picture once, and begins the operators that are proposed.
func (s *Server) schedule(ctx context.Context) {
	l, err := s.leading()
	if err != nil || !l.view.ready() {
		return
	}
	l.scheduler.SetLimits(s.limits(l))
	l.view.look()
	for _, o := range l.view.takeOver() {
		s.log.Info("operator ended", "id", o.ID, "kind", o.Kind, "shard", o.Shard, "state", o.State(), "reason", o.Reason, "took", o.Ended-o.Begun)
	}
	for _, id := range l.view.takeTouched() {
		l.scheduler.Touch(id)
	}
	v := l.view.picture(l.policy.current())
	if v.Paused = l.policy.left(s.millis()) > 0; !v.Paused {
		l.view.setCuts(schedule.SplitPoints(v))
	}
	s.begin(ctx, l, l.scheduler.Propose(v, maxProposals))
}

// begin takes proposals as operators. While scheduling is paused, only what is half done is ended.
func (s *Server) begin(ctx context.Context, l *leadership, ps []schedule.Proposal) {
	if l.policy.left(s.millis()) > 0 {
		kept := ps[:0:0]
		for _, p := range ps {
			if p.Kind == operator.Finish {
				kept = append(kept, p)
			}
		}
		ps = kept
	}
	ops, _, err := s.operators(ctx, l, ps, false)
	if err != nil {
		return
	}
	for i, refused := range l.view.take(ops) {
		if refused == "" {
			o := ops[i]
			s.log.Info("operator begun", "id", o.ID, "kind", o.Kind, "shard", o.Shard, "voters", o.Goal.Voters, "leader", o.Goal.Leader, "why", o.Why)
		}
	}
}

// operators makes operators of proposals. Those whose shard is otherwise by now are left out; gone says which.
func (s *Server) operators(ctx context.Context, l *leadership, ps []schedule.Proposal, byHand bool) (ops []*operator.Operator, gone []schedule.Proposal, err error) {
	if len(ps) == 0 {
		return nil, nil, nil
	}
	first, err := s.AllocIDs(ctx, len(ps))
	if err != nil {
		return nil, nil, err
	}
	for i := range ps {
		if o, ok := l.view.newOperator(operator.ID(first+uint64(i)), &ps[i], byHand); ok {
			ops = append(ops, o)
		} else {
			gone = append(gone, ps[i])
		}
	}
	return ops, gone, nil
}

// touchLocked notes that a shard is otherwise than the schedulers saw it. Requires mu.
func (v *view) touchLocked(id shard.ID) {
	v.touched[id] = true
}

// takeTouched returns the shards that changed since it was last called, by id.
func (v *view) takeTouched() []shard.ID {
	v.mu.Lock()
	defer v.mu.Unlock()
	ids := slices.Sorted(maps.Keys(v.touched))
	clear(v.touched)
	return ids
}

// ready reports whether there are shards to schedule and the picture of them is complete.
func (v *view) ready() bool {
	v.mu.Lock()
	n := v.shards.Len()
	v.mu.Unlock()
	return n > 0 && v.complete()
}
