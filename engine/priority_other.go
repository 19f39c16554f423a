//go:build !linux

package engine

// lowerPriority does nothing where a thread has no priority of its own.
func lowerPriority(int) {}
