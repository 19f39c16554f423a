package client

import (
	"sync"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
)

// A lane bounds the bytes of raw writes of this client that are under way to one store, by a window. What a store cannot take would wait
// otherwise in buffers on the way, in the order in which it came, and without bound: until all of it is older than its callers'
// patience, and the store does nothing but what nobody waits for any more. Who waits in a lane was not sent, so if it ends there it
// is certain that nothing happened.
//
// Who waited first goes first, unless that one has waited for half of its time: then more comes than can go, and the newest goes
// first, because it has time left to be answered in, while the old ones most likely end here ("adaptive LIFO": Maurer, "Fail at
// Scale", 2015).
//
// INVARIANT: nobody who holds a place waits for another one. Reads, questions about attempts, and the calls of transactions, which
// may wait in a store for each other, are not bounded.
type lane struct {
	env env.Env

	mu     sync.Mutex
	window window // of the bytes that may be under way, unless one write alone is more
	bytes  int    // under way
	line   slot   // ring of those who wait, the oldest first; its own fields are unused
}

const (
	// defaultWriteBuffer is what a window is at most: several times what a store gets done in queueTime.
	defaultWriteBuffer = 4 << 20
	// laneWriteBytes is what a write counts besides its command: what it takes on the way.
	laneWriteBytes = 128
)

// slot is one write in a lane. Guarded by lane.mu.
type slot struct {
	prev, next *slot // while it waits
	bytes      int
	half       env.Time // when half of its time is over
	given      bool
	since      env.Time  // when it was given
	turn       env.Event // nil: it did not wait
}

func newLane(e env.Env, most int) *lane {
	l := &lane{env: e, window: newWindow(most)}
	l.line.prev, l.line.next = &l.line, &l.line
	return l
}

// take takes room for a command, or gets in line for it: then turn wakes who waits, and leave must say whether there is room.
func (l *lane) take(s *slot, command int, began, now, end env.Time) {
	s.bytes, s.half = command+laneWriteBytes, began.Add(end.Sub(began)/2)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line.next == &l.line && l.fits(s) {
		l.grant(s, now)
		return
	}
	s.turn = l.env.NewEvent("lane")
	s.prev, s.next = l.line.prev, &l.line
	s.prev.next, s.next.prev = s, s
}

func (l *lane) fits(s *slot) bool { return l.bytes == 0 || l.bytes+s.bytes <= l.window.bytes }

func (l *lane) grant(s *slot, now env.Time) {
	l.bytes += s.bytes
	s.given, s.since = true, now
}

// leave ends a wait, and reports whether there is room: then it is held, and give gives it back. Who was behind one that needed
// more may go.
func (l *lane) leave(s *slot, now env.Time) (given bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.given {
		return true
	}
	s.unlink()
	l.advance(now)
	return false
}

func (s *slot) unlink() {
	s.prev.next, s.next.prev = s.next, s.prev
	s.prev, s.next = nil, nil
}

// give gives room back, and what is free to who waits. ended: the store got the write done.
func (l *lane) give(s *slot, now env.Time, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= s.bytes
	if ended {
		l.window.ended(s.bytes, now.Sub(s.since))
	}
	l.window.look(now, l.line.next != &l.line)
	l.advance(now)
}

// advance gives what is free to who waits. Under mu.
func (l *lane) advance(now env.Time) {
	for l.line.next != &l.line {
		next := l.line.next
		if now > next.half {
			next = l.line.prev
		}
		if !l.fits(next) {
			return
		}
		next.unlink()
		l.grant(next, now)
		next.turn.Wake()
	}
}

// lanes are those of a client.
type lanes struct {
	env  env.Env
	most int // of each
	mu   sync.Mutex
	to   map[shard.StoreID]*lane
}

func newLanes(e env.Env, most int) *lanes {
	return &lanes{env: e, most: most, to: make(map[shard.StoreID]*lane)}
}

func (ls *lanes) lane(to shard.StoreID) *lane {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.to[to]
	if l == nil {
		l = newLane(ls.env, ls.most)
		ls.to[to] = l
	}
	return l
}
