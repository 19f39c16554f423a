// Package operator decides what to do with one shard: pure functions of its descriptor and of a picture of the stores.
//
// A plan is not remembered anywhere: each step is derived from the descriptor that the leader reports, so sending it
// again is harmless (the epoch says whether it is done) and a new placement leader goes on where the old one was.
package operator

import (
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/shard"
)

// Store is what a plan must know of a store.
type Store struct {
	ID shard.StoreID
	// Usable: new replicas may be placed here.
	Usable bool
	// Gone: replicas here are to be replaced.
	Gone   bool
	Shards int
}

// Step is the next thing to ask of a shard's leader. At most one field is set; none means that nothing is to be done.
type Step struct {
	Change     *shard.Change
	TransferTo shard.StoreID
	// NeedID asks for a fresh replica id for the learner in Change.
	NeedID bool
}

// Repair returns the step that brings a shard nearer to having all its replicas on stores that are not gone:
//
//	joint configuration                      -> leave it (a leader that is demoted hands over first)
//	a learner stands in for a gone voter     -> promote it and demote the gone one, jointly
//	a learner on a gone store                -> remove it
//	a voter on a gone store                  -> add a learner elsewhere
//
// leader is the store that leads.
func Repair(d *shard.Descriptor, leader shard.StoreID, stores []Store) Step {
	if d.Joint() {
		return leave(d, leader)
	}
	gone := make(map[shard.StoreID]bool)
	for _, s := range stores {
		gone[s.ID] = s.Gone
	}
	var lost, spare []shard.Replica
	for _, r := range d.Replicas {
		switch {
		case gone[r.Store] && r.Role == shard.Learner:
			return Step{Change: &shard.Change{Kind: shard.RemoveLearner, Replica: r}}
		case gone[r.Store]:
			lost = append(lost, r)
		case r.Role == shard.Learner:
			spare = append(spare, r)
		}
	}
	switch {
	case bug.RemoveBeforeAdd.On() && len(lost) > 0 && len(d.Replicas) == 3:
		return Step{Change: &shard.Change{Kind: shard.EnterJoint, Demote: []shard.ReplicaID{lost[0].ID}}}
	case len(lost) > 0 && len(spare) > 0:
		return Step{Change: &shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{spare[0].ID}, Demote: []shard.ReplicaID{lost[0].ID}}}
	case len(lost) > 0:
		if to, ok := candidate(d, stores); ok {
			return Step{NeedID: true, Change: &shard.Change{Kind: shard.AddLearner, Replica: shard.Replica{Store: to, Role: shard.Learner}}}
		}
	}
	return Step{}
}

// leave ends a joint configuration. A leader that would be demoted by that transfers first, to a voter of the new half.
func leave(d *shard.Descriptor, leader shard.StoreID) Step {
	lead, ok := d.ReplicaOn(leader)
	if ok && lead.Role == shard.DemotingVoter {
		for _, r := range d.Replicas {
			if r.Role == shard.Voter || r.Role == shard.IncomingVoter {
				return Step{TransferTo: r.Store}
			}
		}
	}
	return Step{Change: &shard.Change{Kind: shard.LeaveJoint}}
}

// candidate is the usable store with the fewest shards that holds no replica of d yet.
func candidate(d *shard.Descriptor, stores []Store) (shard.StoreID, bool) {
	free := slices.DeleteFunc(slices.Clone(stores), func(s Store) bool {
		_, taken := d.ReplicaOn(s.ID)
		return taken || !s.Usable
	})
	if len(free) == 0 {
		return 0, false
	}
	best := slices.MinFunc(free, func(a, b Store) int {
		if a.Shards != b.Shards {
			return a.Shards - b.Shards
		}
		return int(int64(a.ID) - int64(b.ID))
	})
	return best.ID, true
}

// Spread plans the first replicas of n shards: each on `replicas` different stores, round robin, so that every store
// gets the same number of replicas and of first replicas.
func Spread(n, replicas int, stores []shard.StoreID) [][]shard.StoreID {
	out := make([][]shard.StoreID, n)
	for i := range out {
		for j := range replicas {
			out[i] = append(out[i], stores[(i+j)%len(stores)])
		}
	}
	return out
}
