package shard

import (
	"fmt"
	"strings"
)

// Epoch says how often a shard changed. Both counters only grow; they are equal only if the descriptors are equal.
type Epoch struct {
	ConfVer uint64 // grows with every step of membership
	Version uint64 // grows with every change of the range
}

func (e Epoch) String() string { return fmt.Sprintf("%d.%d", e.ConfVer, e.Version) }

// Newer reports whether e is later than o. The descriptors of one shard are totally ordered by it, because both
// counters grow along one log.
func (e Epoch) Newer(o Epoch) bool {
	return e.Version > o.Version || e.Version == o.Version && e.ConfVer > o.ConfVer
}

// Role is what a replica may do in its group.
type Role uint8

// The roles. IncomingVoter and DemotingVoter exist only inside a joint configuration (thesis section 4.3).
const (
	Voter         Role = 1 // counts in quorums
	Learner       Role = 2 // receives the log, counts in no quorum
	IncomingVoter Role = 3 // voter of the new half only
	DemotingVoter Role = 4 // voter of the old half only, a learner afterwards
)

func (r Role) String() string {
	switch r {
	case Voter:
		return "voter"
	case Learner:
		return "learner"
	case IncomingVoter:
		return "incoming"
	case DemotingVoter:
		return "demoting"
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

// Replica is one copy of a shard on a store.
type Replica struct {
	ID    ReplicaID
	Store StoreID
	Role  Role
}

func (r Replica) String() string { return fmt.Sprintf("%s@%s:%s", r.ID, r.Store, r.Role) }

// Descriptor is the agreed description of a shard at one epoch. It is immutable once built: every change makes a new
// one. Replicas are sorted by ID, and no store appears twice.
type Descriptor struct {
	ID       ID
	Range    Range
	Epoch    Epoch
	Replicas []Replica
}

// Replica returns the replica with this id.
func (d *Descriptor) Replica(id ReplicaID) (Replica, bool) {
	for _, r := range d.Replicas {
		if r.ID == id {
			return r, true
		}
	}
	return Replica{}, false
}

// ReplicaOn returns the replica on a store.
func (d *Descriptor) ReplicaOn(st StoreID) (Replica, bool) {
	for _, r := range d.Replicas {
		if r.Store == st {
			return r, true
		}
	}
	return Replica{}, false
}

// Joint reports whether the group is between two configurations.
func (d *Descriptor) Joint() bool {
	for _, r := range d.Replicas {
		if r.Role == IncomingVoter || r.Role == DemotingVoter {
			return true
		}
	}
	return false
}

func (d *Descriptor) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%s e%s", d.ID, d.Range, d.Epoch)
	for _, r := range d.Replicas {
		b.WriteByte(' ')
		b.WriteString(r.String())
	}
	return b.String()
}
