package fsm

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

type state uint8
type event uint8

// door is a table that is right.
func door() Spec[state, event] {
	return Spec[state, event]{
		Name: "door", About: "A door.",
		States: []string{"open", "closed", "walled up"}, Events: []string{"push", "pull", "brick"},
		Start: 0, Ends: []state{2},
		Rows: []Row[state, event]{
			{0, 0, 1, "it falls shut"},
			{1, 1, 0, "it is not locked"},
			{1, 0, 1, "it opens the other way"},
			{1, 2, 2, "nobody came through any more"},
		},
		Ignored: []Pair[state, event]{{2, 0, "bricks do not mind"}},
	}
}

func TestTable(t *testing.T) {
	tab := Must(door())
	var c Coverage
	s := state(0)
	for _, step := range []struct {
		on   event
		to   state
		fail bool
	}{{0, 1, false}, {0, 1, false}, {1, 0, false}, {2, 0, true}, {0, 1, false}, {2, 2, false}, {0, 2, false}, {1, 2, true}} {
		if err := tab.Turn(&s, step.on, &c); (err != nil) != step.fail || s != step.to {
			t.Fatalf("on %s: %s, %v", tab.Event(step.on), tab.State(s), err)
		}
	}
	chart := tab.Chart()
	if got, want := c.Taken(&chart), []int{2, 1, 1, 1}; len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] || got[3] != want[3] {
		t.Errorf("rows were taken %v times, want %v", got, want)
	}
	if err := tab.Turn(&s, 1, nil); err == nil || err.Error() != `a bug: door on "pull" while "walled up": the table of states has no such row` {
		t.Errorf("got %v", err)
	}
	for _, out := range []struct {
		s state
		e event
	}{{3, 0}, {0, 3}, {255, 255}} {
		if to, kind := tab.Next(out.s, out.e); to != out.s || kind != Illegal {
			t.Errorf("%d on %d is %s", out.s, out.e, kind)
		}
	}
	s = 0
	if n := testing.AllocsPerRun(100, func() { s, _ = tab.Next(s, 0); s, _ = tab.Next(s, 1) }); n != 0 {
		t.Errorf("a step costs %v allocations", n)
	}
	if tab.Over(1) || !tab.Over(2) {
		t.Error("only a wall is for ever")
	}
}

// TestBrokenTables: each law of a table, broken once.
func TestBrokenTables(t *testing.T) {
	for _, c := range []struct {
		want  string
		spoil func(*Spec[state, event])
	}{
		{`"open" on "push" is there twice`, func(s *Spec[state, event]) { s.Rows = append(s.Rows, Row[state, event]{0, 0, 2, "x"}) }},
		{`"open" on "push" is there twice`, func(s *Spec[state, event]) { s.Ignored = append(s.Ignored, Pair[state, event]{0, 0, "x"}) }},
		{`"closed" on "pull" does not say why`, func(s *Spec[state, event]) { s.Rows[1].Why = "" }},
		{`"walled up" on "push" does not say why`, func(s *Spec[state, event]) { s.Ignored[0].Why = "" }},
		{`"walled up" is an end, and "pull" leaves it`, func(s *Spec[state, event]) { s.Rows = append(s.Rows, Row[state, event]{2, 1, 0, "x"}) }},
		{`no row is taken on "kick"`, func(s *Spec[state, event]) { s.Events = append(s.Events, "kick") }},
		{`nothing leads to "ajar"`, func(s *Spec[state, event]) { s.States = append(s.States, "ajar") }},
		{`no end can be reached from "ajar"`, func(s *Spec[state, event]) {
			s.States = append(s.States, "ajar")
			s.Rows = append(s.Rows, Row[state, event]{0, 1, 3, "x"})
		}},
		{`no end can be reached from "open"`, func(s *Spec[state, event]) { s.Rows = s.Rows[:3] }},
		{`it has no end`, func(s *Spec[state, event]) { s.Ends = nil }},
		{`there is no state 3`, func(s *Spec[state, event]) { s.Rows[0].To = 3 }},
		{`there is no state 9`, func(s *Spec[state, event]) { s.Start = 9 }},
		{`there is no state 4`, func(s *Spec[state, event]) { s.Ends = []state{4} }},
		{`there is no state 5`, func(s *Spec[state, event]) { s.Ignored[0].In = 5 }},
		{`there is no event 3`, func(s *Spec[state, event]) { s.Rows[0].On = 3 }},
		{`two states are called "open"`, func(s *Spec[state, event]) { s.States[1] = "open" }},
		{`two events are called "push"`, func(s *Spec[state, event]) { s.Events[1] = "push" }},
		{`state "Open": a name is words`, func(s *Spec[state, event]) { s.States[0] = "Open" }},
		{`state "": a name is words`, func(s *Spec[state, event]) { s.States[0] = "" }},
		{`event "pu--sh"`, func(s *Spec[state, event]) { s.Events[0] = "pu--sh" }},
		{`event "push "`, func(s *Spec[state, event]) { s.Events[0] = "push " }},
		{`it has 0 states`, func(s *Spec[state, event]) { s.States = nil }},
		{`it says neither`, func(s *Spec[state, event]) { s.About = "" }},
	} {
		s := door()
		c.spoil(&s)
		if _, err := New(s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want an error about %s, got %v", c.want, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a wrong table is taken into a program")
		}
	}()
	s := door()
	s.Rows = nil
	Must(s)
}

func TestMarkdown(t *testing.T) {
	c := Must(door()).Chart()
	want := "## Door\n\nA door.\n\n```mermaid\nstateDiagram-v2\n" + `    state "open" as s0
    state "closed" as s1
    state "walled up" as s2
    [*] --> s0
    s0 --> s1: push
    s1 --> s0: pull
    s1 --> s1: push
    s1 --> s2: brick
    s2 --> [*]
` + "```" + `

| from | on | to | why |
|---|---|---|---|
| open | push | closed | it falls shut |
| closed | pull | open | it is not locked |
| closed | push | closed | it opens the other way |
| closed | brick | walled up | nobody came through any more |

Ignored:

| in | on | why |
|---|---|---|
| walled up | push | bricks do not mind |
`
	if got := c.Markdown(); got != want {
		t.Errorf("got\n%s", got)
	}
}

// TestNextAgreesWithRows: the cells say the same as the lists that they were made from, and a walk of legal events is
// never stuck before an end.
func TestNextAgreesWithRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		states, events := rapid.IntRange(1, 6).Draw(t, "states"), rapid.IntRange(1, 5).Draw(t, "events")
		spec := Spec[state, event]{Name: "x", About: "x", Ends: []state{state(states - 1)}}
		for i := range states {
			spec.States = append(spec.States, strings.Repeat("s", i+1))
		}
		for i := range events {
			spec.Events = append(spec.Events, strings.Repeat("e", i+1))
		}
		for s := range states {
			for e := range events {
				switch to := rapid.IntRange(-2, states-1).Draw(t, "to"); {
				case to >= 0:
					spec.Rows = append(spec.Rows, Row[state, event]{state(s), event(e), state(to), "w"})
				case to == -1:
					spec.Ignored = append(spec.Ignored, Pair[state, event]{state(s), event(e), "w"})
				}
			}
		}
		tab, err := New(spec)
		if err != nil {
			return // such as states that nothing leads to
		}
		for s := range state(states) {
			stuck := true
			for e := range event(events) {
				wantTo, want := s, Illegal
				for _, r := range spec.Rows {
					if r.From == s && r.On == e {
						wantTo, want = r.To, Taken
					}
				}
				for _, p := range spec.Ignored {
					if p.In == s && p.On == e {
						want = Ignored
					}
				}
				if to, kind := tab.Next(s, e); to != wantTo || kind != want {
					t.Fatalf("%d on %d: %d %s, want %d %s", s, e, to, kind, wantTo, want)
				}
				stuck = stuck && (want != Taken || wantTo == s)
			}
			if stuck && !tab.Over(s) {
				t.Fatalf("nothing leaves %d", s)
			}
		}
	})
}

func BenchmarkNext(b *testing.B) {
	tab := Must(door())
	s := state(0)
	b.ReportAllocs()
	for i := range b.N {
		s, _ = tab.Next(s, event(i&1))
	}
}
