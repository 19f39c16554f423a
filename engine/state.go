package engine

import (
	"github.com/skerrydb/skerry/shard"
	pb "go.etcd.io/raft/v3/raftpb"
)

// HardState is raft's: what a replica must remember before it answers.
type HardState struct{ Term, Vote, Commit uint64 }

// ReplicaState is everything that a replica starts from.
type ReplicaState struct {
	Shard   shard.ID
	Replica shard.ReplicaID
	// Desc is nil while the replica is uninitialised: born by a message, no snapshot yet.
	Desc    *shard.Descriptor
	Hard    HardState
	Applied shard.Applied
	// LastIndex and LastTerm name the last entry of the log; for a replica without entries, that of Applied.
	LastIndex, LastTerm uint64

	// recovered is set if the state was read from disk by Replicas: base is then the one on disk, as long as Applied.Index
	// is still recoveredIndex. A state that a caller made, or changed to what it installs or creates, is that of a replica
	// without log entries, whose base is its applied position.
	recovered      bool
	recoveredIndex uint64
	base           position
}

// logBase is the last entry before the local log (see hardRecord.base).
func (rs ReplicaState) logBase() position {
	if rs.recovered && rs.Applied.Index == rs.recoveredIndex {
		return rs.base
	}
	return position{index: rs.Applied.Index, term: rs.Applied.Term}
}

// truncated is the last entry that the local log does not hold: where the replicated log was cut, or where the local
// one began, whichever is later.
func (rs ReplicaState) truncated() position {
	p := rs.logBase()
	if rs.Applied.TruncIndex > p.index {
		p = position{index: rs.Applied.TruncIndex, term: rs.Applied.TruncTerm}
	}
	return p
}

func (rs ReplicaState) hardRecord() hardRecord {
	return hardRecord{replica: rs.Replica, hard: rs.Hard, base: rs.logBase()}
}

// ConfState is raft's view of who votes, for a descriptor; of nobody for nil. It never asks raft to leave a joint
// configuration by itself.
//
// A demoting voter is a voter of the outgoing half only and a learner next; an incoming voter is a voter of the incoming
// half only; a plain voter is in both, but outside a joint configuration there is no outgoing half.
func ConfState(d *shard.Descriptor) *pb.ConfState {
	cs := &pb.ConfState{AutoLeave: new(false)}
	if d == nil {
		return cs
	}
	joint := d.Joint()
	for _, r := range d.Replicas {
		id := uint64(r.ID)
		switch r.Role {
		case shard.Voter:
			cs.Voters = append(cs.Voters, id)
			if joint {
				cs.VotersOutgoing = append(cs.VotersOutgoing, id)
			}
		case shard.IncomingVoter:
			cs.Voters = append(cs.Voters, id)
		case shard.DemotingVoter:
			cs.VotersOutgoing = append(cs.VotersOutgoing, id)
			cs.LearnersNext = append(cs.LearnersNext, id)
		case shard.Learner:
			cs.Learners = append(cs.Learners, id)
		}
	}
	return cs
}
