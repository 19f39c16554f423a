package operator

import "github.com/skerrydb/skerry/shard"

// Kind says what an operator is for.
type Kind string

// The kinds of operators, in the order in which they come first when there is not room for all.
const (
	Finish         Kind = "finish"          // end a change whose operator is gone: a joint configuration, a spare learner
	Replace        Kind = "replace"         // a replica of a store that is down or removed
	AddReplica     Kind = "add-replica"     // the shard has too few
	RemoveReplica  Kind = "remove-replica"  // the shard has too many
	FixRule        Kind = "fix-rule"        // a replica stands where a rule does not want it
	Drain          Kind = "drain"           // move what a draining store holds
	EvictLeaders   Kind = "evict-leaders"   // lead elsewhere than on a store that shall lead nothing
	EvadeSlow      Kind = "evade-slow"      // lead elsewhere than on a slow store
	Move           Kind = "move"            // by hand
	TransferLeader Kind = "transfer-leader" // by hand
	Scatter        Kind = "scatter"         // by hand
	BalanceShards  Kind = "balance-shards"
	BalanceLeaders Kind = "balance-leaders"
	BalanceLoad    Kind = "balance-load"
)

// Goal is where the replicas of a shard shall be. It is a value; whatever step is due next follows from it and from the
// shard's descriptor alone.
type Goal struct {
	// Voters are the stores of its voters, in ascending order, each once. Empty: as they are.
	Voters []shard.StoreID
	// Leader is the store that shall lead; it is one of the voters. 0: any.
	Leader shard.StoreID
}
