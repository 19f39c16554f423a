package node

import (
	"os"
	"runtime/debug"
)

// gcPercent is GOGC until the first collection, see PaceCollector. The collector takes a fifth of a busy node's processor time at Go's
// own 100.
const gcPercent = 100 * garbageTimes

// TuneRuntime sets Go's runtime up for a process that is there for this node. GOGC and GOMEMLIMIT win.
func (c *Config) TuneRuntime() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(c.RuntimeBytes())
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
