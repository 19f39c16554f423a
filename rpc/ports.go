package rpc

import (
	"context"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/call"
)

// Store is what a node serves of each of its stores: *raftstore.Store.
type Store interface {
	ID() shard.StoreID
	// Handle takes a client's requests; it does not block on them. The slice stays the caller's, what it points to does not.
	Handle([]call.Ask)
	// Do is Handle for one request, and waits.
	Do(ctx context.Context, req *call.Request) call.Reply
	// Receive takes a frame of another store and owns it.
	Receive(from shard.StoreID, frame []byte)
	// ReceiveSnapshot returns when the snapshot is installed or found not to be needed. What next returns is the store's until it calls it
	// again, the header for good.
	ReceiveSnapshot(ctx context.Context, header []byte, next func() ([]byte, error)) error
	// Memory is the budget of what is under way for the store; nil counts nothing.
	Memory() *budget.Budget
}

// Placement is what a placement member serves: *placement.Server. A member that does not lead returns a
// *shard.NotLeaderError for shard.MetaID.
type Placement interface {
	Register(ctx context.Context, n beat.Newcomer) (beat.Registration, error)
	Heartbeat(ctx context.Context, r *beat.Report) (*beat.Answer, error)
	// Locate returns the routes from a key on, at most limit of them.
	Locate(ctx context.Context, key shard.Key, limit int) (*beat.Routes, error)
	// Watch calls send with a full picture and then with changes, until ctx ends or send fails.
	Watch(ctx context.Context, send func(*beat.Routes) error) error
	AllocIDs(ctx context.Context, count int) (first uint64, err error)
	Timestamps(ctx context.Context, count int) (first uint64, err error)
	// JoinMember gives a new member its number, lets one of the first begin, or takes the new address of one that moved.
	JoinMember(ctx context.Context, m beat.Candidate) (beat.Admission, error)
	// RemoveStore declares a store gone for good.
	RemoveStore(ctx context.Context, id shard.StoreID) error
	// Administer does what an administrator asks for, or says what it would do.
	Administer(ctx context.Context, o *beat.Order) (*beat.Outcome, error)
}

// NodeInfo is what a node says of itself without asking anybody.
type NodeInfo struct {
	Cluster shard.ClusterID
	Version string
	Addr    string
	Stores  []shard.StoreID
	Members []string // addresses of placement members
	// Member is the placement member on this node, 0 without one.
	Member shard.StoreID
	// Versions are those of a cluster in which the program can take part, Active the one that the member goes by.
	Versions version.Range
	Active   version.Number
}

// ReplicaInfo is one replica as its store sees it; see raftstore.ReplicaStatus.
type ReplicaInfo struct {
	Store     shard.StoreID
	Desc      *shard.Descriptor
	Replica   shard.ReplicaID
	Leader    shard.Replica
	Term      uint64
	Applied   uint64
	Committed uint64
	Last      uint64
	Truncated uint64
	Leading   bool
	Asleep    bool
	LogBytes  int64
	Followers []FollowerInfo
}

// FollowerInfo is how far another replica is, as its leader sees it.
type FollowerInfo struct {
	Replica shard.ReplicaID
	Match   uint64
	State   string
	Active  bool
}

// Node is what every node serves to administrators.
type Node interface {
	Info() NodeInfo
	Replicas(ctx context.Context, id shard.ID) ([]ReplicaInfo, error)
	TransferLeader(ctx context.Context, id shard.ID, to shard.StoreID) error
	Change(ctx context.Context, id shard.ID, epoch shard.Epoch, c shard.Change) error
	// Split cuts a shard that is led here at keys, or, without any, into parts of about equal size.
	Split(ctx context.Context, id shard.ID, epoch shard.Epoch, at []shard.Key, into int) ([]*shard.Descriptor, error)
}
