package placement

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// Every decision can be explained: what is known, which rule holds, what is under way, and what the schedulers make of it.

// explain says why a shard or a store is as it is.
func (s *Server) explain(l *leadership, o *beat.ExplainOrder) (*beat.Outcome, error) {
	out := &beat.Outcome{Paused: l.policy.left(s.millis())}
	switch {
	case o.Shard != 0:
		sh, err := l.view.find(o.Shard)
		if err != nil {
			return nil, err
		}
		out.Lines = l.view.shardFacts(&sh, l.policy.rulesFor(sh.Desc.Range))
		out.Operators = l.view.operatorsOf(o.Shard)
	case o.Store != 0:
		if _, ok := l.view.record(o.Store); !ok {
			return nil, invalidf("there is no store %s; 'skerry ctl store list' shows them", o.Store)
		}
		out.Lines = l.view.storeFacts(o.Store)
	default:
		return nil, invalidf("name a shard or a store to explain")
	}
	return out, nil
}

// shardFacts is what is known of a shard.
func (v *view) shardFacts(sh *schedule.Shard, rule schedule.Effective) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	d := sh.Desc
	out := []string{fmt.Sprintf("%s holds keys %s, epoch %s, about %d bytes", d.ID, d.Range, d.Epoch, sh.Bytes)}
	for _, r := range d.Replicas {
		line := fmt.Sprintf("%s on %s is a %s", r.ID, r.Store, r.Role)
		if sv := v.stores[r.Store]; sv != nil {
			line += fmt.Sprintf("; the store is %s", v.stateLocked(sv, v.env.Now()))
			if len(sv.record.labels) > 0 {
				line += " and has " + describeLabels(sv.record.labels)
			}
		} else {
			line += "; the store is not known"
		}
		if r.Store == sh.Leader {
			line += "; it leads"
		}
		out = append(out, line)
	}
	if sh.Leader == 0 {
		out = append(out, "nobody has reported that it leads: nothing can be changed until somebody does")
	}
	return append(out, describeRule(rule)...)
}

func describeRule(e schedule.Effective) []string {
	name := "the cluster's own values hold"
	if e.Name != "" {
		name = fmt.Sprintf("rule %q holds", e.Name)
	}
	line := fmt.Sprintf("%s: %d voters", name, e.Replicas)
	if len(e.Require) > 0 {
		line += " on stores that are " + constraints(e.Require)
	}
	if len(e.Leaders) > 0 {
		line += ", led where it is " + constraints(e.Leaders)
	}
	if len(e.Isolation) > 0 {
		line += fmt.Sprintf(", as far apart as possible by %v", e.Isolation)
	}
	out := []string{line}
	if n := len(e.Straddles); n > 0 {
		out = append(out, fmt.Sprintf("%d bounds of rules lie inside it; no rule holds until it is split there, which is done by itself", n))
	}
	return out
}

// operatorsOf are the operators of a shard, the one under way first.
func (v *view) operatorsOf(id shard.ID) []beat.Operator {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []beat.Operator
	if o := v.book.Of(id); o != nil {
		out = append(out, v.describeLocked(o))
	}
	for _, o := range v.book.History() {
		if o.Shard == id {
			out = append(out, v.describeLocked(o))
		}
	}
	return out
}

// storeFacts is what is known of a store.
func (v *view) storeFacts(id shard.StoreID) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	sv := v.stores[id]
	st := v.storeLocked(id)
	out := []string{fmt.Sprintf("%s at %s is %s, heard %s ago", id, sv.record.addr, sv.state.beatState(), v.env.Now().Sub(max(sv.seen, v.begun)).Round(time.Millisecond)),
		fmt.Sprintf("it has %s", describeLabels(sv.record.labels)),
		fmt.Sprintf("it holds %d replicas of about %d bytes and leads %d, once all operators have ended", st.Shards, st.Bytes, st.Leaders),
		fmt.Sprintf("it says that it holds %d and leads %d; of %d bytes of disk %d are free", sv.last.Shards, sv.last.Leaders, st.Capacity, st.Free)}
	in, from := 0, 0
	for _, o := range v.book.All() {
		if slices.Contains(o.Receives, id) {
			in++
		} else if d, ok := v.shards.Get(o.Shard); ok && holdsVoter(d, id) && !slices.Contains(operator.Targets(d, o.Goal), id) {
			from++
		}
	}
	out = append(out, fmt.Sprintf("%d operators bring it a replica, %d take one away", in, from))
	switch {
	case sv.seen == 0 && sv.state != storeRemoved:
		out = append(out, fmt.Sprintf("it was not heard since this leader of placement began, %s ago", v.clock().Round(time.Second)))
	case sv.state == storeSuspect:
		out = append(out, fmt.Sprintf("nothing is given to it; after %s without a word its replicas are replaced", v.downAfter))
	case sv.slow.is:
		out = append(out, fmt.Sprintf("a sync takes it %s, far more than the others: it gets no leaderships", sv.last.SyncTime))
	}
	return out
}

func holdsVoter(d *shard.Descriptor, id shard.StoreID) bool {
	r, ok := d.ReplicaOn(id)
	return ok && r.Role != shard.Learner
}

// storeIDsLocked are the stores by id. Requires mu.
func (v *view) storeIDsLocked() []shard.StoreID { return slices.Sorted(maps.Keys(v.stores)) }
