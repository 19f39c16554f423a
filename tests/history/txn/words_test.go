package txn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/tests/history"
)

// parse reads a history, a transaction a line: a name, "ok", "open" or "no", the times, and operations.
//
//	T1 ok 1-4 ax1 rx:12     appends 1 to x, reads x as [1 2]
func parse(t *testing.T, text string) (txns []Txn) {
	t.Helper()
	for l := range strings.Lines(text) {
		f := strings.Fields(l)
		if len(f) == 0 {
			continue
		}
		x := Txn{Name: f[0], Fate: map[string]history.Fate{"ok": history.Done, "open": history.Open, "no": history.Refused}[f[1]]}
		if _, err := fmt.Sscanf(f[2], "%d-%d", &x.Begun, &x.Ended); err != nil {
			t.Fatal(err)
		}
		for _, op := range f[3:] {
			key, rest := op[1:2], op[2:]
			if op[0] == 'a' {
				x.Ops = append(x.Ops, Op{Key: key, Append: rest})
				continue
			}
			x.Ops = append(x.Ops, Op{Key: key, Read: strings.Split(rest, "")[1:]})
		}
		txns = append(txns, x)
	}
	return txns
}

// TestPlantedAnomalies: a history that has an anomaly, and almost nothing else, is found out, by its name; one that a level
// allows is allowed.
func TestPlantedAnomalies(t *testing.T) {
	for _, c := range []struct {
		name    string
		history string
		si, ser string // "" is clean
	}{
		{"clean", `
			A ok 1-2 ax1 ay1
			B ok 3-4 rx:1 ry:1 ax2
			C ok 5-6 rx:12 ry:1`, "", ""},
		{"empty", ``, "", ""},
		{"nobody appended it", `
			A ok 1-2 rx:7`, string(Garbage), string(Garbage)},
		{"twice in a list", `
			A ok 1-9 ax1
			B ok 1-9 rx:11`, string(Duplicate), string(Duplicate)},
		{"two orders", `
			A ok 1-9 ax1
			B ok 1-9 ax2
			C ok 1-9 rx:12
			D ok 1-9 rx:21`, string(Disorder), string(Disorder)},
		{"own write missed", `
			A ok 1-2 ax1 rx:`, string(Internal), string(Internal)},
		{"list changes under a reader", `
			A ok 1-9 ax1
			B ok 1-9 rx: rx:1`, string(Internal), string(Internal)},
		{"G1a", `
			A no 1-2 ax1
			B ok 3-4 rx:1`, string(G1a), string(G1a)},
		{"G1b", `
			A ok 1-9 ax1 ax2
			B ok 1-9 rx:1
			C ok 10-11 rx:12`, string(G1b), string(G1b)},
		{"G0", `
			A ok 1-9 ax1 ay2
			B ok 1-9 ax2 ay1
			C ok 10-11 rx:12 ry:12`, string(G0), string(G0)},
		{"G1c", `
			A ok 1-9 ax1 ry:1
			B ok 1-9 ay1 rx:1`, string(G1c), string(G1c)},
		{"G-single", `
			A ok 1-9 ax1 ay1
			B ok 1-9 rx: ry:1
			C ok 10-11 rx:1 ry:1`, string(GSingle), string(GSingle)},
		{"G-single by an append that nobody saw", `
			A ok 1-2 ax1
			B ok 3-4 rx:`, "G-single: read skew, in real time", "G-single: read skew, in real time"},
		{"a stale read, shown by time only", `
			A ok 1-2 ax1
			B ok 3-4 rx:
			C ok 5-6 rx:1`, "G-single: read skew, in real time", "G-single: read skew, in real time"},
		{"an order that time forbids", `
			A ok 1-2 ax2
			B ok 3-4 ax1
			C ok 5-6 rx:12`, "G0: write cycle, in real time", "G0: write cycle, in real time"},
		{"seen before it began", `
			A ok 1-2 rx:1
			B ok 3-4 ax1`, "G1c: circular information flow, in real time", "G1c: circular information flow, in real time"},
		{"lost update", `
			A ok 1-9 rx: ax1
			B ok 1-9 rx: ax2
			C ok 10-11 rx:12`, string(LostUpdate), string(LostUpdate)},
		{"long fork", `
			A ok 1-9 ax1
			B ok 1-9 ay1
			C ok 1-9 rx:1 ry:
			D ok 1-9 rx: ry:1
			E ok 10-11 rx:1 ry:1`, string(Nonadjacent), string(Nonadjacent)},
		{"write skew", `
			A ok 1-9 rx: ry: ax1
			B ok 1-9 rx: ry: ay1
			C ok 10-11 rx:1 ry:1`, "", string(G2)},
		{"write skew that nobody saw", `
			A ok 1-9 rx: ry: ax1
			B ok 1-9 rx: ry: ay1`, "", string(G2)},
		{"an open one that nobody saw", `
			A open 1-0 rx: ax1
			B ok 1-9 rx: ax2
			C ok 10-11 rx:2`, "", ""},
		{"an open one that was seen lost an update", `
			A open 1-0 rx: ax1
			B ok 1-9 rx: ax2
			C ok 10-11 rx:12`, string(LostUpdate), string(LostUpdate)},
		{"an open one sees its own", `
			A open 1-0 rx: ax1 rx:1
			B ok 1-9 rx: ax2
			C ok 10-11 rx:2`, "", ""},
		{"an open one has no end", `
			A open 1-0 ax1
			B ok 3-4 rx:
			C ok 5-6 rx:1`, "", ""},
	} {
		txns := parse(t, c.history)
		for level, want := range []string{c.si, c.ser} {
			found := Check(txns, Level(level))
			got := ""
			if len(found) > 0 {
				got, _, _ = strings.Cut(found[0].String(), "\n")
			}
			if got != want {
				t.Errorf("%s under %s: found %q, want %q: %v", c.name, Level(level), got, want, found)
			}
		}
	}
}

// TestCycleInWords: what is printed is the shortest cycle, and says why each comes before the next.
func TestCycleInWords(t *testing.T) {
	found := Check(parse(t, `
		A ok 1-9 ax1 ay1
		B ok 1-9 rx: ry:1
		C ok 10-11 rx:1 ry:1
		D ok 12-13 rx:1 az1
		E ok 14-15 rz:1`), Snapshot)
	want := `G-single: read skew
  B (committed): read x [], read y [1]
  A (committed): append 1 to x, append 1 to y
but:
  B comes before A: it does not see its 1 in x
  A comes before B, which sees its 1 in y`
	if len(found) != 1 || found[0].String() != want {
		t.Errorf("%v\nwant\n%s", found, want)
	}
}

// TestSmallCheckers: each of them finds what it is for, and nothing in what is clean.
func TestSmallCheckers(t *testing.T) {
	for name, c := range map[string]struct {
		err error
		bad bool
	}{
		"long fork":                {LongFork([]Glance{{"A", []string{"x"}, []string{"y"}}, {"B", []string{"y"}, []string{"x"}}}), true},
		"one after the other":      {LongFork([]Glance{{"A", []string{"x"}, []string{"y"}}, {"B", []string{"x", "y"}, nil}, {"C", nil, []string{"x", "y"}}}), false},
		"back in timestamps":       {Monotonic([]Look{{"A", 1, 9, 10, 5}, {"B", 1, 9, 20, 4}}), true},
		"two values, one stamp":    {Monotonic([]Look{{"A", 1, 9, 10, 5}, {"B", 1, 9, 10, 4}}), true},
		"back in time":             {Monotonic([]Look{{"A", 1, 2, 20, 5}, {"B", 3, 4, 10, 4}}), true},
		"late, at an old stamp":    {Monotonic([]Look{{"A", 1, 5, 20, 5}, {"B", 3, 4, 10, 4}}), false},
		"counter":                  {Counter([]Added{{2, Surely}, {3, Maybe}, {5, Never}}, 5), false},
		"counter lost one":         {Counter([]Added{{2, Surely}, {3, Maybe}}, 1), true},
		"counter counts one twice": {Counter([]Added{{2, Surely}}, 4), true},
		"counter shows a refused":  {Counter([]Added{{2, Surely}, {5, Never}}, 7), true},
		"sequential":               {Sequential([]Visit{{"A", 1, 2, 0, true}, {"B", 3, 4, 1, false}, {"B", 5, 6, 0, true}}), false},
		"an earlier one missed":    {Sequential([]Visit{{"A", 1, 2, 1, true}, {"B", 3, 4, 0, false}}), true},
		"missed meanwhile":         {Sequential([]Visit{{"A", 1, 3, 1, true}, {"B", 3, 4, 0, false}}), false},
		"skew":                     {Skew([]Pair{{"A", 1, -2}}, Serializable), true},
		"skew is allowed":          {Skew([]Pair{{"A", 1, -2}}, Snapshot), false},
		"no skew":                  {Skew([]Pair{{"A", 3, -2}}, Serializable), false},
	} {
		if (c.err != nil) != c.bad {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}
