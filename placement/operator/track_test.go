package operator

import (
	"testing"

	"github.com/skerrydb/skerry/shard"
)

// TestTrackSees: what a report of the shard says about each kind of step.
func TestTrackSees(t *testing.T) {
	v := func(id, store uint64, role shard.Role) shard.Replica {
		return shard.Replica{ID: shard.ReplicaID(id), Store: shard.StoreID(store), Role: role}
	}
	whole := &shard.Descriptor{ID: 7, Epoch: shard.Epoch{ConfVer: 3, Version: 2}, Replicas: []shard.Replica{v(1, 1, shard.Voter), v(2, 2, shard.Voter), v(3, 3, shard.Voter)}}
	apply := func(d *shard.Descriptor, c shard.Change) *shard.Descriptor {
		t.Helper()
		out, err := d.Apply(c)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	add := shard.Change{Kind: shard.AddLearner, Replica: shard.Replica{ID: 4, Store: 4}}
	learner := apply(whole, add)
	enter := shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{4}, Demote: []shard.ReplicaID{1}}
	joint := apply(learner, enter)
	leave := shard.Change{Kind: shard.LeaveJoint}
	left := apply(joint, leave)
	remove := shard.Change{Kind: shard.RemoveLearner, Replica: shard.Replica{ID: 1}}
	over := apply(left, remove)
	elsewhere := *whole
	elsewhere.Epoch.Version++
	plan := add
	plan.Replica.ID = 0
	for _, c := range []struct {
		name   string
		d      *shard.Descriptor // when it was planned
		step   Step
		after  *shard.Descriptor
		leader shard.StoreID
		want   StepEvent
		ok     bool
	}{
		{"add: as before", whole, Step{Change: &plan, NeedID: true}, whole, 1, 0, false},
		{"add: done", whole, Step{Change: &plan, NeedID: true}, learner, 1, TookEffect, true},
		{"add: split instead", whole, Step{Change: &plan, NeedID: true}, &elsewhere, 1, WasOvertaken, true},
		{"enter: done", learner, Step{Change: &enter}, joint, 1, TookEffect, true},
		{"enter: gone past", learner, Step{Change: &enter}, left, 1, WasOvertaken, true},
		{"leave: done", joint, Step{Change: &leave}, left, 1, TookEffect, true},
		{"leave: as before, led elsewhere", joint, Step{Change: &leave}, joint, 2, 0, false},
		{"remove: done", left, Step{Change: &remove}, over, 2, TookEffect, true},
		{"transfer: as before", joint, Step{TransferTo: 2}, joint, 1, 0, false},
		{"transfer: done", joint, Step{TransferTo: 2}, joint, 2, TookEffect, true},
		{"transfer: left meanwhile", joint, Step{TransferTo: 2}, left, 3, WasOvertaken, true},
	} {
		tr := Track{Step: c.step, Epoch: c.d.Epoch}
		if on, ok := tr.Shows(c.after, c.leader); ok != c.ok || ok && on != c.want {
			t.Errorf("%s: %s, %t", c.name, stepTable.Event(on), ok)
		}
		if !tr.Is(c.d, c.step) || tr.Is(&elsewhere, Step{}) {
			t.Errorf("%s: it is not what was planned", c.name)
		}
	}
}
