package operator

import (
	"fmt"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/shard"
)

// TestRepairConverges follows the steps to the end, as a leader would do them: whatever the order of failures, every
// shard ends with three voters on stores that are not gone, and never has two replicas on one store or loses a quorum
// of stores that work by a step of ours.
func TestRepairConverges(t *testing.T) {
	d := &shard.Descriptor{ID: 1000, Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
	for i := 1; i <= 3; i++ {
		d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(10 + i), Store: shard.StoreID(i), Role: shard.Voter})
	}
	var stores []Store
	for i := 1; i <= 5; i++ {
		stores = append(stores, Store{ID: shard.StoreID(i), Usable: true, Shards: i})
	}
	gone := func(id int) { stores[id-1].Gone, stores[id-1].Usable = true, false }
	leader, next := shard.StoreID(2), shard.ReplicaID(100)
	var story []string
	settle := func() {
		for range 20 {
			st := Repair(d, leader, stores)
			switch {
			case st.TransferTo != 0:
				leader = st.TransferTo
				story = append(story, fmt.Sprintf("transfer to %s", leader))
			case st.Change != nil:
				c := *st.Change
				if st.NeedID {
					c.Replica.ID = next
					next++
				}
				after, err := d.Apply(c)
				if err != nil {
					t.Fatalf("%s: %v", c, err)
				}
				if err := after.Validate(); err != nil {
					t.Fatalf("%s: %v", c, err)
				}
				d = after
				story = append(story, c.String())
			default:
				return
			}
		}
		t.Fatalf("does not settle: %s", strings.Join(story, "; "))
	}
	settle()
	if len(story) != 0 {
		t.Fatalf("a healthy shard was changed: %v", story)
	}
	gone(1)
	settle()
	gone(2) // the leader's own store
	leader = 3
	settle()
	want := "add-learner r100@st4; enter-joint +r100 -r11; leave-joint; remove-learner r11; " +
		"add-learner r101@st5; enter-joint +r101 -r12; leave-joint; remove-learner r12"
	if got := strings.Join(story, "; "); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	// A leader that is itself demoted hands over first.
	d, _ = d.Apply(shard.Change{Kind: shard.AddLearner, Replica: shard.Replica{ID: 200, Store: 1}})
	d, _ = d.Apply(shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{200}, Demote: []shard.ReplicaID{13}})
	if st := Repair(d, 3, stores); st.TransferTo == 0 {
		t.Fatalf("a demoted leader was told to leave the joint configuration itself: %+v", st)
	}
	// With no store left to put a replica on, nothing is done: better fewer copies than two on one store.
	d = &shard.Descriptor{ID: 1, Replicas: []shard.Replica{{ID: 1, Store: 1, Role: shard.Voter}, {ID: 3, Store: 3, Role: shard.Voter}, {ID: 4, Store: 4, Role: shard.Voter}, {ID: 5, Store: 5, Role: shard.Voter}}}
	if st := Repair(d, 3, stores); st != (Step{}) {
		t.Fatalf("got %+v, want nothing", st)
	}
}
