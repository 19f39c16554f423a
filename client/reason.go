package client

import (
	"errors"
	"time"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// reason is why an attempt was not the last one. Each has its own backoff and its own lesson.
type reason uint8

const (
	noReason      reason = iota
	noRoute              // nobody knows which shard holds the key, or placement did not answer
	noAddress            // the replica's store is not known
	movedLeader          // another replica leads, and we know which
	noLeader             // nobody is known to lead
	staleRoute           // the shard changed since the route was learnt
	behind               // the replica is behind what we know
	notThere             // the store holds no such shard
	busy                 // a bound was reached
	fullDisk             // a store's disk is nearly full
	outdated             // the write named a term or an index that the leader cannot vouch for
	overwritten          // another leader's entry took the place of ours
	noTime               // the store has not heard placement's time lately
	cutWrong             // the shard says that a key is not its own
	neverHappened        // the outcome of an unanswered attempt
	unanswered           // no reply, or one that says nothing
	stoppedStore         // the store has stopped
	lockedOut            // another transaction holds a lock
	conflicted           // a transaction lost against another one, and begins anew
	outpaced             // a commit timestamp, or what was read, was overtaken
	reasonCount   = iota
)

// reloadingAfter so many occurrences of some reasons, placement may know better.
const reloadingAfter = 3

// backoff returns how often a reason may occur in one effort before it is waited for, and between which times the first
// and the longest random wait then lie (full jitter: see AWS, "Exponential Backoff And Jitter").
func (r reason) backoff() (free int, base, longest time.Duration) {
	switch r {
	case movedLeader, outdated, neverHappened:
		return 2, 2 * time.Millisecond, 250 * time.Millisecond // what was learnt makes the next attempt a good one
	case staleRoute:
		return 3, 2 * time.Millisecond, 500 * time.Millisecond
	case noLeader, behind:
		return 0, 4 * time.Millisecond, 500 * time.Millisecond // a transfer takes a few milliseconds, an election longer; or an apply is under way
	case busy:
		return 0, 20 * time.Millisecond, 2 * time.Second
	case lockedOut:
		return 0, 2 * time.Millisecond, 100 * time.Millisecond // most locks stand for a round trip or two
	case conflicted:
		return 0, 2 * time.Millisecond, 200 * time.Millisecond
	case outpaced:
		return 2, 2 * time.Millisecond, 100 * time.Millisecond
	case noTime, fullDisk:
		return 0, 100 * time.Millisecond, time.Second
	}
	return 1, 10 * time.Millisecond, time.Second
}

// reloads reports whether placement is asked again after reloadingAfter occurrences.
func (r reason) reloads() bool {
	switch r {
	case noAddress, noLeader, staleRoute, behind, notThere, unanswered, stoppedStore, cutWrong:
		return true
	}
	return false
}

// classify names the reason of an error of a store. Of a write attempt, everything but unanswered and stoppedStore is
// definite: nothing happened. noReason is left for what must not be tried again: see isRejected and isUnknown.
func classify(err error) reason {
	if err == shard.ErrUnavailable {
		return unanswered
	}
	if as[*shard.NotLeaderError](err) {
		return noLeader // movedLeader if it names another one; see learn
	}
	switch {
	case as[*shard.StaleEpochError](err):
		return staleRoute
	case as[*shard.NotReadyError](err):
		return behind
	case as[*shard.ServerBusyError](err):
		return busy
	case as[*shard.DiskFullError](err):
		return fullDisk
	case as[*shard.RefreshError](err):
		return outdated
	case as[*shard.NotFoundError](err), isForeign(err): // the address is another cluster's by now; ours may be elsewhere
		return notThere
	case as[*shard.OverwrittenError](err):
		return overwritten
	case as[*shard.KeyNotInShardError](err):
		return cutWrong
	case as[*call.NeverError](err):
		return neverHappened
	case as[*shard.BrokenError](err):
		return stoppedStore
	case errors.Is(err, shard.ErrNoFreshTime), as[*shard.TooNewError](err):
		return noTime
	case isRejected(err), isUnknown(err):
		return noReason
	}
	return unanswered
}

// isRejected reports an answer that is the same wherever it is asked.
func isRejected(err error) bool {
	return as[*shard.InvalidError](err) || as[*shard.VersionError](err)
}

// isForeign reports an answer of another cluster: nothing happened.
func isForeign(err error) bool { return as[*shard.WrongClusterError](err) }

// isUnknown reports that the fate of an attempt will never be known.
func isUnknown(err error) bool { return as[*shard.AmbiguousError](err) }

func as[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
