// Package beat holds what stores and placement tell each other, and what placement tells clients: reports, answers and
// routes. All of them are values; rpc gives them their wire form.
package beat

import (
	"time"

	"github.com/skerrydb/skerry/internal/setting"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
)

// State is what placement holds a store for.
type State uint8

// The states of a store.
const (
	Up       State = 1
	Suspect  State = 2 // not heard for a while; nothing is moved yet
	Down     State = 3 // not heard for long; its replicas are to be replaced
	Draining State = 4 // an administrator wants it empty
	Removed  State = 5 // gone for good; its id never comes back
)

func (s State) String() string {
	return [...]string{"unknown", "up", "suspect", "down", "draining", "removed"}[min(int(s), 5)]
}

// Label is one key and value that an administrator gave to a store: zone=a.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Store is a store as placement knows it.
type Store struct {
	ID    shard.StoreID
	Addr  string // where its node listens
	State State
	// SeenAgo is how long ago its last heartbeat came.
	SeenAgo              time.Duration
	Used, Free, Capacity uint64 // bytes of its disk
	// Shards is how many replicas it holds, by its own word or by that of their leaders, whichever is more.
	Shards, Leaders int
	Incarnation     uint64
	Version         string // of its binary
	// Unheard: placement has a new leader, to which the store has not reported yet. What only the store could say of
	// itself, its leaderships, disk and version, is not known.
	Unheard bool
	// Draining: an administrator wants it empty, whatever State it is in.
	Draining bool
	// Evicting: an administrator wants it to lead nothing.
	Evicting bool
	Labels   []Label // by key, each once
	// Bytes is about the size of all replicas on it, by what their leaders report.
	Bytes    uint64
	SlowDisk bool // its disk is slow against the others'
	SlowNet  bool // it is reached slowly, against the others
}

// Member is one member of the placement driver.
type Member struct {
	Store   shard.StoreID // the member's number: of the first below shard.FirstUserID
	Replica shard.ReplicaID
	Addr    string
	Leader  bool
}

// Replica is what a store reports of each replica that it holds.
type Replica struct {
	Shard   shard.ID
	Replica shard.ReplicaID
	Epoch   shard.Epoch
	// Born is false while the replica waits for its first snapshot.
	Born bool
}

// Led is what a store reports of each shard that it leads.
type Led struct {
	Desc    *shard.Descriptor
	Leader  shard.ReplicaID
	Term    uint64
	Applied uint64
	Bytes   uint64 // approximate size of its data
	// Down are replicas that do not answer their leader.
	Down []shard.ReplicaID
}

// Report is a store heartbeat with the shard heartbeats of everything it leads. Led holds what changed since the last
// report that was answered, or everything if Full.
type Report struct {
	Cluster              shard.ClusterID
	Store                shard.StoreID
	Addr                 string
	Incarnation          uint64
	Version              string
	Used, Free, Capacity uint64
	Shards, Leaders      int
	// Number counts the reports of one life of the store's process, from 1 on; Since is the number of the last one that was
	// answered, which this one goes on from if it is not Full. 0: not numbered.
	Number, Since uint64
	// Versions are those of a cluster in which the program can take part, Active the one that the store goes by.
	Versions version.Range
	Active   version.Number
	// Leaving: the store's process ends in a moment. It gives its leaderships away and wants none.
	Leaving bool
	// SyncTime is how long a sync of its log takes, about; one that is under way for longer counts. 0: it made none.
	SyncTime time.Duration
	// MaxID is the largest id that the store holds, so that placement can be rebuilt from stores.
	MaxID uint64
	Full  bool
	Led   []Led
	// Rates are of shards that the store leads, those that changed or, if Full, all that are not zero. What was said
	// before holds on.
	Rates []Rate
	// Trips are the ways to other stores, of each that it talks to.
	Trips []Trip
	// Replicas lists all replicas that the store holds, if Full.
	Replicas []Replica
	// Created are shards whose creation, asked for by Answer.Create, is done.
	Created []shard.ID
}

// Answer is placement's answer to a Report.
type Answer struct {
	// Now is placement's time: the source of shard time.
	Now        shard.Millis
	SafePoints SafePoints
	// Version is the cluster's; 0: placement knows of none.
	Version  version.Number
	Settings Settings
	Members  []Member
	Stores   []Store
	// NeedFull asks for a full report: this placement leader has not heard one from that store.
	NeedFull bool
	// Create are brand-new shards of which this store holds a replica; sent until reported in Created.
	Create []*shard.Descriptor
	// Instructions are steps of operators for shards that the store leads.
	Instructions []Instruction
	// Removed says that placement holds this store for removed: it must stop.
	Removed bool
}

// SafePoints are timestamps of transactions: below Safe nothing begins and nothing is read, in the whole cluster; up to
// Collect, at most Safe, no lock is left, and versions that nobody can read any more may be collected.
type SafePoints struct {
	Safe    uint64 `json:"safe"`
	Collect uint64 `json:"collect"`
}

// Instruction is one step of an operator, addressed to the leader of a shard at an epoch. Sending it again is harmless.
type Instruction struct {
	Shard shard.ID
	Epoch shard.Epoch
	// Change is a membership step, if not nil.
	Change *shard.Change
	// TransferTo is the store that shall lead, if not zero.
	TransferTo shard.StoreID
	// SplitAt are keys at which the shard is to be split, because another placement rule begins there.
	SplitAt []shard.Key
}

// Route is what a client must know of a shard: where its replicas are and who leads. A hint: stores correct it.
type Route struct {
	Desc   *shard.Descriptor
	Leader shard.ReplicaID // 0: unknown
	Term   uint64
	// Applied is an applied index of the shard, for the first write (at most once).
	Applied uint64
	// Bytes is about the size of the shard's data; 0: not known.
	Bytes uint64
	// Reads and Writes are requests per second, about, some seconds ago.
	Reads, Writes float32
}

// Routes is one message of the route stream: a full picture first, then deltas, and a full one again whenever the
// stream cannot vouch for having sent everything.
type Routes struct {
	Full    bool
	Cluster shard.ClusterID
	Routes  []Route
	Stores  []Store
	Members []Member
}

// Settings are those that administrators made for the whole cluster. Of two, that of the larger revision holds.
type Settings struct {
	Revision uint64
	Values   setting.Values
}

// Newcomer is a store that has no id yet.
type Newcomer struct {
	Addr     string
	Version  string
	Versions version.Range
	// Token was drawn by its directory before it asked for the first time. A store that asks again because it did not hear
	// the answer gets the id that it has. 0: it has none, and gets a new id each time.
	Token uint64
}

// Registration answers a store that has no id yet.
type Registration struct {
	Cluster shard.ClusterID
	Store   shard.StoreID
	Version version.Number // of the cluster; 0: placement knows of none
}

// Candidate is a placement member that asks to take part: with Member zero a new one, which gets a number; else one of the
// first that starts late, or, with Began, one that says where it listens now.
type Candidate struct {
	Cluster shard.ClusterID // 0: it knows of none
	Member  shard.StoreID
	// Token was drawn by its directory before it asked for the first time. A member that asks again because it did not hear
	// the answer, or died before it had written anything, gets the same one; a directory that was lost has another token.
	Token    uint64
	Addr     string
	Versions version.Range
	// Began: its directory holds its replica, or had one.
	Began bool
	// Replace is the member in whose place a new one comes; 0: none.
	Replace shard.StoreID
}

// Admission answers a Candidate that may take part.
type Admission struct {
	Cluster shard.ClusterID
	Member  shard.StoreID
	// Members are those that there are.
	Members []Member
}
