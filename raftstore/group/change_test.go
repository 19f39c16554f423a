package group

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/skerrydb/skerry/shard"
)

// FuzzMembershipEntry: any bytes of a membership entry either are refused, or decode to what encodes to the same.
func FuzzMembershipEntry(f *testing.F) {
	for _, c := range []shard.Change{
		{Kind: shard.AddLearner, Replica: shard.Replica{ID: 4, Store: 4, Role: shard.Learner}},
		{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{4}, Demote: []shard.ReplicaID{3}},
		{Kind: shard.LeaveJoint},
	} {
		b, err := proto.Marshal(ChangeOf(c, []byte("context")))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		cc, err := DecodeChange(b)
		if err != nil {
			return
		}
		once, err := proto.Marshal(cc)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := DecodeChange(once); err != nil || !proto.Equal(cc, again) {
			t.Fatalf("%v reads back as %v, %v", cc, again, err)
		}
	})
}
