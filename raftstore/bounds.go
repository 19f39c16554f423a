package raftstore

import "time"

// Bounds are what may be changed of a store while it runs; see Options, whose values they begin with.
type Bounds struct {
	SlowOperation          time.Duration
	SnapshotBytesPerSecond int64
	SplitBytes             uint64
	SplitWork              float64
}

// SetBounds has the store go by other bounds from the next look on.
func (s *Store) SetBounds(b Bounds) { s.bounds.Store(&b) }

// Bounds are those that it goes by.
func (s *Store) Bounds() Bounds { return *s.bounds.Load() }
