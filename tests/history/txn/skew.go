package txn

import "fmt"

// Pair is two keys of which whoever writes one reads both: a withdrawal is allowed while the two together do not fall
// below zero.
type Pair struct {
	Name string // of the transaction that read it
	A, B int64
}

// Skew finds a pair that fell below zero: two transactions each read both keys and wrote another one. Snapshot isolation
// allows that, serializability does not.
func Skew(pairs []Pair, level Level) error {
	if level == Snapshot {
		return nil
	}
	for _, p := range pairs {
		if p.A+p.B < 0 {
			return fmt.Errorf("write skew: %s reads %d and %d, together below zero", p.Name, p.A, p.B)
		}
	}
	return nil
}
