// Package linear asks whether what clients saw could have happened one operation after the other (porcupine), while a
// nemesis crashes stores, cuts links, hangs disks and moves leaders of an in-process cluster.
package linear

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

// Keys come in groups of two, each group inside one shard: small enough for the checker to decide, large enough to see a
// batch or a page that is not atomic.
const groupKeys = 2

type opKind uint8

const (
	opGet    opKind = iota // key
	opPut                  // key := value
	opDelete               // key := absent
	opCAS                  // key := value if key = want
	opBatch                // both keys := value if key = want; guarded batch
	opScan                 // both keys in one page
)

// input is an operation on a group. An absent key is "".
type input struct {
	group int
	kind  opKind
	key   int // of the group
	want  string
	value string
}

// output is what the client was told. Of an ambiguous operation nothing is known, not even whether it happened: it stays
// open to the end of the history, where its effect is seen by nobody.
type output struct {
	ambiguous bool
	ok        bool              // the condition held
	values    [groupKeys]string // opGet: of its key; opScan: of all; a failed condition: of its key
}

type state [groupKeys]string

// model is what a group of keys does, one operation at a time.
var model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		groups := make(map[int][]porcupine.Operation)
		most := 0
		for _, op := range history {
			g := op.Input.(input).group
			groups[g] = append(groups[g], op)
			most = max(most, g)
		}
		var out [][]porcupine.Operation
		for g := 0; g <= most; g++ {
			if len(groups[g]) > 0 {
				out = append(out, groups[g])
			}
		}
		return out
	},
	Init:  func() any { return state{} },
	Step:  func(s, in, out any) (bool, any) { return step(s.(state), in.(input), out.(output)) },
	Equal: func(a, b any) bool { return a.(state) == b.(state) },
	DescribeOperation: func(in, out any) string {
		i, o := in.(input), out.(output)
		names := [...]string{"get", "put", "delete", "cas", "batch", "scan"}
		return fmt.Sprintf("%s %d/%d want %q value %q -> %+v", names[i.kind], i.group, i.key, i.want, i.value, o)
	},
	DescribeState: func(s any) string { st := s.(state); return strings.Join(st[:], " | ") },
}

func step(s state, in input, out output) (bool, state) {
	switch in.kind {
	case opGet:
		return out.values[in.key] == s[in.key], s
	case opScan:
		return out.values == s, s
	}
	holds := true
	if in.kind == opCAS || in.kind == opBatch {
		holds = s[in.key] == in.want
	}
	if !out.ambiguous && out.ok != holds {
		return false, s
	}
	if !holds {
		return out.ambiguous || out.values[in.key] == s[in.key], s
	}
	switch in.kind {
	case opPut, opCAS:
		s[in.key] = in.value
	case opDelete:
		s[in.key] = ""
	case opBatch:
		for i := range s {
			s[i] = in.value
		}
	}
	return true, s
}
