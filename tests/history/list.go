package history

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Fate is what a client knows of a write.
type Fate uint8

// The fates of a write.
const (
	Open    Fate = iota // under way, or ambiguous: it may take effect at any time after its beginning
	Done                // acknowledged: it took effect between its beginning and its end
	Refused             // it never takes effect
)

// ListOp is one operation on a list that grows by compare-and-swap: its reads return it whole, an append replaces what
// was Seen by that and one element more. A list is written as its elements, each with a comma behind it.
type ListOp struct {
	Begun, Ended int64  // of the history's clock; Ended is unused while the fate is Open
	Seen         string // the list as it was read, or on which the append was based
	Element      string // "" is a read; no two appends have the same
	Fate         Fate   // of the append
}

// CheckList says why a history of a list cannot have happened one operation after the other; final is the list as it was
// read after everything had ended. It always decides. A read that failed, or an append that was refused because the
// list had become another, is told as a read of what was seen, or not at all.
//
// Every version of the list is made by exactly one append, so the versions are in one order, and a history is
// linearizable exactly if nobody saw a version older than what somebody had seen, or made, before he began, and nobody
// saw one that was not yet begun to be made.
func CheckList(ops []ListOp, final string) error {
	elements := strings.SplitAfter(final, ",")
	elements = elements[:len(elements)-1]
	begun := make([]int64, len(elements)+1) // when the append of each version began; version 0 was always there
	position := make(map[string]int)
	for i, e := range elements {
		e = strings.TrimSuffix(e, ",")
		if at, ok := position[e]; ok {
			return fmt.Errorf("element %s is in the list twice, at %d and %d", e, at, i)
		}
		position[e], begun[i+1] = i, math.MaxInt64
	}
	spans := make([]span, 0, len(ops))
	for _, op := range ops {
		s, err := op.span(final, position)
		if err != nil {
			return err
		}
		if s.made {
			begun[s.after] = op.Begun
		}
		if !s.idle {
			spans = append(spans, s)
		}
	}
	for v := 1; v < len(begun); v++ {
		if begun[v] == math.MaxInt64 {
			return fmt.Errorf("element %s is in the list, and nobody appended it", elements[v-1])
		}
	}
	return checkOrder(spans, begun)
}

// span is when an operation saw and made which version of a list; a version is a number of elements.
type span struct {
	op            ListOp
	before, after int
	made          bool // it took effect as an append
	idle          bool // it is an append without effect
}

// span finds the versions of an operation in the final list. An append without effect has none: its base is what its
// client had read before, which was told as that read.
func (op ListOp) span(final string, position map[string]int) (span, error) {
	v := strings.Count(op.Seen, ",")
	s := span{op: op, before: v, after: v}
	if op.Element != "" {
		at, there := position[op.Element]
		switch {
		case op.Fate == Refused && there:
			return s, fmt.Errorf("element %s is in the list, and its append was refused", op.Element)
		case op.Fate == Done && !there:
			return s, fmt.Errorf("element %s is not in the list, and its append was acknowledged", op.Element)
		case !there:
			return span{op: op, idle: true}, nil
		case at != v:
			return s, fmt.Errorf("element %s stands at %d; its append was based on %d elements", op.Element, at, v)
		}
		s.made, s.after = true, v+1
	}
	if !strings.HasPrefix(final, op.Seen) {
		return s, fmt.Errorf("%+v saw a list that is no beginning of the final one %q", op, final)
	}
	return s, nil
}

// checkOrder compares the order of versions with the order of time.
func checkOrder(spans []span, begun []int64) error {
	known := slices.DeleteFunc(slices.Clone(spans), func(s span) bool { return s.op.Element != "" && s.op.Fate == Open })
	slices.SortFunc(known, func(a, b span) int { return cmp.Compare(a.op.Ended, b.op.Ended) })
	// What an operation made or saw was not begun after it ended, and neither was any version below.
	for _, s := range known {
		for v := 1; v <= s.after; v++ {
			if begun[v] > s.op.Ended {
				return fmt.Errorf("%+v saw version %d, and version %d was begun only after it had ended", s.op, s.after, v)
			}
		}
	}
	// What was seen or made before an operation began, it has seen.
	byBegin := slices.Clone(spans)
	slices.SortFunc(byBegin, func(a, b span) int { return cmp.Compare(a.op.Begun, b.op.Begun) })
	var newest span
	for i, next := 0, 0; i < len(byBegin); i++ {
		s := byBegin[i]
		for ; next < len(known) && known[next].op.Ended < s.op.Begun; next++ {
			if known[next].after > newest.after {
				newest = known[next]
			}
		}
		if s.before < newest.after {
			return fmt.Errorf("%+v is based on version %d; before it began, %+v had ended with version %d", s.op, s.before, newest.op, newest.after)
		}
	}
	return nil
}
