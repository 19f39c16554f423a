package raftstore

import (
	"math"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard/call"
)

// stopwatch measures in which stage a call spends its time in the store. Whoever moves the call to where it waits for
// something else says so, with a clock that was read for a whole frame or pass; none is read for the stopwatch alone, but
// once for the answers of a pass, and for a call that is refused. It is part of the Call and moves with it.
//
//	write   queue -> [timestamp -> queue] -> [lock -> queue] -> fsync -> [queue] -> replication -> apply
//	read    read, under a lease; else queue -> [timestamp] -> confirm -> catchup -> queue -> read
type stopwatch struct {
	store *Store   // nil: not measured
	began env.Time // at the store's door
	laps  [call.NumStages]uint32
	last  uint32 // when the current stage began. This and laps are in microseconds; began + 71 minutes is as far as they go
	in    call.Stage
	over  bool
}

func (s *Store) startStopwatch(now env.Time) stopwatch { return stopwatch{store: s, began: now} }

// enter ends the current stage at a time and begins another one. A time before the current stage began ends it without one.
func (w *stopwatch) enter(next call.Stage, now env.Time) {
	at := uint32(min(max(now.Sub(w.began)/time.Microsecond, time.Duration(w.last)), math.MaxUint32))
	w.laps[w.in] += at - w.last
	w.last, w.in = at, next
}

// onlyRead is of a read that was answered at the door.
func (w *stopwatch) onlyRead() { w.in = call.StageRead }

// stop ends the last stage.
func (w *stopwatch) stop(now env.Time) {
	if !w.over {
		w.enter(w.in, now)
		w.over = true
	}
}

// refuse is fail for who knows the time.
func (c *Call) refuse(now env.Time, err error) {
	c.spent.stop(now)
	c.fail(err)
}

// stages are the laps, once it is over.
func (w *stopwatch) stages() *call.Stages {
	out := new(call.Stages)
	for i, us := range w.laps {
		out[i] = time.Duration(us) * time.Microsecond
	}
	return out
}

// timed looks at the time that a call took, just before it is answered. The clock is read here if nobody stopped the
// stopwatch, which whoever answers many at once does.
func (c *Call) timed(rep *call.Reply) {
	w := &c.spent
	if w.store == nil {
		return
	}
	slow := w.store.Bounds().SlowOperation
	if slow <= 0 || !c.mayBeSlow() {
		slow = math.MaxInt64
	}
	if slow == math.MaxInt64 && !c.Req.Trace {
		return
	}
	if !w.over {
		w.stop(w.store.env.Now())
	}
	if c.Req.Trace {
		rep.Stages = w.stages()
	}
	if took := time.Duration(w.last) * time.Microsecond; took >= slow {
		w.store.slow.note(c, took, rep.Err)
	}
}
