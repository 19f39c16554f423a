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
	out := &beat.Outcome{}
	pic := l.view.picture(l.policy.current())
	switch {
	case o.Shard != 0:
		sh, err := l.view.find(o.Shard)
		if err != nil {
			return nil, err
		}
		out.Lines = append(schedule.Explain(pic, o.Shard, s.limits(l)).Lines(), l.view.replicaFacts(&sh)...)
		out.Operators = l.view.operatorsOf(o.Shard)
	case o.Store != 0:
		if _, ok := l.view.record(o.Store); !ok {
			return nil, invalidf("there is no store %s; 'skerry ctl store list' shows them", o.Store)
		}
		out.Lines = append(schedule.ExplainStore(pic, o.Store, s.limits(l)).Lines(), l.view.storeFacts(o.Store)...)
	default:
		return nil, invalidf("name a shard or a store to explain")
	}
	return out, nil
}

// replicaFacts says of each replica of a shard what its store is.
func (v *view) replicaFacts(sh *schedule.Shard) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var out []string
	for _, r := range sh.Desc.Replicas {
		line := fmt.Sprintf("its %s %s is on %s, which ", r.Role, r.ID, r.Store)
		sv := v.stores[r.Store]
		if sv == nil {
			out = append(out, line+"is not known")
			continue
		}
		line += fmt.Sprintf("is %s and has %s", v.stateLocked(sv, v.env.Now()), describeLabels(sv.record.labels))
		if sv.seen != 0 {
			line += fmt.Sprintf("; heard %s ago", v.env.Now().Sub(sv.seen).Round(time.Millisecond))
		}
		out = append(out, line)
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
	out := []string{fmt.Sprintf("it is at %s, was heard %s ago, and has %s", sv.record.addr, v.env.Now().Sub(max(sv.seen, v.begun)).Round(time.Millisecond), describeLabels(sv.record.labels)),
		fmt.Sprintf("now it holds %d replicas and leads %d; once all operators have ended, %d and %d", sv.last.Shards, sv.last.Leaders, st.Shards, st.Leaders)}
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
		out = append(out, fmt.Sprintf("nothing is given to it; after %s without a word its replicas are replaced", v.patience.downAfter))
	case sv.slow.is:
		out = append(out, fmt.Sprintf("a sync takes it %s, far more than the others: it gets no leaderships", sv.last.SyncTime))
	case sv.far.is:
		out = append(out, "messages to it take far longer than between the others: it gets no leaderships")
	}
	return out
}

func holdsVoter(d *shard.Descriptor, id shard.StoreID) bool {
	r, ok := d.ReplicaOn(id)
	return ok && r.Role != shard.Learner
}

// storeIDsLocked are the stores by id. Requires mu.
func (v *view) storeIDsLocked() []shard.StoreID { return slices.Sorted(maps.Keys(v.stores)) }
