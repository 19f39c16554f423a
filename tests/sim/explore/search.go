package explore

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"time"
)

// Scenario is a group and what may happen to it.
type Scenario struct {
	Name, What string
	Voters     int
	Drift      bool // clocks go as wrong as is allowed
	Folds      bool // each group is folded as soon as it lets itself be
	Budget     Budget
}

// Scenarios are those that there are.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "candidates", What: "a leader, two candidacies, one crash, one lost message", Voters: 3, Budget: Budget{Elapses: 1, Campaigns: 2, Crashes: 1, Drops: 1}},
		{Name: "writes", What: "a leader with a write under way, another candidate, one crash", Voters: 3, Budget: Budget{Elapses: 1, Campaigns: 1, Crashes: 1, Drops: 1, Proposals: 2}},
		{Name: "lease", What: "a lease, candidacies against it, one crash, one lost message", Voters: 3, Drift: true, Budget: Budget{Campaigns: 2, Crashes: 1, Drops: 1, Reads: 1}},
		{Name: "transfer", What: "a lease and a transfer of leadership", Voters: 3, Drift: true, Budget: Budget{Campaigns: 1, Drops: 1, Reads: 1, Transfers: 1}},
		{Name: "folds", What: "a lease, candidacies and a write, each group folded whenever it lets itself be", Voters: 3, Drift: true, Folds: true, Budget: Budget{Elapses: 1, Campaigns: 2, Crashes: 1, Proposals: 1, Reads: 1}},
		{Name: "alone", What: "a single voter: a write, a read, one crash", Voters: 1, Budget: Budget{Elapses: 1, Campaigns: 1, Crashes: 1, Proposals: 2, Reads: 1}},
		{Name: "split", What: "writes around a split, one candidacy, one crash", Voters: 3, Budget: Budget{Elapses: 1, Campaigns: 1, Crashes: 1, Proposals: 1, Splits: 1}},
		{Name: "outcome", What: "an attempt that arrives late, or is under way, while its outcome is asked for", Voters: 3, Budget: Budget{Campaigns: 2, Attempts: 1, Asks: 1}},
	}
}

// choice is one thing that may happen next.
type choice struct {
	cost int // deviations
	do   func(w *state)
}

// choices are what may happen next, the usual first.
func (w *state) choices() []choice {
	var out []choice
	head := -1
	for i, e := range w.events {
		if !e.parked {
			head = i
			break
		}
	}
	late := 1 // what a parked event or something of the budget costs
	if head < 0 {
		late = 0
	} else {
		out = append(out, choice{0, func(w *state) { w.run(head) }}, choice{1, func(w *state) { w.park(head) }})
		if w.events[head].kind == delivers && w.left.Drops > 0 {
			out = append(out, choice{1, func(w *state) { w.drop(head) }})
		}
	}
	for i, e := range w.events {
		if e.parked && w.oldest(i) {
			out = append(out, choice{late, func(w *state) { w.run(i) }})
		}
	}
	for _, f := range w.budgeted() {
		out = append(out, choice{late, f})
	}
	return out
}

// oldest reports whether nothing of the same disk lies before an event.
func (w *state) oldest(i int) bool {
	if w.events[i].kind == delivers {
		return true
	}
	for _, e := range w.events[:i] {
		if e.kind == w.events[i].kind && e.at == w.events[i].at {
			return false
		}
	}
	return true
}

// park puts an event off. What comes later from the same disk waits for it.
func (w *state) park(i int) {
	e := &w.events[i]
	w.tell("put off: %s", e.name())
	e.parked = true
	if e.kind == delivers {
		return
	}
	for j := range w.events {
		if w.events[j].kind == e.kind && w.events[j].at == e.at {
			w.events[j].parked = true
		}
	}
}

func (e *event) name() string {
	switch e.kind {
	case syncs:
		return "a sync of r" + string(rune('0'+e.at))
	case applies:
		return "an apply of r" + string(rune('0'+e.at))
	}
	return e.what
}

func (w *state) drop(i int) {
	w.left.Drops--
	w.tell("lost: %s", w.events[i].name())
	w.events = append(w.events[:i:i], w.events[i+1:]...)
}

// budgeted are the things that may happen by the budget.
func (w *state) budgeted() []func(w *state) {
	var out []func(w *state)
	b := w.left
	if b.Elapses > 0 {
		out = append(out, func(w *state) { w.left.Elapses--; w.elapse() })
	}
	for i, r := range w.replicas {
		add := func(left int, ok bool, f func(w *state, r *replica)) {
			if left > 0 && ok {
				out = append(out, func(w *state) { f(w, w.replicas[i]) })
			}
		}
		leading := r.g.Leading()
		add(b.Campaigns, !leading, func(w *state, r *replica) { w.left.Campaigns--; w.campaign(r) })
		for keep := range len(r.appends) + 1 {
			add(b.Crashes, true, func(w *state, r *replica) {
				w.left.Crashes--
				w.tell("r%d crashes, %d of %d appends are on its disk", r.id, keep, len(r.appends))
				r.crash(keep)
			})
		}
		add(b.Proposals, leading, func(w *state, r *replica) { w.left.Proposals--; w.propose(r) })
		add(b.Splits, leading, func(w *state, r *replica) { w.left.Splits--; w.split(r) })
		add(b.Reads, leading, func(w *state, r *replica) { w.left.Reads--; w.read(r) })
		for to := range w.replicas {
			add(b.Transfers, leading && to != i, func(w *state, r *replica) { w.left.Transfers--; w.transfer(r, uint64(to+1)) })
		}
		add(b.Attempts, leading, func(w *state, r *replica) { w.left.Attempts--; w.try(r) })
		add(1, w.attempt.term != 0 && !w.attempt.arrived, (*state).arrive)
		add(b.Asks, leading && w.attempt.term != 0, func(w *state, r *replica) { w.left.Asks--; w.outcome(r) })
	}
	return out
}

// Report says what a search has visited.
type Report struct {
	Scenario   string
	Bound      int    // of deviations
	Exhausted  bool   // everything up to the bound was visited
	States     int    // that are different
	Runs       int    // from the beginning
	Steps      uint64 // done, again ones included
	Deepest    int
	Elapsed    time.Duration
	Violation  string   // empty: none
	Script     []string // that leads to it
	Deviations int      // of that script
}

// Deepen visits the scenarios with one deviation more in each round, until ctx ends or something is violated. each is told
// of every search, and of how long it may take: of what is left, a fair part. A scenario whose states are too many for its
// part is left out of further rounds.
func Deepen(ctx context.Context, scenarios []Scenario, each func(Report)) {
	left := slices.Clone(scenarios)
	for bound := 0; len(left) > 0; bound++ {
		var next []Scenario
		for i, s := range left {
			part, cancel := ctx, context.CancelFunc(func() {})
			if end, ok := ctx.Deadline(); ok {
				part, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(left)-i+len(next)))
			}
			r := Explore(part, s, bound)
			cancel()
			each(r)
			if r.Violation != "" || ctx.Err() != nil {
				return
			}
			if r.Exhausted {
				next = append(next, s)
			}
		}
		left = next
	}
}

// search visits the states of a scenario up to a bound, depth first. It is stateless: what raft is cannot be copied, so
// each branch but the first of a state begins again at the beginning.
type search struct {
	s       *Scenario
	bound   int
	ctx     context.Context
	visited map[uint64]int8 // the most deviations that were left, plus one
	path    []int
	r       Report
}

// Explore visits all states of a scenario with at most bound deviations, until ctx ends.
func Explore(ctx context.Context, s Scenario, bound int) Report {
	defer func(old io.Reader) { rand.Reader = old }(rand.Reader)
	rand.Reader = zeros{} // raft draws the lengths of its timeouts, which play no part here
	x := &search{s: &s, bound: bound, ctx: ctx, visited: make(map[uint64]int8), r: Report{Scenario: s.Name, Bound: bound}}
	begun := time.Now()
	x.r.Exhausted = x.visit(x.begin(), 0, bound)
	x.r.States, x.r.Elapsed = len(x.visited), time.Since(begun)
	if x.r.Violation != "" {
		x.r.Script = x.tell()
	}
	return x.r
}

// zeros is the least random source.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// begin does everything on the path again.
func (x *search) begin() *state {
	x.r.Runs++
	w := newState(x.s, false)
	for _, i := range x.path {
		w.choices()[i].do(w)
		x.r.Steps++
	}
	return w
}

// tell does the path once more, and says what happens.
func (x *search) tell() []string {
	w := newState(x.s, true)
	w.script = nil
	for _, i := range x.path {
		w.choices()[i].do(w)
	}
	for _, r := range w.replicas {
		w.tell("%s", r)
	}
	return w.script
}

// visit visits a state and all behind it; false if it ended before, by a violation or because time is over. w is at the
// end of the path, and is used up.
func (x *search) visit(w *state, depth, left int) bool {
	if w.violence != "" {
		x.r.Violation, x.r.Deviations = w.violence, x.bound-left
		return false
	}
	if x.ctx.Err() != nil {
		return false
	}
	h := w.hash()
	if was, ok := x.visited[h]; ok && int(was) > left {
		return true
	}
	x.visited[h] = int8(left + 1)
	x.r.Deepest = max(x.r.Deepest, depth)
	all := w.choices()
	for i, c := range all {
		if c.cost > left {
			continue
		}
		if w == nil {
			w = x.begin()
		}
		x.path = append(x.path, i)
		w.choices()[i].do(w)
		x.r.Steps++
		if !x.visit(w, depth+1, left-c.cost) {
			return false
		}
		x.path = x.path[:len(x.path)-1]
		w = nil
	}
	return true
}
