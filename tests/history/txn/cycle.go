package txn

import (
	"fmt"
	"strings"
)

// class is a kind of cycle: which edges it may have.
type class struct {
	kind  Kind
	begin func(depends) bool // its first edge
	rest  func(depends) bool // all others
	apart bool               // no two rw in a row, the last and the first included
	only  Level              // the least level that does not allow it
}

// classes of cycles, worst first. A cycle of one class is one of a later class as well: each is looked for only where none
// of an earlier class was found. The order of time may help in all of them.
var classes = []class{
	{kind: G0, begin: is(ww), rest: is(ww)},
	{kind: G1c, begin: is(wr), rest: is(ww, wr)},
	{kind: GSingle, begin: is(rw), rest: is(ww, wr)},
	{kind: Nonadjacent, begin: is(rw), rest: is(ww, wr, rw), apart: true},
	{kind: G2, begin: is(rw), rest: is(ww, wr, rw), only: Serializable},
}

func is(kinds ...depends) func(depends) bool {
	var set [4]bool
	for _, k := range kinds {
		set[k] = true
	}
	return func(k depends) bool { return set[k] }
}

// step is one edge of a cycle.
type step struct {
	from int
	edge
}

// cycles looks for what the level does not allow: the shortest cycle of each class, first without the order of time.
func (g *graph) cycles(level Level) (found []Anomaly) {
	of, size := g.components()
	for _, c := range classes {
		if c.only > level {
			continue
		}
		for _, time := range []bool{false, true} {
			if s := g.shortest(c, time, of, size); s != nil {
				return append(found, Anomaly{Kind: c.kind, RealTime: time, Words: g.words(s)})
			}
		}
	}
	return nil
}

// shortest is the shortest cycle of a class.
func (g *graph) shortest(c class, time bool, of, size []int) (best []step) {
	for from := range g.o.txns {
		if size[of[from]] == 1 {
			continue
		}
		for _, e := range g.out[from] {
			if !c.begin(e.kind) || of[e.to] != of[from] {
				continue
			}
			if s := g.path(c, time, of, e, from); s != nil && (best == nil || g.length(s)+1 < g.length(best)) {
				best = append([]step{{from, e}}, s...)
			}
		}
	}
	return best
}

// length counts the edges that have words.
func (g *graph) length(s []step) (n int) {
	for _, x := range s {
		if x.to < len(g.o.txns) {
			n++
		}
	}
	return n
}

// path finds the fewest edges that lead back, by breadth. Where two rw may not stand in a row, a node is met in two ways:
// by an rw or not.
func (g *graph) path(c class, time bool, of []int, first edge, home int) []step {
	type state struct {
		node  int
		afoul bool // the last edge was an rw, and another one may not follow
	}
	start := state{first.to, c.apart && first.kind == rw}
	came := map[state]step{start: {from: -1}}
	before := map[state]state{}
	for queue := []state{start}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, e := range g.out[at.node] {
			if of[e.to] != of[home] || e.kind == rt && !time || e.kind != rt && !c.rest(e.kind) || at.afoul && e.kind == rw {
				continue
			}
			if e.to == home && (!c.apart || e.kind != rw) {
				back := []step{{at.node, e}}
				for ; at != start; at = before[at] {
					back = append([]step{came[at]}, back...)
				}
				return back
			}
			next := state{e.to, c.apart && e.kind == rw}
			if _, ok := came[next]; !ok && e.to != home {
				came[next], before[next] = step{at.node, e}, at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// words tells a cycle to people: its transactions, then why each comes before the next one.
func (g *graph) words(cycle []step) string {
	var b strings.Builder
	shown := make(map[int]bool)
	for _, s := range cycle {
		if s.from < len(g.o.txns) && !shown[s.from] {
			shown[s.from] = true
			fmt.Fprintf(&b, "  %s\n", &g.o.txns[s.from])
		}
	}
	b.WriteString("but:\n")
	from := -1
	for _, s := range cycle {
		if s.from < len(g.o.txns) {
			from = s.from
		}
		if s.to >= len(g.o.txns) {
			continue
		}
		a, z := g.o.txns[from].Name, g.o.txns[s.to].Name
		switch s.kind {
		case ww:
			fmt.Fprintf(&b, "  %s comes before %s: it appends to %s first (%s)\n", a, z, s.key, s.more)
		case wr:
			fmt.Fprintf(&b, "  %s comes before %s, which sees its %s in %s\n", a, z, s.more, s.key)
		case rw:
			fmt.Fprintf(&b, "  %s comes before %s: it does not see its %s in %s\n", a, z, s.more, s.key)
		case rt:
			fmt.Fprintf(&b, "  %s comes before %s: it had ended at %d, and that began at %d\n", a, z, g.o.txns[from].Ended, g.o.txns[s.to].Begun)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}
