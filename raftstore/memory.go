package raftstore

import (
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// The memory of what is under way is accounted for by package budget. This is its door for clients: a call takes memory
// when it arrives, before it is queued anywhere, and gives it back with its answer, whatever that is. Frames of other
// stores: inbox.go. What waits for the network: package rpc.

// What a call costs beside the bytes of its body: the request, its decoded form, its places in queues and maps.
const callBytes = 512

const (
	// writeCopies: the body of a write is in memory as it came, and once more in its log entry.
	writeCopies = 2
	// readCopies: the keys of a query are small, and each has a slice header beside it.
	readCopies = 4
)

// cost is what a call takes, and of which share.
func (c *Call) cost() (budget.Kind, int64) {
	n := int64(len(c.Req.Body))
	switch {
	case c.Req.Kind != call.Write:
		return budget.Reads, callBytes + readCopies*n
	case c.grows, c.txn != nil && c.txn.locks():
		return budget.Writes, callBytes + writeCopies*n
	}
	return budget.Deletes, callBytes + writeCopies*n
}

// locks reports whether a command only takes locks: it may wait for long, and for others that delete.
func (t *txnCall) locks() bool {
	_, ok := t.cmd.(*mvcc.PessimisticLock)
	return ok
}

// hold takes the memory of a call, or says that there is none.
//
// INVARIANT: what frees memory needs none of what is used up. A question about an attempt, or for a barrier, is never
// refused here, because somebody holds memory until it is answered; deletes have a share of their own.
func (s *Store) hold(c *Call) error {
	if c.held != 0 {
		return nil
	}
	kind, n := c.cost()
	switch c.Req.Kind {
	case call.Write, call.Read:
		if !s.memory.Take(kind, n) {
			return s.noMemory(kind)
		}
	default:
		s.memory.Add(kind, n)
	}
	c.memory, c.kind, c.held = s.memory, kind, n
	if !c.queues() {
		return nil
	}
	if !s.backlog.take(n) {
		return s.tooLate()
	}
	c.backlog, c.queued = s.backlog, n
	return nil
}

func (s *Store) noMemory(k budget.Kind) error {
	return &shard.ServerBusyError{Store: s.id, Why: "no memory is left for more " + k.String(), Wait: busyWait}
}

// holdAnswer counts an answer that was made, until it is given to whoever asked.
func (c *Call) holdAnswer(body []byte) {
	if c.held != 0 {
		c.memory.Add(c.kind, int64(len(body)))
		c.held += int64(len(body))
	}
}

// letGo gives back what a call holds. INVARIANT: every Call is completed exactly once, and by reply or fail.
func (c *Call) letGo() {
	if c.queued != 0 {
		c.backlog.give(c.queued, c.logged)
		c.queued = 0
	}
	if c.held != 0 {
		c.memory.Give(c.kind, c.held)
		c.held = 0
	}
}

// hasRoom reports whether an answer to a read would be taken. It is asked before the read is evaluated; the answer may be
// refused after all.
func (s *Store) hasRoom(c *Call) bool {
	if !s.memory.Room(budget.Reads) {
		s.memory.Refuse(budget.Reads)
		return false
	}
	roomy, ok := c.To.(call.Roomy)
	return !ok || roomy.Room()
}

// pageBytes bounds the answer to one read: the readers together do not build more than the share of reads again.
func (s *Store) pageBytes(asked, most int) int {
	if asked == 0 {
		asked = most
	}
	return min(asked, max(1<<10, int(s.memory.Share(budget.Reads)/maxReaders)))
}

// Memory is the store's budget.
func (s *Store) Memory() *budget.Budget { return s.memory }
