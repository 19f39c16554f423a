package placement

import (
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// canDrain says why the other stores cannot hold what is on one, "" if they can.
func (s *Server) canDrain(l *leadership, id shard.StoreID) string {
	if err := schedule.CanDrain(l.view.picture(l.policy.current()), id, s.limits(l)); err != nil {
		return strings.TrimPrefix(err.Error(), fmt.Sprintf("drain %s: ", id))
	}
	return ""
}

// maxNewStores bounds how many stores a plan adds.
const maxNewStores = 1000

// plan runs the schedulers over a copy of the picture with a change, until they rest.
func (s *Server) plan(l *leadership, o *beat.PlanOrder) (*beat.Outcome, error) {
	v := l.view.picture(l.policy.current())
	var change schedule.Change
	switch {
	case o.Without != 0:
		change.WithoutStore = []shard.StoreID{o.Without}
	case o.Add > 0 && o.Add <= maxNewStores:
		change.AddStores = newStores(v, o.Add, o.AddBytes)
	case o.Add != 0:
		return nil, invalidf("%d new stores: it can be 1 to %d", o.Add, maxNewStores)
	}
	out, err := schedule.Plan(v, change, s.limits(l), l.term)
	if err != nil {
		return nil, invalidf("%s", err)
	}
	return &beat.Outcome{Plan: planTo(v, &out, change)}, nil
}

// newStores are empty stores with ids beyond those that there are, as large as the largest unless it is said.
func newStores(v *schedule.View, count int, capacity uint64) []schedule.Store {
	var last shard.StoreID
	var largest uint64
	for _, st := range v.Stores {
		last, largest = max(last, st.ID), max(largest, st.Capacity)
	}
	if capacity == 0 {
		capacity = largest
	}
	out := make([]schedule.Store, count)
	for i := range out {
		out[i] = schedule.Store{ID: last + shard.StoreID(i) + 1, Capacity: capacity}
	}
	return out
}

// maxUnplaced bounds how many shards a plan names that would not stand as they should.
const maxUnplaced = 100

func planTo(v *schedule.View, o *schedule.Outlook, c schedule.Change) *beat.Plan {
	out := &beat.Plan{Possible: o.UnplacedCount == 0 && !o.Unfinished, Bytes: o.Bytes, UnplacedCount: o.UnplacedCount, Unfinished: o.Unfinished}
	for _, k := range o.Count {
		out.Operators = append(out.Operators, beat.PlanCount{Kind: string(k.Kind), Count: k.Count, Bytes: k.Bytes})
	}
	capacity := make(map[shard.StoreID]uint64)
	for _, st := range v.Stores {
		capacity[st.ID] = st.Capacity
	}
	added := make(map[shard.StoreID]bool)
	for _, st := range c.AddStores {
		capacity[st.ID], added[st.ID] = st.Capacity, true
	}
	for _, st := range o.Stores {
		p := beat.PlanStore{Store: st.Store, New: added[st.Store], Capacity: capacity[st.Store], Shards: st.Before.Shards, ShardsAfter: st.After.Shards,
			Leaders: st.Before.Leaders, LeadersAfter: st.After.Leaders, Bytes: st.Before.Bytes, BytesAfter: st.After.Bytes}
		if p.New {
			p.Store = 0
		}
		out.Stores = append(out.Stores, p)
	}
	for i, u := range o.Unplaced {
		if i == maxUnplaced {
			break
		}
		out.Unplaced = append(out.Unplaced, beat.Unplaced{Shard: u.Shard, Why: u.Why})
	}
	return out
}
