package history

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// TestCheckList: each kind of lie about a list is found, and what is open is believed.
func TestCheckList(t *testing.T) {
	app := func(seen, e string, begun, ended int64) ListOp {
		return ListOp{Begun: begun, Ended: ended, Seen: seen, Element: e, Fate: Done}
	}
	open := func(seen, e string, begun int64) ListOp { return ListOp{Begun: begun, Seen: seen, Element: e} }
	refused := func(seen, e string, begun, ended int64) ListOp {
		return ListOp{Begun: begun, Ended: ended, Seen: seen, Element: e, Fate: Refused}
	}
	read := func(seen string, begun, ended int64) ListOp { return ListOp{Begun: begun, Ended: ended, Seen: seen} }
	for name, c := range map[string]struct {
		final string
		ops   []ListOp
		want  string // a part of the error; "" is a good history
	}{
		"in order":               {"a,b,", []ListOp{app("", "a", 0, 1), app("a,", "b", 2, 3), read("a,b,", 4, 5)}, ""},
		"open and seen":          {"a,", []ListOp{open("", "a", 0), read("", 1, 2), read("a,", 3, 4)}, ""},
		"open and never seen":    {"", []ListOp{open("", "a", 0), read("", 1, 2)}, ""},
		"open on an old base":    {"a,", []ListOp{app("", "a", 0, 1), open("", "b", 2)}, ""},
		"read during the append": {"a,", []ListOp{app("", "a", 0, 9), read("a,", 1, 2), read("a,", 3, 4)}, ""},
		"refused on an old base": {"a,", []ListOp{app("", "a", 0, 1), refused("", "b", 2, 3)}, ""},
		"lost":                   {"", []ListOp{app("", "a", 0, 1)}, "acknowledged"},
		"twice":                  {"a,a,", []ListOp{app("", "a", 0, 1)}, "twice"},
		"refused and there":      {"a,", []ListOp{refused("", "a", 0, 1)}, "refused"},
		"from nobody":            {"a,x,", []ListOp{app("", "a", 0, 1)}, "nobody"},
		"other order":            {"b,a,", []ListOp{app("", "a", 0, 1), app("a,", "b", 2, 3)}, "stands at"},
		"another list":           {"b,a,", []ListOp{app("", "b", 0, 1), app("b,", "a", 2, 3), read("a,", 4, 5)}, "no beginning"},
		"in another place":       {"b,a,", []ListOp{app("", "a", 0, 9), app("", "b", 0, 9)}, "stands at"},
		"stale read":             {"a,", []ListOp{app("", "a", 0, 1), read("", 2, 3)}, "version"},
		"seen, then not":         {"a,", []ListOp{open("", "a", 0), read("a,", 1, 2), read("", 3, 4)}, "version"},
		"seen before begun":      {"a,", []ListOp{read("a,", 0, 1), app("", "a", 2, 3)}, "begun only after"},
		"open seen before begun": {"a,", []ListOp{read("a,", 0, 1), open("", "a", 2)}, "begun only after"},
		"append not on top":      {"a,b,", []ListOp{app("", "a", 5, 6), app("a,", "b", 0, 1)}, "begun only after"},
		"later append seen":      {"a,b,", []ListOp{app("", "a", 5, 9), app("a,", "b", 0, 8), read("a,b,", 6, 7)}, ""},
	} {
		err := CheckList(c.ops, c.final)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// listModel is the same list for porcupine.
var listModel = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, in, _ any) (bool, any) {
		s, op := state.(string), in.(ListOp)
		switch {
		case op.Element == "":
			return s == op.Seen, s
		case op.Fate == Refused:
			return true, s
		case s == op.Seen:
			return true, s + op.Element + ","
		}
		return op.Fate == Open, s
	},
}

// TestCheckListAgainstPorcupine: on small random histories, true ones and lies alike, the checker says what porcupine
// says.
func TestCheckListAgainstPorcupine(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	good, bad := 0, 0
	for i := range 20_000 {
		ops, final := randomList(rnd)
		err := CheckList(ops, final)
		var history []porcupine.Operation
		for c, op := range append(ops, ListOp{Begun: 1000, Ended: 1001, Seen: final}) {
			end := op.Ended
			if op.Element != "" && op.Fate == Open {
				end = 2000
			}
			history = append(history, porcupine.Operation{ClientId: c, Input: op, Call: op.Begun, Return: end})
		}
		switch res := porcupine.CheckOperationsTimeout(listModel, history, 5*time.Second); {
		case res == porcupine.Ok && err == nil:
			good++
		case res == porcupine.Illegal && err != nil:
			bad++
		default:
			t.Fatalf("history %d: porcupine says %s, the checker %v\nfinal %q\n%+v", i, res, err, final, ops)
		}
	}
	t.Logf("%d good, %d bad histories", good, bad)
	if good < 1000 || bad < 1000 {
		t.Fatal("the histories are too much alike")
	}
}

// randomList makes a history of a few operations around a true order, with times that need not fit it.
func randomList(rnd *rand.Rand) (ops []ListOp, final string) {
	at := int64(0)
	for i := range 2 + rnd.IntN(4) {
		at += int64(rnd.IntN(6))
		op := ListOp{Seen: final, Begun: max(0, at-int64(rnd.IntN(8))), Ended: at + int64(rnd.IntN(4))}
		if rnd.IntN(3) == 0 { // at another time
			by := int64(rnd.IntN(12))
			op.Begun, op.Ended = op.Begun+by, op.Ended+by
		}
		op.Begun, op.Ended = 2*op.Begun, 2*op.Ended+1 // no two events at one moment that would be read both ways
		if rnd.IntN(2) == 0 {
			op.Element, op.Fate = fmt.Sprint("e", i), Fate(rnd.IntN(3))
			if op.Fate == Done || op.Fate == Open && rnd.IntN(2) == 0 {
				final += op.Element + ","
			}
		}
		ops = append(ops, op)
	}
	if rnd.IntN(10) == 0 {
		final = final[:strings.LastIndexByte(strings.TrimSuffix(final, ","), ',')+1]
	}
	return ops, final
}

// TestSet: each kind of lie about a set is found.
func TestSet(t *testing.T) {
	for name, c := range map[string]struct {
		got  []string
		gone bool
		want string
	}{
		"all":               {[]string{"done", "open"}, false, ""},
		"without the open":  {[]string{"done"}, false, ""},
		"lost":              {[]string{"open"}, false, "acknowledged"},
		"from nobody":       {[]string{"done", "x"}, false, "nobody"},
		"refused":           {[]string{"done", "refused"}, false, "refused"},
		"twice":             {[]string{"done", "done"}, false, "comes after"},
		"gone":              {nil, true, ""},
		"gone but the open": {[]string{"open"}, true, ""},
		"not gone":          {[]string{"done"}, true, "deleted"},
	} {
		s := NewSet()
		for e, f := range map[string]Fate{"done": Done, "open": Open, "refused": Refused} {
			s.Try(e)
			s.Tell(e, f)
		}
		if c.gone {
			s.Gone()
		}
		err := s.Check(s.Acknowledged(), c.got)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	// An element that is seen while its write is under way, and then is refused.
	s := NewSet()
	s.Try("a")
	if err := s.Check(nil, []string{"a"}); err != nil {
		t.Fatal(err)
	}
	s.Tell("a", Refused)
	if err := s.Check(nil, nil); err == nil {
		t.Fatal("an element was seen and then refused, and nobody noticed")
	}
}

// TestBank: each kind of lie about accounts is found.
func TestBank(t *testing.T) {
	b := Bank{Accounts: 2, Each: 10}
	for name, c := range map[string]struct {
		balances map[string]string
		good     bool
	}{
		"at rest":       {map[string]string{"a": "10", "b": "10"}, true},
		"moved":         {map[string]string{"a": "3", "b": "17"}, true},
		"half moved":    {map[string]string{"a": "3", "b": "10"}, false},
		"overdrawn":     {map[string]string{"a": "-1", "b": "21"}, false},
		"lost account":  {map[string]string{"a": "20"}, false},
		"not a balance": {map[string]string{"a": "x", "b": "20"}, false},
	} {
		if err := b.Check(c.balances); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
