package txn

import (
	"fmt"
	"slices"
)

// Glance is one transaction's read of a group of keys into each of which one transaction writes, once.
type Glance struct {
	Name string
	Saw  []string // the keys that were written by then
	Not  []string // those that were not
}

// LongFork finds two readers that saw two writes in different orders: each saw one that the other missed. Snapshot
// isolation forbids it; stores in which replicas apply independent writes as they come (parallel snapshot isolation) do it.
func LongFork(glances []Glance) error {
	for i := range glances {
		for j := range i {
			a, b := &glances[j], &glances[i]
			x, y := fork(a, b), fork(b, a)
			if x != "" && y != "" {
				return fmt.Errorf("long fork: %s saw the write of %s and not that of %s, %s the other way round", a.Name, x, y, b.Name)
			}
		}
	}
	return nil
}

// fork is a key that a saw and b missed.
func fork(a, b *Glance) string {
	for _, k := range a.Saw {
		if slices.Contains(b.Not, k) {
			return k
		}
	}
	return ""
}
