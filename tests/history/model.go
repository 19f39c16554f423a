// Package history records what clients of a cluster saw, and asks whether it could have happened one operation after
// the other (linearizability, by porcupine).
package history

import (
	"fmt"
	"strings"

	"github.com/anishathalye/porcupine"
)

// Keys come in groups of two, each group inside one shard: small enough for the checker to decide, large enough to see a
// batch or a page that is not atomic.
const GroupKeys = 2

// Kind is what an operation does.
type Kind uint8

const (
	Get    Kind = iota // key
	Put                // key := value
	Delete             // key := absent
	CAS                // key := value if key = want
	Batch              // both keys := value if key = want; guarded batch
	Scan               // both keys in one page
)

// Input is an operation on a group. An absent key is "".
type Input struct {
	Group int
	Kind  Kind
	Key   int // of the group
	Want  string
	Value string
}

// Output is what the client was told. Of an ambiguous operation nothing is known, not even whether it happened: it stays
// open to the end of the history, where its effect is seen by nobody.
type Output struct {
	Ambiguous bool
	OK        bool              // the condition held
	Values    [GroupKeys]string // Get: of its key; Scan: of all; a failed condition: of its key
}

type state [GroupKeys]string

// Model is what a group of keys does, one operation at a time.
var Model = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		groups := make(map[int][]porcupine.Operation)
		most := 0
		for _, op := range history {
			g := op.Input.(Input).Group
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
	Step:  func(s, in, out any) (bool, any) { return step(s.(state), in.(Input), out.(Output)) },
	Equal: func(a, b any) bool { return a.(state) == b.(state) },
	DescribeOperation: func(in, out any) string {
		i, o := in.(Input), out.(Output)
		names := [...]string{"get", "put", "delete", "cas", "batch", "scan"}
		return fmt.Sprintf("%s %d/%d want %q value %q -> %+v", names[i.Kind], i.Group, i.Key, i.Want, i.Value, o)
	},
	DescribeState: func(s any) string { st := s.(state); return strings.Join(st[:], " | ") },
}

func step(s state, in Input, out Output) (bool, state) {
	switch in.Kind {
	case Get:
		return out.Values[in.Key] == s[in.Key], s
	case Scan:
		return out.Values == s, s
	}
	holds := true
	if in.Kind == CAS || in.Kind == Batch {
		holds = s[in.Key] == in.Want
	}
	if !out.Ambiguous && out.OK != holds {
		return false, s
	}
	if !holds {
		return out.Ambiguous || out.Values[in.Key] == s[in.Key], s
	}
	switch in.Kind {
	case Put, CAS:
		s[in.Key] = in.Value
	case Delete:
		s[in.Key] = ""
	case Batch:
		for i := range s {
			s[i] = in.Value
		}
	}
	return true, s
}
