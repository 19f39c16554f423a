package client

import (
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
)

// A lane bounds the bytes of raw writes of this client that are under way to one store. What a store cannot take would wait
// otherwise in buffers on the way, in the order in which it came, and without bound: until all of it is older than its callers'
// patience, and the store does nothing but what nobody waits for any more. Who waits in a lane was not sent, so if it ends there it
// is certain that nothing happened.
//
// Who waited first goes first, unless that one has waited for half of its time: then more comes than can go, and the newest goes
// first, because it has time left to be answered in, while the old ones most likely end here ("adaptive LIFO": Maurer, "Fail at
// Scale", 2015).
//
// Who comes when more waits than can go in half of the time that he has left is not let in, and hears so at once: the time of all who wait is
// better spent on those who will go. How much goes is measured while somebody waits, else it says nothing.
//
// INVARIANT: nobody who holds a place waits for another one. Reads, questions about attempts, and the calls of transactions, which
// may wait in a store for each other, are not bounded.
type lane struct {
	env  env.Env
	most int // bytes that may be under way, unless one write alone is more

	mu      sync.Mutex
	bytes   int  // under way
	line    slot // ring of those who wait, the oldest first; its own fields are unused
	waiting int  // bytes of those
	pace    lanePace
}

// lanePace measures how many bytes go while somebody waits: the most in one of the last looks, so that a store that rests for a
// moment does not look slow.
type lanePace struct {
	since env.Time // of the present look; 0: nobody waits
	bytes int      // that went since
	looks [laneLooks]float64
	next  int
}

const (
	laneLook  = 250 * time.Millisecond
	laneLooks = 8
)

// went counts bytes that made room.
func (p *lanePace) went(bytes int, now env.Time) {
	if p.since == 0 {
		return
	}
	p.bytes += bytes
	if took := now.Sub(p.since); took >= laneLook {
		p.looks[p.next] = float64(p.bytes) / took.Seconds()
		p.next = (p.next + 1) % laneLooks
		p.since, p.bytes = now, 0
	}
}

// takes is how long it takes until so many bytes went; 0 if that is not known.
func (p *lanePace) takes(bytes int) time.Duration {
	most := slices.Max(p.looks[:])
	if most == 0 {
		return 0
	}
	return time.Duration(float64(bytes) / most * float64(time.Second))
}

const (
	// defaultWriteBuffer is some hundred milliseconds of what a store takes, and thousands of small writes.
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
	turn       env.Event // nil: it did not wait
}

func newLane(e env.Env, most int) *lane {
	l := &lane{env: e, most: most}
	l.line.prev, l.line.next = &l.line, &l.line
	return l
}

// take takes room for a command, or gets in line for it: then turn wakes who waits, and leave must say whether there is room. It
// reports false if the line is too long for that; then s is nothing.
func (l *lane) take(s *slot, command int, began, now, end env.Time) bool {
	s.bytes, s.half = command+laneWriteBytes, began.Add(end.Sub(began)/2)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line.next == &l.line && l.fits(s) {
		l.bytes, s.given = l.bytes+s.bytes, true
		return true
	}
	if wait := l.pace.takes(l.waiting + s.bytes); wait > max(0, end.Sub(now)/2) {
		return false
	}
	if l.pace.since == 0 {
		l.pace.since = now
	}
	l.waiting += s.bytes
	s.turn = l.env.NewEvent("lane")
	s.prev, s.next = l.line.prev, &l.line
	s.prev.next, s.next.prev = s, s
	return true
}

func (l *lane) fits(s *slot) bool { return l.bytes == 0 || l.bytes+s.bytes <= l.most }

// leave ends a wait, and reports whether there is room: then it is held, and give gives it back. Who was behind one that needed
// more may go.
func (l *lane) leave(s *slot, now env.Time) (given bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.given {
		return true
	}
	l.unlink(s)
	l.advance(now)
	return false
}

// unlink takes s out of the line. Under mu.
func (l *lane) unlink(s *slot) {
	s.prev.next, s.next.prev = s.next, s.prev
	s.prev, s.next = nil, nil
	if l.waiting -= s.bytes; l.line.next == &l.line {
		l.pace = lanePace{}
	}
}

// give gives room back, and what is free to who waits.
func (l *lane) give(s *slot, now env.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes -= s.bytes
	l.pace.went(s.bytes, now)
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
		l.unlink(next)
		l.bytes, next.given = l.bytes+next.bytes, true
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
