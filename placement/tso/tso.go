// Package tso hands out timestamps: even, strictly increasing, unique over all leaders of the placement driver.
//
// A timestamp is milliseconds of placement's clock in the upper 46 bits and a counter in the lower 18, as in Percolator's
// oracle and TiKV's. Only even ones are issued; odd ones are free for transactions to compute between two of them.
//
// Uniqueness over leaders comes from a persisted bound: a leader hands out nothing at or above it, and the first
// timestamp of a term starts at it. Order comes from whoever calls Next: it checks that it still leads after the
// timestamp was made and before it is answered.
package tso

import "errors"

// LogicalBits is the width of the counter below the milliseconds.
const LogicalBits = 18

// WindowMillis is how far ahead of the clock the bound is persisted: one write per window, and at most this much of
// the clock is skipped when a leader is replaced.
const WindowMillis = 3000

// ErrWindow says that the persisted bound must be raised (to Want) before more can be handed out.
var ErrWindow = errors.New("timestamp window is used up")

// Allocator makes timestamps within a persisted window. Not safe for concurrent use.
type Allocator struct {
	next  uint64 // even; the smallest that may be handed out
	bound uint64 // persisted: none at or above it may be handed out
}

// New begins a term: persisted is the bound that the last leader left, 0 in a new cluster.
func New(persisted uint64) *Allocator {
	start := (persisted + 1) &^ 1
	return &Allocator{next: start, bound: persisted}
}

// Want is the bound to persist now, given placement's clock: a window ahead of both the clock and what was handed out.
func (a *Allocator) Want(millis uint64) uint64 {
	return max(millis, a.next>>LogicalBits)<<LogicalBits + WindowMillis<<LogicalBits
}

// Raised takes a bound that is persisted.
//
// INVARIANT: bound only grows, and nothing at or above the persisted one is ever handed out.
func (a *Allocator) Raised(bound uint64) { a.bound = max(a.bound, bound) }

// Next reserves count timestamps, first, first+2, ..., at or after the clock.
func (a *Allocator) Next(millis uint64, count int) (first uint64, err error) {
	first = max(a.next, millis<<LogicalBits)
	end := first + 2*uint64(count)
	if end > a.bound {
		return 0, ErrWindow
	}
	a.next = end
	return first, nil
}

// Past is the largest timestamp below which none will be handed out any more.
func (a *Allocator) Past(millis uint64) uint64 { return max(a.next, millis<<LogicalBits) }

// Low reports whether so little of the window is left that it should be raised ahead of need.
func (a *Allocator) Low(millis uint64) bool {
	return a.bound < (millis+WindowMillis/2)<<LogicalBits
}
