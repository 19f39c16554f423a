//go:build !linux

package node

// CoarseTimers does nothing where timers have no slack that can be told.
func CoarseTimers() error { return nil }
