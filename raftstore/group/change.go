package group

import (
	"fmt"

	pb "go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"github.com/skerrydb/skerry/shard"
)

// ChangeOf gives a step of membership raft's form. context is the command that apply evaluates; raft carries it.
//
// A learner is added or removed alone, which the simple protocol does. Everything else enters a joint configuration
// explicitly and leaves it by a change without parts (thesis section 4.3, rule 15).
func ChangeOf(c shard.Change, context []byte) *pb.ConfChangeV2 {
	cc := &pb.ConfChangeV2{Context: context}
	add := func(typ pb.ConfChangeType, id shard.ReplicaID) {
		cc.Changes = append(cc.Changes, &pb.ConfChangeSingle{Type: typ.Enum(), NodeId: new(uint64(id))})
	}
	switch c.Kind {
	case shard.AddLearner:
		add(pb.ConfChangeAddLearnerNode, c.Replica.ID)
	case shard.RemoveLearner:
		add(pb.ConfChangeRemoveNode, c.Replica.ID)
	case shard.EnterJoint:
		cc.Transition = pb.ConfChangeTransitionJointExplicit.Enum()
		for _, id := range c.Promote {
			add(pb.ConfChangeAddNode, id)
		}
		for _, id := range c.Demote {
			add(pb.ConfChangeAddLearnerNode, id)
		}
	}
	return cc
}

// DecodeChange reads the data of a membership entry.
func DecodeChange(data []byte) (*pb.ConfChangeV2, error) {
	cc := new(pb.ConfChangeV2)
	if err := proto.Unmarshal(data, cc); err != nil {
		return nil, fmt.Errorf("membership entry: %w", err)
	}
	return cc, nil
}
