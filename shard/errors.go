package shard

import (
	"fmt"
	"time"

	"github.com/skerrydb/skerry/internal/fault"
)

// Errors come in three classes that are never mixed:
//
//   - routing: the request does not belong here, or not now. Nothing happened. The error carries what the caller needs
//     to go on (NotLeader, StaleEpoch, NotReady, ShardNotFound, ServerBusy, DiskFull, Refresh, UseTwoPhase).
//   - rejected: a deterministic answer, the same on every replica (KeyNotInShard, InvalidRequest); or one that follows from
//     the request and the time alone (TooNew).
//   - broken: the store cannot go on (Broken).
//
// Only Ambiguous says that something may have happened.

// NotLeaderError says that the replica does not lead its group. Nothing happened.
type NotLeaderError struct {
	Shard  ID
	Leader Replica // zero if unknown
	Term   uint64
}

func (e *NotLeaderError) Error() string {
	if e.Leader.ID == 0 {
		return fmt.Sprintf("%s: not leader at term %d, leader unknown", e.Shard, e.Term)
	}
	return fmt.Sprintf("%s: not leader at term %d, leader is %s on %s", e.Shard, e.Term, e.Leader.ID, e.Leader.Store)
}

// StaleEpochError says that the request was made with an older descriptor than the replica's. Nothing happened.
// Current holds what now covers the range of the request, newest first known here.
type StaleEpochError struct {
	Shard   ID
	Current []*Descriptor
}

func (e *StaleEpochError) Error() string {
	return fmt.Sprintf("%s: stale epoch, %d current descriptor(s)", e.Shard, len(e.Current))
}

// NoShardsYet is why a new cluster serves nothing: of a NotReadyError, and for people who look at its status.
const NoShardsYet = "no shards exist yet: placement waits for stores to register"

// NotReadyError says that the replica is behind the request's epoch, or has not yet applied what it must know before
// it can serve. Nothing happened; the caller keeps its route and tries again.
type NotReadyError struct {
	Shard ID
	Epoch Epoch // of the replica
	Why   string
}

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("%s: not ready at epoch %s: %s", e.Shard, e.Epoch, e.Why)
}

// NotFoundError says that this store holds no such shard. Nothing happened.
type NotFoundError struct {
	Shard ID
	Store StoreID
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("%s: not on %s", e.Shard, e.Store) }

// ServerBusyError says that a bound was reached, or that it is too early. Nothing happened; try again after Wait. Store is 0
// if it is placement that says so.
type ServerBusyError struct {
	Store StoreID
	Why   string
	Wait  time.Duration
}

func (e *ServerBusyError) Error() string {
	who := e.Store.String()
	if e.Store == 0 {
		who = "placement"
	}
	return fmt.Sprintf("%s: busy: %s; try again in %s", who, e.Why, e.Wait)
}

// DiskFullError says that the disk of a store is nearly full: its shards take nothing that adds data, but deletes, reads,
// and moves to other stores. Nothing happened. Free and Low are what is free there and what must be, in bytes; zero if the
// store is not the one that answers.
type DiskFullError struct {
	Store     StoreID
	Free, Low uint64
}

func (e *DiskFullError) Error() string {
	left := ""
	if e.Low != 0 {
		left = fmt.Sprintf(" (%d MiB free, %d MiB are kept)", e.Free>>20, e.Low>>20)
	}
	return fmt.Sprintf("%s: the disk is nearly full%s; delete keys, move shards to other stores, or add a store", e.Store, left)
}

// RefreshError says that an attempt of a write named a term or an index that this leader cannot vouch for. Nothing
// happened; a fresh attempt names the Term and Applied given here.
type RefreshError struct {
	Shard   ID
	Term    uint64
	Applied uint64
}

func (e *RefreshError) Error() string {
	return fmt.Sprintf("%s: attempt is out of date, leader is at term %d applied %d", e.Shard, e.Term, e.Applied)
}

// OverwrittenError says that the log entry of an attempt was replaced by another leader's. Nothing happened.
type OverwrittenError struct{ Shard ID }

func (e *OverwrittenError) Error() string {
	return fmt.Sprintf("%s: entry overwritten by another leader", e.Shard)
}

// KeyNotInShardError says that a key lies outside the shard that was asked. The caller cut its request wrongly.
type KeyNotInShardError struct {
	Shard ID
	Key   Key
	Range Range
}

func (e *KeyNotInShardError) Error() string {
	return fmt.Sprintf("%s: key %s is outside %s", e.Shard, e.Key, e.Range)
}

// InvalidError says what was wrong with a request and what to do; trying again does not help.
type InvalidError struct{ Why string }

func (e *InvalidError) Error() string { return "invalid request: " + e.Why }

// AmbiguousError says that an attempt may or may not have taken effect, and will never be known.
type AmbiguousError struct {
	Shard ID
	Why   string
}

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s: outcome unknown: %s", e.Shard, e.Why)
}

// WrongClusterError says that the other side belongs to another cluster.
type WrongClusterError struct{ Want, Have ClusterID }

func (e *WrongClusterError) Error() string {
	return fmt.Sprintf("wrong cluster: this is %s, the other side is %s", e.Have, e.Want)
}

// BrokenError says that the store has stopped because going on could damage data.
type BrokenError struct {
	Store StoreID
	Why   string
}

func (e *BrokenError) Error() string { return fmt.Sprintf("%s: stopped: %s", e.Store, e.Why) }

// UseTwoPhaseError says that the leader may not compute commit timestamps now: it has not heard a timestamp since it
// became leader, or since its shard was split off. Nothing happened; commit in two phases, or try again.
type UseTwoPhaseError struct {
	Shard ID
	Why   string
}

func (e *UseTwoPhaseError) Error() string {
	return fmt.Sprintf("%s: no commit timestamp can be computed now: %s; commit in two phases, or try again", e.Shard, e.Why)
}

// TooNewError says that a request names a timestamp that placement cannot have issued yet: it lies above Limit, which is
// placement's time as the store knows it and a margin. Nothing happened; fetch a timestamp.
type TooNewError struct {
	Shard            ID
	Timestamp, Limit uint64
}

func (e *TooNewError) Error() string {
	return fmt.Sprintf("%s: timestamp %d lies in the future, above %d; fetch one from placement", e.Shard, e.Timestamp, e.Limit)
}

// VersionError says that a program cannot take part in the cluster, because it knows versions Oldest to Newest and the
// cluster has another.
type VersionError struct{ Cluster, Oldest, Newest uint64 }

func (e *VersionError) Error() string {
	if e.Cluster > e.Newest {
		return fmt.Sprintf("the cluster has version %d and this program knows %d to %d: it is too old; start one as new as that of the other nodes ('skerry ctl version show' lists them)",
			e.Cluster, e.Oldest, e.Newest)
	}
	return fmt.Sprintf("the cluster has version %d and this program knows %d to %d: it is too new; finalize the upgrade before ('skerry ctl version finalize') and come by way of the release between",
		e.Cluster, e.Oldest, e.Newest)
}

// Sentinels without data.
var (
	// ErrClosed is returned by a store, a client or a placement member that is shutting down.
	ErrClosed = fault.New(fault.Closed, "closed")
	// ErrNoFreshTime is returned for writes with a TTL and for transactions while the store has not heard placement's time
	// lately.
	ErrNoFreshTime = fault.New(fault.NoFreshTime, "placement's time was not heard lately; writes with a TTL and transactions are refused until it is")
	// ErrUnavailable is returned when a peer could not be reached; whether it got the request is not known.
	ErrUnavailable = fault.New(fault.Unreachable, "unavailable")
)
