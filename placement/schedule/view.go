// Package schedule decides which shards move, and why: pure functions of a picture of the cluster. It sends nothing and
// remembers nothing but what its caller hands it; placement's leader turns its proposals into operators, and the
// placement simulator runs it over a million shards.
package schedule

import (
	"time"

	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/shard"
)

// State of a store, as placement sees it.
type State uint8

// The states of a store.
const (
	Up       State = iota
	Suspect        // silent for a while: gets nothing new, keeps what it has
	Down           // silent for so long that its replicas are replaced
	Draining       // its administrator wants it empty
	Removed        // gone for good
)

// Label is one key and value that an administrator gave to a store: zone=a, host=h7.
type Label struct{ Key, Value string }

// Store is what schedulers know of a store. Pending changes are counted as done by the caller of Propose: Shards,
// Leaders and Bytes are what the store will have when all operators have ended.
type Store struct {
	ID       shard.StoreID
	State    State
	Labels   []Label // by key, each once
	Capacity uint64  // bytes of its disk; 0 if it did not say yet
	Free     uint64  // bytes
	Bytes    uint64  // of all replicas on it, by the sizes that leaders report
	Shards   int     // replicas on it
	Leaders  int
	SlowDisk bool // its disk is slow against the others
	SlowNet  bool // it is reached slowly
	Leaving  bool // its process ends in a moment, to come back or not
	Evicting bool // it shall lead nothing
	// Work is what it has to do in a second for the shards that are Busy, by what their leaders report.
	Work float64
	// Receiving and Sending are snapshots and learners under way.
	Receiving, Sending int
}

// Label returns the value of a label, or "".
func (s *Store) Label(key string) string {
	for _, l := range s.Labels {
		if l.Key == key {
			return l.Value
		}
	}
	return ""
}

// Shard is what schedulers know of a shard.
type Shard struct {
	Desc   *shard.Descriptor
	Leader shard.StoreID // 0: not known
	Bytes  uint64
	// Work is what its leader has to do in a second (beat.Rates), and Follow what each other replica has; see Busy.
	Work, Follow float32
	// Pending is the goal of its operator; nil: it has none.
	Pending *operator.Goal
}

// View is a picture of the cluster at one moment. It is not changed by those who read it.
type View struct {
	Stores []Store // by id
	// Shards calls f for each shard in the order of keys, beginning with the one that holds from, until f returns false.
	Shards func(from shard.Key, f func(*Shard) bool)
	// Lookup returns a shard by its id, nil if there is none. If Lookup itself is nil, what needs it walks all Shards.
	Lookup func(shard.ID) *Shard
	// Count is how many shards there are.
	Count int
	Rules Rules
	// Now is the time on placement's clock, for limits by time; it has no relation to any wall clock.
	Now time.Duration
	// Paused says that what is proposed to balance will not be begun: so nothing is, else shards would rest from moves that never were.
	Paused bool
}

// Proposal is one operator that a scheduler wants.
type Proposal struct {
	Shard shard.ID
	Epoch shard.Epoch // that it was decided for
	Kind  operator.Kind
	Goal  operator.Goal
	Bytes uint64 // that will be copied
	Why   string // one sentence for a person
}
