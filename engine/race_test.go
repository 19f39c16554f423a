//go:build race

package engine

// crashSeeds is how many runs TestCrash makes of each kind. The race detector makes an open of a clone fifteen times as slow,
// and every run has the same goroutines.
const crashSeeds = 1
