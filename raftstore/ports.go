package raftstore

import (
	"context"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// Transport carries what stores say to each other. Frames may be lost or come late, never changed.
type Transport interface {
	// Send queues a frame for another store and returns at once; the transport owns the frame, and gives it to buffer.Frames
	// once nobody holds it any more, if it can tell. Urgent frames (raft heartbeats, votes, store liveness) have a stream of
	// their own, so that they never wait behind bulk data. Frames of one stream to one store arrive in order or not at all.
	Send(to shard.StoreID, urgent bool, frame []byte)
	// Reached says that another store was heard of after it had been silent, or had started again: a transport that waits before it
	// tries to reach that store again tries at once.
	Reached(id shard.StoreID)
	// Call asks another store and waits for its reply; Reply.Err is ErrUnavailable if there is none.
	Call(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply
	// SendSnapshot streams a snapshot: header, then what next returns until io.EOF, which it owns. It returns nil once the other side
	// has installed it (or did not need it any more).
	SendSnapshot(ctx context.Context, to shard.StoreID, header []byte, next func() ([]byte, error)) error
}

// Call is one request on its way through a store.
type Call struct {
	call.Ask

	query  *raw.Query   // of raw reads: the body, decoded
	txn    *txnCall     // of transactions, and of barriers at a timestamp
	due    shard.Millis // of reads: what is expired by then was expired when the read arrived (rule 10)
	bytes  int64        // admitted for this call, of its shard's bound
	held   int64        // bytes of kind, taken from memory; see hold
	kind   budget.Kind
	memory *budget.Budget
	// queued are bytes of the backlog, see backlog.go; logged: the write went through its shard's log.
	queued  int64
	backlog *backlog
	logged  bool
	grows   bool  // of writes: it adds data, see grows.go
	expire  int64 // env.Time after which nobody waits any more; 0 is never
	// clock: the read met a key that was due when it arrived, and waits for the shard's time to pass due.
	clock bool
	// began is the observer's, see Observer.ReadBegan; 0 without one.
	began uint64
	// watch is set by the evaluation of a Changes that found nothing and may wait: see watched.go.
	watch *watchWait
	spent stopwatch
}

func (c *Call) reply(rep *call.Reply) {
	c.letGo()
	c.timed(rep)
	c.To.Complete(c.ID, rep)
}

func (c *Call) fail(err error) { c.reply(&call.Reply{Err: err}) }

// answer replies to a read.
func (c *Call) answer(rep *call.Reply) {
	rep.Read = true
	c.reply(rep)
}
