//go:build !linux

package engine

import "time"

// lowerPriority does nothing where a thread has no priority of its own.
func lowerPriority(int) {}

// threadTime is zero where a thread's is not known: then whatever a thread did counts as waiting.
func threadTime() time.Duration { return 0 }
