//go:build bugs

package bug

import "sync/atomic"

// Built says whether this program holds the bugs.
const Built = true

var planted atomic.Uint32 // one at a time

// On reports whether the bug is planted in this run.
func (b Bug) On() bool { return planted.Load() == uint32(b) }

// Plant plants a bug, in place of the one before.
func Plant(b Bug) { planted.Store(uint32(b)) }
