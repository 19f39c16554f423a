package txn

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/skerrydb/skerry/tests/history"
)

// depends is why one transaction comes before another.
type depends uint8

const (
	ww depends = iota // its write is followed by the other's
	wr                // the other reads what it wrote
	rw                // it does not see what the other wrote
	rt                // it had ended when the other began
)

// edge leads to a transaction that comes later. Time stands between transactions as nodes of its own (see clock), whose
// edges have no words.
type edge struct {
	to   int
	kind depends
	key  string
	more string // the element that says so
}

// graph is who comes before whom. Nodes below len(txns) are transactions, the others moments.
type graph struct {
	o   *observation
	out [][]edge
}

// graph draws all edges that the lists and the time give.
func (o *observation) graph() *graph {
	g := &graph{o: o, out: make([][]edge, len(o.txns))}
	for _, key := range o.keys {
		g.writes(key)
	}
	for _, v := range o.views {
		g.reads(v)
	}
	g.clock()
	return g
}

func (g *graph) add(from int, e edge) {
	if from != e.to {
		g.out[from] = append(g.out[from], e)
	}
}

// writes puts the writers of a list in order. An edge from one to the next is enough; those whose appends nobody saw come
// after all others, in no known order among themselves.
func (g *graph) writes(key string) {
	l := g.o.lists[key]
	for i := 1; i < len(l.versions); i++ {
		from, to := g.o.writer[place{key, l.versions[i-1]}], g.o.writer[place{key, l.versions[i]}]
		g.add(from, edge{to: to, kind: ww, key: key, more: fmt.Sprintf("%s, then %s", l.versions[i-1], l.versions[i])})
	}
	if n := len(l.versions); n > 0 {
		from := g.o.writer[place{key, l.versions[n-1]}]
		for _, to := range l.unseen {
			g.add(from, edge{to: to, kind: ww, key: key, more: l.versions[n-1] + ", then what nobody saw"})
		}
	}
}

// reads connects a reader with who wrote what it saw, and with who wrote what it missed.
func (g *graph) reads(v view) {
	l := g.o.lists[v.key]
	if v.n > 0 {
		e := l.versions[v.n-1]
		g.add(g.o.writer[place{v.key, e}], edge{to: v.txn, kind: wr, key: v.key, more: e})
	}
	next := v.n
	for next < len(l.versions) && g.o.writer[place{v.key, l.versions[next]}] == v.txn {
		next++ // its own
	}
	if next < len(l.versions) {
		e := l.versions[next]
		g.add(v.txn, edge{to: g.o.writer[place{v.key, e}], kind: rw, key: v.key, more: e})
		return
	}
	for _, to := range l.unseen {
		g.add(v.txn, edge{to: to, kind: rw, key: v.key, more: "what nobody saw"})
	}
}

// clock orders transactions by time. One node stands for each moment at which a transaction ended, in a chain, so that
// the number of edges grows with that of transactions and not with its square.
func (g *graph) clock() {
	type end struct {
		at  int64
		txn int
	}
	var ends []end
	for i := range g.o.txns {
		if t := &g.o.txns[i]; t.Fate == history.Done {
			ends = append(ends, end{t.Ended, i})
		}
	}
	slices.SortFunc(ends, func(a, b end) int { return cmp.Compare(a.at, b.at) })
	first := len(g.out)
	for i, e := range ends {
		g.out = append(g.out, nil)
		g.add(e.txn, edge{to: first + i, kind: rt})
		if i > 0 {
			g.add(first+i-1, edge{to: first + i, kind: rt})
		}
	}
	for i := range g.o.txns {
		t := &g.o.txns[i]
		if t.Fate == history.Refused {
			continue
		}
		n, _ := slices.BinarySearchFunc(ends, t.Begun, func(e end, at int64) int { return cmp.Compare(e.at, at) })
		if n > 0 {
			g.add(first+n-1, edge{to: i, kind: rt})
		}
	}
}

// components numbers the strongly connected components (Tarjan 1972, without recursion); whoever is on no cycle has a
// component of its own.
func (g *graph) components() (of []int, size []int) {
	n := len(g.out)
	of = make([]int, n)
	index, low, on := make([]int, n), make([]int, n), make([]bool, n)
	var stack []int
	type frame struct{ node, next int }
	count := 0
	for root := range n {
		if index[root] != 0 {
			continue
		}
		calls := []frame{{node: root}}
		for len(calls) > 0 {
			f := &calls[len(calls)-1]
			v := f.node
			if f.next == 0 {
				count++
				index[v], low[v], on[v] = count, count, true
				stack = append(stack, v)
			}
			if f.next < len(g.out[v]) {
				w := g.out[v][f.next].to
				f.next++
				if index[w] == 0 {
					calls = append(calls, frame{node: w})
				} else if on[w] {
					low[v] = min(low[v], index[w])
				}
				continue
			}
			if f.next == 0 {
				f.next = 1 // a leaf was visited
			}
			if low[v] == index[v] {
				size = append(size, 0)
				for w := -1; w != v; {
					w = stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					on[w], of[w] = false, len(size)-1
					size[len(size)-1]++
				}
			}
			calls = calls[:len(calls)-1]
			if len(calls) > 0 {
				p := calls[len(calls)-1].node
				low[p] = min(low[p], low[v])
			}
		}
	}
	return of, size
}
