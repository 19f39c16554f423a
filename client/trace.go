package client

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Trace collects the steps of all calls that are made with a context of WithTrace: where each went, what came back, and where
// the time went, in the client and in the store that answered. It is for finding out about one operation that is slow or fails;
// it costs some allocations, and some bytes on the way. Safe for concurrent use. The zero value is ready.
type Trace struct {
	mu    sync.Mutex
	began env.Time // of the first call; 0: there was none
	steps []TraceStep
}

// WithTrace returns a context with which calls tell t their steps, in the way of net/http/httptrace.
//
//	var t client.Trace
//	err := db.Put(client.WithTrace(ctx, &t), key, value)
//	fmt.Print(&t)
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

type traceKey struct{}

// TraceKind is what a step does.
type TraceKind string

// The kinds of steps.
const (
	TraceRoute     TraceKind = "route"     // the shard of a key was found in the cache of routes
	TraceLocate    TraceKind = "locate"    // placement was asked for routes
	TraceTimestamp TraceKind = "timestamp" // placement was asked for a timestamp
	TraceAttempt   TraceKind = "attempt"   // a store was sent a request
	TracePause     TraceKind = "pause"     // the next attempt was waited for
)

// TraceStep is one step. Fields that say nothing about its kind are zero.
type TraceStep struct {
	Kind TraceKind
	// At is when it began, counted from the beginning of the first call, and Took how long it took.
	At, Took time.Duration
	Op       string // the call, such as "put"
	// Request is what an attempt asks for: "write", "read", "refresh" (who leads, and in which term?) or "outcome" (what became
	// of an attempt that was not answered?).
	Request string
	Shard   shard.ID
	Store   shard.StoreID // of an attempt; of a route, whose replica leads; 0: not known
	Addr    string        // of the store
	// Stages are where an attempt spent its time in the store, in the order in which they usually come; without those that took
	// no time. Empty if there was no answer, or the store is older than this client.
	Stages []TraceStage
	Err    error // the answer, if it is none; of a pause, why
}

// TraceStage is a part of the time that a request spent in a store: "queue" (for the shard's worker), "lock" (of another
// transaction), "timestamp", "fsync" (the leader's own log), "replication" (the disks of a majority, beyond the leader's own),
// "apply"; of reads that no lease allows at once "confirm" (is this still the leader?) and "catchup" (is everything applied?), and
// "read".
type TraceStage struct {
	Name string
	Took time.Duration
}

// Steps are the steps so far, by the time at which they began.
func (t *Trace) Steps() []TraceStep {
	t.mu.Lock()
	out := slices.Clone(t.steps)
	t.mu.Unlock()
	slices.SortStableFunc(out, func(a, b TraceStep) int { return int(a.At - b.At) })
	return out
}

// String is a line for each step, with the time at which it began.
func (t *Trace) String() string {
	var b strings.Builder
	for _, s := range t.Steps() {
		fmt.Fprintf(&b, "%9s  %s\n", traceMillis(s.At), s)
	}
	return b.String()
}

// String is the step in words, without the time at which it began.
func (s TraceStep) String() string {
	switch s.Kind {
	case TraceRoute:
		if s.Store == 0 {
			return fmt.Sprintf("%s: the route is %s, whose leader is not known", s.Op, s.Shard)
		}
		return fmt.Sprintf("%s: the route is %s, led by %s", s.Op, s.Shard, s.Store)
	case TraceLocate:
		return s.Op + ": placement was asked for routes" + s.answer()
	case TraceTimestamp:
		return s.Op + ": placement was asked for a timestamp" + s.answer()
	case TracePause:
		return fmt.Sprintf("%s: paused for %s, because: %v", s.Op, traceMillis(s.Took), s.Err)
	}
	text := fmt.Sprintf("%s: %s to %s, %s at %s%s", s.Op, s.Request, s.Shard, s.Store, s.Addr, s.answer())
	if len(s.Stages) == 0 {
		return text
	}
	parts := make([]string, len(s.Stages))
	for i, st := range s.Stages {
		parts[i] = st.Name + " " + traceMillis(st.Took)
	}
	return fmt.Sprintf("%s\n%9s  in the store: %s; on the way: %s", text, "", strings.Join(parts, ", "), traceMillis(s.OnTheWay()))
}

func (s *TraceStep) answer() string {
	if s.Err != nil {
		return fmt.Sprintf(", after %s: %v", traceMillis(s.Took), s.Err)
	}
	return ", answered in " + traceMillis(s.Took)
}

// OnTheWay is what the stages of an attempt leave over: the network, and the queues before and behind it.
func (s *TraceStep) OnTheWay() time.Duration {
	left := s.Took
	for _, st := range s.Stages {
		left -= st.Took
	}
	return max(0, left)
}

func traceMillis(d time.Duration) string { return fmt.Sprintf("%.1fms", float64(d)/1e6) }

func traceOf(ctx context.Context, now env.Time) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began == 0 {
		t.began = now
	}
	return t
}

// traceNow is when a step begins: of an effort that is not traced, never.
func (e *effort) traceNow() env.Time {
	if e.trace == nil {
		return 0
	}
	return e.db.env.Now()
}

// traced adds a step that began at a time and is over, if the effort is traced.
func (e *effort) traced(at env.Time, s TraceStep) {
	t := e.trace
	if t == nil {
		return
	}
	s.Op, s.Took = e.what, e.db.env.Now().Sub(at)
	t.mu.Lock()
	defer t.mu.Unlock()
	s.At = at.Sub(t.began)
	t.steps = append(t.steps, s)
}

// tracedRoute adds a route that was found.
func (e *effort) tracedRoute(rt *route) {
	if e.trace != nil {
		e.traced(e.traceNow(), TraceStep{Kind: TraceRoute, Shard: rt.desc.ID, Store: rt.leader.Store})
	}
}

// tracedAttempt adds a request and its reply.
func (e *effort) tracedAttempt(at env.Time, to shard.Replica, addr string, req *call.Request, rep *call.Reply) {
	if e.trace == nil {
		return
	}
	s := TraceStep{Kind: TraceAttempt, Request: requestName(req.Kind), Shard: req.Shard, Store: to.Store, Addr: addr, Err: rep.Err}
	if rep.Stages != nil {
		for i, d := range rep.Stages {
			if d > 0 {
				s.Stages = append(s.Stages, TraceStage{call.Stage(i).String(), d})
			}
		}
	}
	e.traced(at, s)
}

func requestName(k call.Kind) string {
	switch k {
	case call.Write:
		return "write"
	case call.Read:
		return "read"
	case call.Refresh:
		return "refresh"
	}
	return "outcome"
}
