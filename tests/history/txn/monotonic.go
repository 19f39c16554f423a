package txn

import (
	"cmp"
	"fmt"
	"slices"
)

// Look is one read of a value that only grows: a counter to which only positive numbers are added, or a register into
// which its only writer writes ever larger ones.
type Look struct {
	Name         string
	Begun, Ended int64
	TS           uint64 // the timestamp read at
	Value        int64
}

// Monotonic finds a value that goes back: in the order of timestamps, or where one read had ended before another began.
func Monotonic(looks []Look) error {
	byTS := slices.Clone(looks)
	slices.SortFunc(byTS, func(a, b Look) int { return cmp.Or(cmp.Compare(a.TS, b.TS), cmp.Compare(a.Value, b.Value)) })
	for i := 1; i < len(byTS); i++ {
		a, b := byTS[i-1], byTS[i]
		if a.Value > b.Value || a.TS == b.TS && a.Value != b.Value {
			return fmt.Errorf("not monotonic: %s reads %d at timestamp %d, %s reads %d at %d", a.Name, a.Value, a.TS, b.Name, b.Value, b.TS)
		}
	}
	byEnd, byBegin := slices.Clone(looks), slices.Clone(looks)
	slices.SortFunc(byEnd, func(a, b Look) int { return cmp.Compare(a.Ended, b.Ended) })
	slices.SortFunc(byBegin, func(a, b Look) int { return cmp.Compare(a.Begun, b.Begun) })
	most, next := Look{}, 0
	for _, b := range byBegin {
		for ; next < len(byEnd) && byEnd[next].Ended < b.Begun; next++ {
			if byEnd[next].Value > most.Value {
				most = byEnd[next]
			}
		}
		if b.Value < most.Value {
			return fmt.Errorf("not monotonic: %s read %d and had ended at %d, %s began at %d and reads %d", most.Name, most.Value, most.Ended, b.Name, b.Begun, b.Value)
		}
	}
	return nil
}

// Added is one addition to a counter.
type Added struct {
	Delta int64
	Fate  Outcome
}

// Outcome is what is known of it.
type Outcome uint8

// The outcomes.
const (
	Maybe  Outcome = iota // its client was not told
	Surely                // it was acknowledged
	Never                 // it was refused
)

// Counter holds the last read of a counter against what was added to it, all of it positive: the sum of what is known lies
// in it, and no more than what may be.
func Counter(adds []Added, value int64) error {
	var least, most int64
	for _, a := range adds {
		if a.Fate == Surely {
			least += a.Delta
		}
		if a.Fate != Never {
			most += a.Delta
		}
	}
	if value < least || value > most {
		return fmt.Errorf("counter: it holds %d; %d were acknowledged, and at most %d can have been added", value, least, most)
	}
	return nil
}
