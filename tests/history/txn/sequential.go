package txn

import (
	"cmp"
	"fmt"
	"slices"
)

// Visit is one read of one key of a row of keys that one client writes one after the other, a transaction each, in the
// order of their numbers.
type Visit struct {
	Reader       string
	Begun, Ended int64
	Key          int
	Found        bool
}

// Sequential finds a later write that was seen where an earlier one was missed afterwards: what a client did in an order
// happened in that order for all.
func Sequential(visits []Visit) error {
	byEnd, byBegin := slices.Clone(visits), slices.Clone(visits)
	slices.SortFunc(byEnd, func(a, b Visit) int { return cmp.Compare(a.Ended, b.Ended) })
	slices.SortFunc(byBegin, func(a, b Visit) int { return cmp.Compare(a.Begun, b.Begun) })
	most, next := Visit{Key: -1}, 0
	for _, b := range byBegin {
		for ; next < len(byEnd) && byEnd[next].Ended < b.Begun; next++ {
			if byEnd[next].Found && byEnd[next].Key > most.Key {
				most = byEnd[next]
			}
		}
		if !b.Found && b.Key <= most.Key {
			return fmt.Errorf("not sequential: %s found key %d and had ended at %d, %s began at %d and does not find key %d, which was written before",
				most.Reader, most.Key, most.Ended, b.Reader, b.Begun, b.Key)
		}
	}
	return nil
}
