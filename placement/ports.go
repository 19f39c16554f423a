// Package placement is the driver that says which stores there are, which of them hold which shards, and which ids and
// timestamps are taken. It is a customer of Raft and not a second implementation: its metadata are ordinary keys in
// shard 1, which the same raftstore replicates, and that shard's leader is the active driver.
//
// Only what must survive lives there: the cluster's id, the bounds of ids and timestamps, stores, the first shards. All
// else is soft state that heartbeats rebuild within seconds after the leader changed.
//
// Goroutines: run, which notices when this member begins or ceases to lead, loads, and does what is due; scheduling,
// which looks at the picture that heartbeats make and begins operators; and members, which changes the members of shard 1
// until they are those on record. Requests run on their callers' goroutines.
package placement

import (
	"context"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// MetaStore is shard 1 as placement uses it. A guarded batch is its transaction.
type MetaStore interface {
	// Commit executes a command at most once. An error of class routing, or ErrAmbiguous, ends this leader's attempt;
	// the caller loads again before it goes on.
	Commit(ctx context.Context, cmd *raw.Command) (raw.Result, error)
	// Read is linearizable.
	Read(ctx context.Context, q *raw.Query) (raw.Answer, error)
	// Leading returns the term that this member leads and has applied everything of, 0 if it does not lead. It is a
	// hint; Confirm is the proof.
	Leading() uint64
	// Confirm returns the term that this member led at some moment after the call began.
	Confirm(ctx context.Context) (uint64, error)
	// Active are the members that have taken part in this leader's term; only a leader knows.
	Active(ctx context.Context) []shard.StoreID
	// Leader is the member that leads, as far as is known; zero otherwise.
	Leader() shard.Replica
	// Descriptor is shard 1 as this member has it, never nil and empty if it has no data yet.
	Descriptor() *shard.Descriptor
	// Live reports whether another member is heard, as far as its store goes.
	Live(id shard.StoreID) bool
	// Change does one step of membership at this leader, and returns when it is applied.
	Change(ctx context.Context, epoch shard.Epoch, c shard.Change) error
	// TransferLeader begins to hand over to another voter.
	TransferLeader(ctx context.Context, to shard.StoreID) error
}
