// Package call holds what crosses between a client and a store: requests to one shard and their replies, and the frames
// that carry many of them. Bodies are opaque here: shard/raw and shard/mvcc give them their meaning, by their first byte,
// and a store copies the body of a write from the wire into its log as it is, but for the floor of a command that computes
// a timestamp.
package call

import (
	"time"

	"github.com/skerrydb/skerry/shard"
)

// OpID names one attempt of a write: never two attempts the same, also not two of one SDK call.
type OpID struct {
	Client uint64 // random, drawn when the client opens
	Seq    uint64 // counts that client's attempts
}

// Kind says what a Request asks for.
type Kind uint8

// The kinds of requests. They are part of the wire format.
const (
	// Write puts Body (a command) into the shard's log. A raw one needs Op, Term and Since. A command of a transaction has
	// none of them: it is known by its keys and start_ts, and may be sent again after any answer and after none (rule T7).
	Write Kind = 1
	// Read evaluates Body (a query) on the leader, linearizably, or with Follower set on any replica, as linearizably.
	Read Kind = 2
	// Refresh asks the leader for its Term and Applied.
	Refresh Kind = 3
	// Outcome asks what became of the write attempt Op, made at Term and Since. It goes to the shard by id, without
	// epoch check. The reply is the attempt's own reply if it was applied, NeverError if it never was and never will
	// be, AmbiguousError if that is not known any more. Any other error says nothing about the attempt: ask again.
	Outcome Kind = 4
	// Barrier asks the leader, on behalf of a follower that wants to read, for the index that the follower must have
	// applied (Reply.Term, Reply.Applied). Store to store. Body is empty, or holds the timestamp of the read.
	Barrier Kind = 5
	// Timestamps asks a placement member for as many timestamps as Body says, a uvarint; the reply's Body is the first one,
	// the others follow 2 apart. It goes over a stream of its own, to no store.
	Timestamps Kind = 6
)

// Request is one request to one shard.
type Request struct {
	Kind  Kind
	Shard shard.ID
	// Epoch is the one of the descriptor by which the caller chose the shard.
	Epoch shard.Epoch
	// Timeout is what was left of the caller's time when it sent the request; zero is no limit.
	Timeout time.Duration
	// Follower allows a read on a replica that does not lead.
	Follower bool
	// Op, Term and Since: see Kind and docs/at-most-once.md. Since is an applied index heard from this shard.
	Op    OpID
	Term  uint64
	Since uint64
	// Wait is what the leader does with a Write that locks one key of a transaction, if another one holds the lock.
	Wait LockWait
	// Trace asks for Reply.Stages. A store that does not know it overlooks it.
	Trace bool
	// Lazy says that nobody waits for the answer: the request may wait for company on the way. It is not sent.
	Lazy bool
	// Lend says that who asks gives back the reply's Room: the Body may lie in memory that is used again. It is not sent.
	Lend bool
	Body []byte
}

// LockWait says whether a lock may wait at the shard's leader for another transaction that holds the key, until it is
// given back, or seems to be forgotten, or the Timeout is nearly over. It is a wish: whoever does not know it, or has no
// room, answers at once that the key is locked.
type LockWait uint8

// The ways to wait. WaitAsked may be added to the other two.
const (
	WaitNot LockWait = 0
	// WaitYounger waits for transactions that began later only: the caller holds other locks (wait-die).
	WaitYounger LockWait = 1
	WaitAny     LockWait = 2
	// WaitAsked says that the holder was found alive just now, although its lock here may have expired.
	WaitAsked LockWait = 4
)

// Reply answers a Request.
type Reply struct {
	// Err is one of package shard's typed errors, or nil.
	Err error
	// Term and Applied are the leader's, so that the next write can name them. Zero from a follower. An Err beside a
	// Term that is not zero is the outcome of the request itself, also of an Outcome: the attempt's own reply.
	Term    uint64
	Applied uint64
	Body    []byte
	// Room is the buffer of buffer.Frames whose end Body is, nil if there is none: who has sent the Body gives it back, or who has
	// asked for it with Lend, once nobody reads it any more. It does not cross the wire.
	Room []byte
	// Stages is where the time went in the store, if the request asked for it and the store knows how to.
	Stages *Stages
	// Read says that this is the answer to a read: whoever carries it to the client may refuse the read instead, for
	// nothing happened. It does not cross the wire.
	Read bool
}

// NeverError answers Outcome: the attempt had no effect and will never have one. It is true for ever.
type NeverError struct{ Op OpID }

func (e *NeverError) Error() string { return "this attempt never took effect and never will" }
