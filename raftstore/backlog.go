package raftstore

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/rate"
	"github.com/skerrydb/skerry/shard"
)

// Memory bounds how much waits, and backlog bounds how long. By Little's law what is under way takes as long as it is much
// times as fast as it ends: a store that ends 20 MB of writes a second, and may have 10 MB of them under way, keeps nobody
// waiting for much more than half a second, whether its disk, its processors or its followers are what is slow. Whoever comes
// on top of that is refused at the door, where it costs least, and hears when to come again; without it a store under
// overload works on what its callers have given up already. (The same thought as in CoDel, Nichols and Jacobson, "Controlling
// Queue Delay", 2012: bound the time, not the length.)
//
// INVARIANT: the bound is never below backlogFloor, so a store that ended nothing for a while, idle or stuck, takes writes
// again and learns how fast it is. It grows with each look as long as
// what is under way ends sooner than that.
type backlog struct {
	held  atomic.Int64  // bytes of writes between their arrival and their answer
	ended atomic.Int64  // bytes of those that went through a log, ever
	limit atomic.Int64  // what held may be
	most  time.Duration // that a write may wait for others; see Options.MaxQueueTime

	// The ticker's own.
	at    env.Time
	seen  int64
	rates rate.Recent // of bytes
}

const (
	// backlogFloor is what may always be under way.
	backlogFloor = 4 << 20
	// backlogLook is how long writes are counted for one rate. Several fsyncs of a slow disk are in it.
	backlogLook = 300 * time.Millisecond
	// backlogShardPart is which part of the bound one shard gets: the others go on while it has no quorum.
	backlogShardPart = 2
)

func newBacklog(most time.Duration) *backlog {
	b := &backlog{most: most}
	b.limit.Store(backlogFloor)
	if most < 0 {
		b.limit.Store(math.MaxInt64)
	}
	return b
}

// take counts a write in, or says that too much waits already. One of any size is taken while there is no other.
func (b *backlog) take(n int64) bool {
	if b.held.Add(n) > b.limit.Load() && b.held.Load() != n {
		b.held.Add(-n)
		return false
	}
	return true
}

// give counts it out.
func (b *backlog) give(n int64, ended bool) {
	b.held.Add(-n)
	if ended {
		b.ended.Add(n)
	}
}

// look takes the rate since the last look, if that was long enough ago. A look that comes late, after a sleep of the store,
// says nothing.
func (b *backlog) look(now env.Time) {
	passed := now.Sub(b.at)
	if passed < backlogLook || b.most < 0 {
		return
	}
	ended := b.ended.Load()
	if passed < 2*backlogLook {
		b.limit.Store(max(backlogFloor, int64(b.rates.Add(ended-b.seen, passed)*b.most.Seconds())))
	}
	b.at, b.seen = now, ended
}

// queues reports whether a call waits behind others for the log of its shard, and for nothing else: what waits for a lock
// says nothing about how fast the store is.
func (c *Call) queues() bool { return c.kind == budget.Writes && (c.txn == nil || !c.txn.locks()) }

// tooLate is what a write hears for which too many wait already.
func (s *Store) tooLate() error {
	s.metrics.lateWrites.Add(1)
	return &shard.ServerBusyError{Store: s.id, Why: fmt.Sprintf("what waits already takes %s", s.backlog.most), Wait: s.backlog.most / 2}
}
