// Package invariant checks in test builds what production takes for granted.
package invariant

import "fmt"

// Check panics with the message if cond does not hold and checks are on (build tag invariants, or race).
// Use it only where the check costs more than production should pay; everything else is checked always.
func Check(cond bool, format string, args ...any) {
	if Enabled && !cond {
		panic("invariant: " + fmt.Sprintf(format, args...))
	}
}
