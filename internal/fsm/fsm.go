// Package fsm makes the life of a thing a table: which state follows which on what event, and why. Every pair of a state
// and an event is a row, is ignored, or is illegal; there is no fourth. Code that owns a life asks the table before it
// acts, so that an order of events that nobody thought of is found where it happens, and the diagrams of docs/states.md
// are drawn from what runs.
//
// A table decides nothing else: no guards and no actions stand in it. The owner looks at the world, says which event that
// is, and does what the new state asks for.
package fsm

import (
	"errors"
	"fmt"
	"slices"
)

// Kind is what an event means in a state.
type Kind uint8

// The kinds. Illegal is the zero value: what nobody wrote down must not happen.
const (
	Illegal Kind = iota
	Ignored      // it may come, and changes nothing
	Taken        // a row of the table
)

func (k Kind) String() string { return [...]string{"illegal", "ignored", "taken"}[min(k, Taken)] }

// Row is one transition. From and To may be the same: then something happened that the state survives.
type Row[S, E ~uint8] struct {
	From S
	On   E
	To   S
	Why  string // never empty: one line for whoever reads the diagram
}

// Pair is an event that a state ignores.
type Pair[S, E ~uint8] struct {
	In  S
	On  E
	Why string // never empty
}

// Spec is a table as it is written down. States and events are numbered from zero; their names stand at their number.
type Spec[S, E ~uint8] struct {
	Name   string // of the machine: "replica"
	About  string // one or two sentences: what lives, who owns it
	States []string
	Events []string
	Start  S
	// Ends are the states that nothing leaves. Each state can reach one of them.
	Ends    []S
	Rows    []Row[S, E]
	Ignored []Pair[S, E]
}

// Table is a checked Spec. It is immutable and safe for concurrent use.
type Table[S, E ~uint8] struct {
	spec Spec[S, E]
	// cells holds the pair of state s and event e at s*events+e.
	cells []cell[S]
}

type cell[S ~uint8] struct {
	to   S
	kind Kind
	row  uint16 // its number, if taken
}

// New checks a table and prepares it. The error holds everything that is wrong with it.
func New[S, E ~uint8](spec Spec[S, E]) (*Table[S, E], error) {
	if err := spec.check(); err != nil {
		return nil, fmt.Errorf("table %q: %w", spec.Name, err)
	}
	t := &Table[S, E]{spec: spec, cells: make([]cell[S], len(spec.States)*len(spec.Events))}
	for i, r := range spec.Rows {
		*t.at(r.From, r.On) = cell[S]{to: r.To, kind: Taken, row: uint16(i)}
	}
	for _, p := range spec.Ignored {
		*t.at(p.In, p.On) = cell[S]{to: p.In, kind: Ignored}
	}
	return t, nil
}

// Must is New for a table that is part of the program; it panics if the table is wrong.
func Must[S, E ~uint8](spec Spec[S, E]) *Table[S, E] {
	t, err := New(spec)
	if err != nil {
		panic("fsm: " + err.Error())
	}
	return t
}

func (t *Table[S, E]) at(s S, on E) *cell[S] { return &t.cells[int(s)*len(t.spec.Events)+int(on)] }

// Next returns the state after an event, which is the same one if the event is ignored or illegal. It allocates nothing.
func (t *Table[S, E]) Next(s S, on E) (S, Kind) {
	if int(s) >= len(t.spec.States) || int(on) >= len(t.spec.Events) {
		return s, Illegal
	}
	c := t.at(s, on)
	if c.kind == Illegal {
		return s, Illegal
	}
	return c.to, c.kind
}

// Turn moves a life on, and notes the row in c, which may be nil. An error says that the pair is illegal: the life stays
// where it is, and its owner must not do what it was about to do.
func (t *Table[S, E]) Turn(life *S, on E, c *Coverage) error {
	to, kind := t.Next(*life, on)
	switch kind {
	case Illegal:
		err := fmt.Errorf("a bug: %s on %q while %q: the table of states has no such row", t.spec.Name, t.Event(on), t.State(*life))
		c.Fault(err)
		return err
	case Taken:
		if c != nil {
			c.note(t.spec.Name, int(t.at(*life, on).row))
		}
		*life = to
	}
	return nil
}

// Over reports whether nothing leaves a state.
func (t *Table[S, E]) Over(s S) bool { return slices.Contains(t.spec.Ends, s) }

// State is the name of a state.
func (t *Table[S, E]) State(s S) string { return nameAt(t.spec.States, int(s)) }

// Event is the name of an event.
func (t *Table[S, E]) Event(e E) string { return nameAt(t.spec.Events, int(e)) }

// Rows are the transitions, in the order in which they were written.
func (t *Table[S, E]) Rows() []Row[S, E] { return slices.Clone(t.spec.Rows) }

func nameAt(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("number %d", i)
}

// check returns all that is wrong.
func (s *Spec[S, E]) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.Name == "" || s.About == "" {
		bad("it says neither what it is nor what about")
	}
	checkNames("state", s.States, bad)
	checkNames("event", s.Events, bad)
	if !s.inRange(bad) {
		return errors.Join(errs...) // the rest would not know what it looks at
	}
	s.checkPairs(bad)
	s.checkPaths(bad)
	return errors.Join(errs...)
}

// inRange reports whether every number has a name.
func (s *Spec[S, E]) inRange(bad func(string, ...any)) bool {
	ok := true
	state := func(n S) {
		if int(n) >= len(s.States) {
			bad("there is no state %d", n)
			ok = false
		}
	}
	event := func(n E) {
		if int(n) >= len(s.Events) {
			bad("there is no event %d", n)
			ok = false
		}
	}
	state(s.Start)
	for _, e := range s.Ends {
		state(e)
	}
	for _, r := range s.Rows {
		state(r.From)
		event(r.On)
		state(r.To)
	}
	for _, p := range s.Ignored {
		state(p.In)
		event(p.On)
	}
	return ok
}

// checkPairs wants each pair once, with a reason, and each event somewhere.
func (s *Spec[S, E]) checkPairs(bad func(string, ...any)) {
	seen := make([]bool, len(s.States)*len(s.Events))
	used := make([]bool, len(s.Events))
	pair := func(in S, on E, why string) {
		at := int(in)*len(s.Events) + int(on)
		if seen[at] {
			bad("%q on %q is there twice", s.States[in], s.Events[on])
		}
		if why == "" {
			bad("%q on %q does not say why", s.States[in], s.Events[on])
		}
		seen[at] = true
	}
	for _, r := range s.Rows {
		pair(r.From, r.On, r.Why)
		used[r.On] = true
		if slices.Contains(s.Ends, r.From) {
			bad("%q is an end, and %q leaves it", s.States[r.From], s.Events[r.On])
		}
	}
	for _, p := range s.Ignored {
		pair(p.In, p.On, p.Why)
	}
	for e, ok := range used {
		if !ok {
			bad("no row is taken on %q", s.Events[e])
		}
	}
}

// checkPaths wants every state to be reachable from the start, and an end from every state.
func (s *Spec[S, E]) checkPaths(bad func(string, ...any)) {
	if len(s.Ends) == 0 {
		bad("it has no end")
	}
	from := s.closure([]S{s.Start}, func(r Row[S, E]) (S, S) { return r.From, r.To })
	to := s.closure(s.Ends, func(r Row[S, E]) (S, S) { return r.To, r.From })
	for i, name := range s.States {
		if !from[i] {
			bad("nothing leads to %q", name)
		}
		if !to[i] {
			bad("no end can be reached from %q", name)
		}
	}
}

// closure is what can be reached from some states along the rows, in the direction that step gives them.
func (s *Spec[S, E]) closure(seeds []S, step func(Row[S, E]) (a, b S)) []bool {
	in := make([]bool, len(s.States))
	for _, x := range seeds {
		in[x] = true
	}
	for grew := true; grew; {
		grew = false
		for _, r := range s.Rows {
			if a, b := step(r); in[a] && !in[b] {
				in[b], grew = true, true
			}
		}
	}
	return in
}

// checkNames wants names that diagrams can hold: lower case letters and single spaces, each once.
func checkNames(what string, names []string, bad func(string, ...any)) {
	if len(names) == 0 || len(names) > 256 {
		bad("it has %d %ss", len(names), what)
	}
	for i, n := range names {
		if !wellNamed(n) {
			bad("%s %q: a name is words of lower case letters", what, n)
		}
		if slices.Contains(names[:i], n) {
			bad("two %ss are called %q", what, n)
		}
	}
}

func wellNamed(n string) bool {
	space := true // before the first letter, and after each space
	for _, c := range n {
		if c != ' ' && (c < 'a' || c > 'z') || c == ' ' && space {
			return false
		}
		space = c == ' '
	}
	return !space
}
