//go:build invariants || race

package invariant

// Enabled is true in test builds.
const Enabled = true
