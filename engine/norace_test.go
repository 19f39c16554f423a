//go:build !race

package engine

// crashSeeds is how many runs TestCrash makes of each kind.
const crashSeeds = 4
