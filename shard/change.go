package shard

import (
	"fmt"
	"slices"
	"strings"

	"github.com/skerrydb/skerry/internal/codec"
)

// ChangeKind is one of the four steps of which every change of membership is made.
type ChangeKind uint8

// The kinds. They are part of the log format.
const (
	// AddLearner adds Change.Replica, an ID on a Store that holds none.
	AddLearner ChangeKind = 1
	// RemoveLearner removes the learner Change.Replica.ID.
	RemoveLearner ChangeKind = 2
	// EnterJoint makes the learners of Promote voters of the new half and the voters of Demote voters of the old half
	// only. Both halves must agree until LeaveJoint (thesis section 4.3).
	EnterJoint ChangeKind = 3
	// LeaveJoint ends the joint configuration: incoming voters become voters, demoted ones learners.
	LeaveJoint ChangeKind = 4
)

func (k ChangeKind) String() string {
	switch k {
	case AddLearner:
		return "add-learner"
	case RemoveLearner:
		return "remove-learner"
	case EnterJoint:
		return "enter-joint"
	case LeaveJoint:
		return "leave-joint"
	}
	return fmt.Sprintf("change(%d)", uint8(k))
}

// Change is one step of membership. A move is five of them: add a learner, (snapshot,) enter a joint configuration that
// promotes it and demotes another, leave it, remove the demoted learner.
//
// INVARIANT: everything but adding or removing a learner is joint, also where one voter more or less would be safe, so
// that there is one path to test and no order of single steps passes through a weaker configuration.
type Change struct {
	Kind    ChangeKind
	Replica Replica     // AddLearner: ID and Store; RemoveLearner: ID. The Role is not read.
	Promote []ReplicaID // EnterJoint: learners
	Demote  []ReplicaID // EnterJoint: voters
}

func (c Change) String() string {
	var b strings.Builder
	b.WriteString(c.Kind.String())
	switch c.Kind {
	case AddLearner:
		fmt.Fprintf(&b, " %s@%s", c.Replica.ID, c.Replica.Store)
	case RemoveLearner:
		fmt.Fprintf(&b, " %s", c.Replica.ID)
	case EnterJoint:
		for _, id := range c.Promote {
			fmt.Fprintf(&b, " +%s", id)
		}
		for _, id := range c.Demote {
			fmt.Fprintf(&b, " -%s", id)
		}
	}
	return b.String()
}

// Apply returns the descriptor after c. Each step raises ConfVer by one. An error is an *InvalidError, the same on
// every replica, and means that nothing changed.
func (d *Descriptor) Apply(c Change) (*Descriptor, error) {
	if c.Kind != LeaveJoint && d.Joint() {
		return nil, invalidf("%s of %s: it is in a joint configuration; leave it first", c, d.ID)
	}
	out := &Descriptor{ID: d.ID, Range: d.Range, Epoch: d.Epoch, Replicas: slices.Clone(d.Replicas)}
	out.Epoch.ConfVer++
	var err error
	switch c.Kind {
	case AddLearner:
		err = out.addLearner(c)
	case RemoveLearner:
		err = out.removeLearner(c)
	case EnterJoint:
		err = out.enterJoint(c)
	case LeaveJoint:
		err = out.leaveJoint(c)
	default:
		err = invalidf("%s of %s: unknown kind", c, d.ID)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (d *Descriptor) addLearner(c Change) error {
	r := Replica{ID: c.Replica.ID, Store: c.Replica.Store, Role: Learner}
	if r.ID == 0 || r.Store == 0 {
		return invalidf("%s of %s: zero id", c, d.ID)
	}
	if _, ok := d.Replica(r.ID); ok {
		return invalidf("%s of %s: the replica id is taken; ask for a fresh one", c, d.ID)
	}
	if have, ok := d.ReplicaOn(r.Store); ok {
		return invalidf("%s of %s: %s is there already; never two replicas of a shard on one store", c, d.ID, have)
	}
	d.Replicas = append(d.Replicas, r)
	sortReplicas(d.Replicas)
	return nil
}

func (d *Descriptor) removeLearner(c Change) error {
	i := d.indexOf(c.Replica.ID)
	if i < 0 || d.Replicas[i].Role != Learner {
		return invalidf("%s of %s: no such learner; demote a voter in a joint change first", c, d.ID)
	}
	d.Replicas = slices.Delete(d.Replicas, i, i+1)
	return nil
}

func (d *Descriptor) enterJoint(c Change) error {
	if len(c.Promote)+len(c.Demote) == 0 {
		return invalidf("%s of %s: nothing to promote or demote", c, d.ID)
	}
	// A replica named twice is no longer in the role that its second mention asks for.
	for _, id := range c.Promote {
		if err := d.turn(c, id, Learner, IncomingVoter); err != nil {
			return err
		}
	}
	for _, id := range c.Demote {
		if err := d.turn(c, id, Voter, DemotingVoter); err != nil {
			return err
		}
	}
	if _, newHalf := d.halves(); newHalf == 0 {
		return invalidf("%s of %s: no voter would be left", c, d.ID)
	}
	return nil
}

// turn gives the replica id another role.
func (d *Descriptor) turn(c Change, id ReplicaID, from, to Role) error {
	i := d.indexOf(id)
	if i < 0 || d.Replicas[i].Role != from {
		return invalidf("%s of %s: %s is not a %s", c, d.ID, id, from)
	}
	d.Replicas[i].Role = to
	return nil
}

func (d *Descriptor) leaveJoint(c Change) error {
	if !d.Joint() {
		return invalidf("%s of %s: it is in no joint configuration", c, d.ID)
	}
	for i := range d.Replicas {
		switch d.Replicas[i].Role {
		case IncomingVoter:
			d.Replicas[i].Role = Voter
		case DemotingVoter:
			d.Replicas[i].Role = Learner
		}
	}
	return nil
}

func (d *Descriptor) indexOf(id ReplicaID) int {
	return slices.IndexFunc(d.Replicas, func(r Replica) bool { return r.ID == id })
}

const changeVersion = 1

// Append appends the encoding of c.
func (c Change) Append(b []byte) []byte {
	b = append(b, changeVersion, byte(c.Kind))
	b = codec.AppendUvarint(b, uint64(c.Replica.ID))
	b = codec.AppendUvarint(b, uint64(c.Replica.Store))
	b = AppendReplicaIDs(b, c.Promote)
	return AppendReplicaIDs(b, c.Demote)
}

// ReadChange reads what Append wrote from the front of d. The caller checks d.Err. An unknown kind is left to Apply,
// which refuses it.
func ReadChange(d *codec.Decoder) Change {
	d.Version(changeVersion)
	return Change{
		Kind:    ChangeKind(d.Byte()),
		Replica: Replica{ID: ReplicaID(d.Uvarint()), Store: StoreID(d.Uvarint())},
		Promote: ReadReplicaIDs(d),
		Demote:  ReadReplicaIDs(d),
	}
}

// DecodeChange reads one change and nothing after it.
func DecodeChange(b []byte) (Change, error) {
	d := codec.Decoder{B: b}
	c := ReadChange(&d)
	if err := d.Done(); err != nil {
		return Change{}, fmt.Errorf("membership change: %w", err)
	}
	return c, nil
}

// AppendReplicaIDs appends a list of replica ids.
func AppendReplicaIDs(b []byte, ids []ReplicaID) []byte {
	b = codec.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = codec.AppendUvarint(b, uint64(id))
	}
	return b
}

// ReadReplicaIDs reads what AppendReplicaIDs wrote; nil if the list is empty. The caller checks d.Err.
func ReadReplicaIDs(d *codec.Decoder) []ReplicaID {
	var ids []ReplicaID
	for range d.Count(1) {
		ids = append(ids, ReplicaID(d.Uvarint()))
	}
	return ids
}
