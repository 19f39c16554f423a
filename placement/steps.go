package placement

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Operators are given out step by step, in the answers to the heartbeats of whoever leads their shards. Steps are followed
// from the plan to their effect. Nothing is decided by that: each follows from the descriptor and the goal alone. It tells
// what placement is about, and finds orders of events that nobody thought of.

// plan is a step for a shard at the epoch of desc.
type plan struct {
	desc *shard.Descriptor
	op   *operator.Operator
	step operator.Step
}

// clock is the time of operators: since this leader of placement began.
func (v *view) clock() time.Duration { return v.env.Now().Sub(v.begun) }

// plans are the next steps for the shards that a store leads, at most max of them, in the order of their operators.
func (v *view) plans(store shard.StoreID, max int) []plan {
	v.mu.Lock()
	defer v.mu.Unlock()
	up := v.liveLocked(v.env.Now())
	var out []plan
	for _, o := range v.book.All() {
		rv := v.routes[o.Shard]
		d, ok := v.shards.Get(o.Shard)
		if !ok || rv == nil || rv.store != store || v.book.Waits(o) != "" {
			continue
		}
		st := operator.Next(d, store, o.Goal, up)
		if v.trackLocked(d, st) {
			if out = append(out, plan{desc: d, op: o, step: st}); len(out) == max {
				break
			}
		}
	}
	return out
}

// setCuts takes where shards must be split.
func (v *view) setCuts(points []schedule.SplitPoint) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.splits = make(map[shard.ID][]shard.Key, len(points))
	for _, p := range points {
		v.splits[p.Shard] = append(v.splits[p.Shard], p.At)
	}
}

// cuts are the splits that are due of shards that a store leads and that nothing else is under way for, at most max of
// them. The epoch makes it harmless to ask again.
func (v *view) cuts(store shard.StoreID, max int) []beat.Instruction {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []beat.Instruction
	for _, id := range slices.Sorted(maps.Keys(v.splits)) {
		d, ok := v.shards.Get(id)
		if rv := v.routes[id]; len(out) >= max || !ok || rv == nil || rv.store != store || v.book.Of(id) != nil || d.Joint() {
			continue
		}
		in := beat.Instruction{Shard: id, Epoch: d.Epoch}
		for _, k := range v.splits[id] {
			if d.Range.Contains(k) && k.Compare(d.Range.Start) > 0 {
				in.SplitAt = append(in.SplitAt, k)
			}
		}
		if len(in.SplitAt) > 0 {
			out = append(out, in)
		}
	}
	return out
}

// liveLocked says of a store whether it is heard. Requires mu, also when it is called.
func (v *view) liveLocked(now env.Time) func(shard.StoreID) bool {
	return func(id shard.StoreID) bool {
		sv := v.stores[id]
		if sv == nil {
			return false
		}
		v.stateLocked(sv, now)
		return sv.state.live()
	}
}

// trackLocked follows the step that is due for a shard, and reports whether there is one. Another one that was followed is
// superseded. Requires mu.
func (v *view) trackLocked(d *shard.Descriptor, st operator.Step) bool {
	if t := v.steps[d.ID]; t != nil && !(st.Due() && t.Is(d, st)) {
		v.turnStepLocked(d.ID, t, operator.WasOvertaken)
	}
	if st.Due() && v.steps[d.ID] == nil {
		v.steps[d.ID] = &operator.Track{Step: st, Epoch: d.Epoch}
	}
	return st.Due()
}

// followLocked takes what a replica says of a shard that it leads. Requires mu.
func (v *view) followLocked(l *beat.Led) {
	id := l.Desc.ID
	lead, _ := l.Desc.Replica(l.Leader)
	if t := v.steps[id]; t != nil {
		if on, ok := t.Shows(l.Desc, lead.Store); ok {
			v.turnStepLocked(id, t, on)
		}
	}
	if o := v.book.Of(id); o != nil && lead.Store != 0 && operator.Reached(l.Desc, lead.Store, o.Goal) {
		v.endLocked(o, operator.OpReach, "")
	}
}

// sent notes that an answer with these plans goes out.
func (v *view) sent(plans []plan) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, p := range plans {
		if t := v.steps[p.desc.ID]; t != nil && t.Is(p.desc, p.step) {
			v.turnStepLocked(p.desc.ID, t, operator.WasSent)
		}
		if !p.op.Over() {
			v.checkLocked(v.book.Sent(p.op, v.clock()))
		}
	}
}

// turnStepLocked moves a step on, and forgets it at its end. Requires mu.
func (v *view) turnStepLocked(id shard.ID, t *operator.Track, on operator.StepEvent) {
	v.checkLocked(t.Turn(on, v.coverage))
	if st := t.State(); st == operator.Done || st == operator.Superseded {
		delete(v.steps, id)
	}
}

// addLocked takes an operator; refused says why not, "" if it was taken. Requires mu.
func (v *view) addLocked(o *operator.Operator) (refused string) {
	if refused = v.book.Refuses(o); refused != "" {
		return refused
	}
	why := "is more urgent"
	if o.ByHand {
		why = "was asked for later"
	}
	v.endLocked(v.book.Of(o.Shard), operator.OpSupersede, fmt.Sprintf("%s (%s) %s", o.ID, o.Kind, why))
	v.book.Add(o, v.clock())
	v.recountLocked(o.Shard)
	return ""
}

// endLocked ends an operator, nil or over included, and the step that it waits for. Requires mu.
func (v *view) endLocked(o *operator.Operator, on operator.Event, reason string) {
	if o == nil || o.Over() {
		return
	}
	v.checkLocked(v.book.End(o, on, reason, v.clock()))
	if t := v.steps[o.Shard]; t != nil {
		v.turnStepLocked(o.Shard, t, operator.WasOvertaken)
	}
	v.recountLocked(o.Shard)
	v.touchLocked(o.Shard)
	v.over = append(v.over, o)
}

// takeOver returns the operators that ended since it was last called.
func (v *view) takeOver() []*operator.Operator {
	v.mu.Lock()
	defer v.mu.Unlock()
	over := v.over
	v.over = nil
	return over
}

// targetPatience is how long an operator waits for a silent store that it brings a replica to: longer than a restart.
const targetPatience = 30 * time.Second

// endDueLocked ends the operators whose time is over, whose goal is reached, and which stand in the way of something
// better. Requires mu.
//
// INVARIANT: no operator waits for what may never come while its shard needs something else. The schedulers leave a shard
// alone that has one.
func (v *view) endDueLocked() {
	for _, o := range v.book.Lapsed(v.clock()) {
		v.endLocked(o, operator.OpLapse, fmt.Sprintf("not done after %s", (v.clock()-o.Begun).Round(time.Second)))
	}
	now := v.env.Now()
	for _, o := range v.book.All() {
		if d, ok := v.shards.Get(o.Shard); ok {
			// A shard that was there before, and sleeps, is not reported again.
			if rv := v.routes[o.Shard]; rv != nil && rv.store != 0 && operator.Reached(d, rv.store, o.Goal) {
				v.endLocked(o, operator.OpReach, "")
			} else if why := v.hopelessLocked(o, d, now); why != "" {
				v.endLocked(o, operator.OpSupersede, why)
			}
		}
	}
}

// hopelessLocked says why an operator should not go on, "" if it may. Requires mu.
func (v *view) hopelessLocked(o *operator.Operator, d *shard.Descriptor, now env.Time) string {
	for _, st := range o.Receives {
		sv := v.stores[st]
		if sv == nil {
			return fmt.Sprintf("%s is not known", st)
		}
		switch is := v.stateLocked(sv, now); {
		case is == beat.Down, is == beat.Removed, is == beat.Draining:
			return fmt.Sprintf("%s is %s", st, is)
		case is == beat.Suspect && now.Sub(max(sv.seen, v.begun)) > targetPatience:
			return fmt.Sprintf("%s is not heard any more", st)
		}
	}
	g := o.Goal
	for _, st := range g.Voters { // also one that has a learner of the shard already; of voters see below
		if r, ok := d.ReplicaOn(st); ok && r.Role != shard.Learner {
			continue
		}
		if sv := v.stores[st]; sv != nil {
			if is := v.stateLocked(sv, now); is == beat.Down || is == beat.Removed {
				return fmt.Sprintf("%s is %s", st, is)
			}
		}
	}
	lead := v.stores[g.Leader]
	waits := operator.Reached(d, g.Leader, operator.Goal{Voters: g.Voters}) // for its leader, and nothing else
	if g.Leader != 0 && waits && (lead == nil || !v.liveLocked(now)(g.Leader)) {
		return fmt.Sprintf("%s is not heard and cannot lead", g.Leader)
	}
	if o.Kind.Rank() <= operator.AddReplica.Rank() {
		return ""
	}
	for _, r := range d.Replicas {
		sv := v.stores[r.Store]
		if sv == nil || r.Role == shard.Learner || r.Role == shard.DemotingVoter {
			continue
		}
		if is := v.stateLocked(sv, now); is == beat.Down || is == beat.Removed {
			return fmt.Sprintf("%s is %s, and what is lost is made up for first", r.Store, is)
		}
	}
	return ""
}

// checkLocked stops the member if a table of states knows no such event. Requires mu.
func (v *view) checkLocked(err error) {
	if err != nil {
		v.illegal(err)
	}
}

// illegal stops the node: its picture of the cluster is not to be trusted. Whoever leads next makes a new one.
func (s *Server) illegal(err error) {
	s.log.Error("placement", "err", err)
	if s.opt.OnBroken != nil {
		s.opt.OnBroken(err)
	}
}
