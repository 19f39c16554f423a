package node

import (
	"os"
	"runtime/debug"
)

// gcPercent lets the heap grow to five times of what is in use before it is collected, near the memory limit to less. The
// collector takes a fifth of a busy node's processor time at Go's own 100.
const gcPercent = 400

// TuneRuntime sets Go's runtime up for a process that is there for this node. GOGC and GOMEMLIMIT win.
func (c *Config) TuneRuntime() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(c.RuntimeBytes())
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
