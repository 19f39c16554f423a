package client

import (
	"context"
	"errors"
	"sync"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Timestamp orders transactions. One that was fetched lies above the commit of everything that was acknowledged before.
type Timestamp = mvcc.Timestamp

// maxStamps bounds the callers that share one question to placement, and maxAsking the questions under way: with one, a
// caller would wait for half a question on average before its own begins.
const (
	maxStamps = 512
	maxAsking = 2
)

// Timestamp fetches a timestamp. Reading At it sees all that was committed before the call.
func (db *DB) Timestamp(ctx context.Context) (Timestamp, error) {
	e := db.begin(ctx, "fetch a timestamp", nil)
	return e.stamp()
}

// stamp fetches a timestamp from placement. The error is an *Error.
func (e *effort) stamp() (Timestamp, error) {
	for {
		if stop := e.over(); stop != nil {
			return 0, e.stopped(stop)
		}
		at := e.traceNow()
		ts, err := e.db.stamps.next(e)
		e.traced(at, TraceStep{Kind: TraceTimestamp, Err: err})
		if err == nil {
			return ts, nil
		}
		if errors.Is(err, errNextRide) {
			continue
		}
		if stop := e.pause(noRoute, err, 0); stop != nil {
			return 0, e.stopped(stop)
		}
	}
}

// errNextRide sends a caller back to ask again: the one who would have asked for it gave up.
var errNextRide = errors.New("another caller gave up before it asked")

// stamps fetches timestamps: all callers that come while maxAsking questions are under way share the next one.
//
// INVARIANT: a caller's timestamp comes from a question that began after the caller came. One that joined a question under
// way could get a timestamp below a commit that it already knows of.
type stamps struct {
	db *DB

	mu       sync.Mutex
	asking   int   // questions under way
	upcoming *ride // gathers who comes meanwhile; nil: nobody
	newest   Timestamp
}

// ride is one question and its callers. Guarded by stamps.mu.
type ride struct {
	n     int         // callers
	waits []env.Event // theirs; the first caller's is the first
	first Timestamp
	err   error
	done  bool
	turn  bool // it is the first caller's turn to ask
}

// next takes part in the next question.
func (s *stamps) next(e *effort) (Timestamp, error) {
	s.mu.Lock()
	r := s.upcoming
	if r == nil || r.n >= maxStamps {
		if r != nil {
			s.mu.Unlock()
			return 0, s.alone(e)
		}
		r = &ride{turn: s.asking < maxAsking}
		s.upcoming = r
	}
	at := r.n
	r.n++
	var ev env.Event
	if at > 0 || !r.turn {
		ev = s.db.env.NewEvent("client-stamp")
		r.waits = append(r.waits, ev)
	}
	if at == 0 && r.turn {
		s.departLocked(r)
		s.mu.Unlock()
		s.ask(e, r)
		return s.took(r, 0)
	}
	s.mu.Unlock()
	return s.wait(e, r, at, ev)
}

// alone makes a caller for whom there is no room wait a moment.
func (s *stamps) alone(e *effort) error {
	if stop := e.pause(busy, errNextRide, 0); stop != nil {
		return stop
	}
	return errNextRide
}

func (s *stamps) departLocked(r *ride) {
	s.asking++
	if s.upcoming == r {
		s.upcoming = nil
	}
}

// wait waits for the answer, or, as the first of a ride, for the turn to ask.
func (s *stamps) wait(e *effort, r *ride, at int, ev env.Event) (Timestamp, error) {
	for {
		ctx, sc := s.db.scopes.enter(e.ctx, e.end)
		err := ev.Wait(ctx, 0)
		s.db.scopes.leave(sc)
		s.mu.Lock()
		switch {
		case r.done:
			s.mu.Unlock()
			return s.took(r, at)
		case at == 0 && r.turn && err == nil:
			s.departLocked(r)
			s.mu.Unlock()
			s.ask(e, r)
			return s.took(r, 0)
		case err != nil && at == 0:
			s.giveUpLocked(r)
			s.mu.Unlock()
			return 0, err
		}
		s.mu.Unlock()
		if err != nil {
			return 0, err
		}
	}
}

// giveUpLocked ends a ride whose first caller will not ask. The others begin anew.
func (s *stamps) giveUpLocked(r *ride) {
	r.done, r.err = true, errNextRide
	if s.upcoming == r {
		s.upcoming = nil
	}
	s.wakeLocked(r)
}

func (s *stamps) wakeLocked(r *ride) {
	for _, ev := range r.waits {
		ev.Wake()
	}
}

// ask asks placement once, for all callers of r, and lets the next ride go.
func (s *stamps) ask(e *effort, r *ride) {
	var first uint64
	err := s.db.place.ask(e.ctx, func(ctx context.Context, addr string) (err error) {
		first, err = s.db.conn.Timestamps(ctx, addr, r.n)
		return err
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	r.done, r.err, r.first = true, err, Timestamp(first)
	if isContext(err) && e.ctx.Err() != nil && r.n > 1 {
		r.err = errNextRide // it was this caller's context
	}
	if err == nil {
		s.newest = max(s.newest, r.first+Timestamp(2*(r.n-1)))
	}
	s.asking--
	s.wakeLocked(r)
	if n := s.upcoming; n != nil && !n.turn {
		n.turn = true
		n.waits[0].Wake()
	}
}

func (s *stamps) took(r *ride, at int) (Timestamp, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.err != nil {
		return 0, r.err
	}
	return r.first + Timestamp(2*at), nil
}

// latest is the newest timestamp that was fetched.
func (s *stamps) latest() Timestamp {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}
