package node

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/skerrydb/skerry/internal/budget"
)

// restBytes is what a process with a node takes beside everything that has a setting: the program, connections, what some
// thousand replicas take at rest, and what the collector leaves behind.
const restBytes = 192 << 20

// memTables is how many memtables an engine may have at a time.
const memTables = 4

// Defaults of StoreConfig, as the engine has them.
const (
	defaultCacheBytes    = 64 << 20
	defaultMemTableBytes = 64 << 20
)

// MemoryBytes is how much memory the process of a node may take.
func (c *Config) MemoryBytes() int64 {
	n := int64(restBytes) + c.engineBytes()
	if s := c.Store; s != nil {
		n += budget.New(s.MemoryBudget).Limit()
	}
	if c.Placement != nil {
		n += memberMemory
	}
	return n
}

// RuntimeBytes is how much of MemoryBytes Go's runtime is told to keep to (debug.SetMemoryLimit), so that it collects more
// eagerly instead of letting the heap grow to twice of what is in use. In a build with cgo the engines take their caches and
// memtables from C, which the runtime does not count.
func (c *Config) RuntimeBytes() int64 {
	if enginesUseC {
		return c.MemoryBytes() - c.engineBytes()
	}
	return c.MemoryBytes()
}

// engineBytes is what the caches and memtables of the node's engines may take.
func (c *Config) engineBytes() int64 {
	n := int64(0)
	if s := c.Store; s != nil {
		n += orBytes(s.CacheBytes, defaultCacheBytes) + memTables*orBytes(s.MemTableBytes, defaultMemTableBytes)
	}
	if c.Placement != nil {
		n += memberCacheBytes + memTables*memberMemTableBytes
	}
	return n
}

func orBytes(v, def int64) int64 {
	if v <= 0 {
		return def
	}
	return v
}

// budgetPart of the machine's memory is the budget of a store for which nobody chose one, at most budget.DefaultBytes: with
// more, work would only wait longer.
const budgetPart = 4

// DefaultMemoryBudget is the budget of a store on this machine.
func DefaultMemoryBudget() int64 {
	total := machineMemory(os.ReadFile)
	if total <= 0 {
		return budget.DefaultBytes
	}
	return max(budget.MinBytes, min(budget.DefaultBytes, total/budgetPart))
}

// The block cache of a store for which nobody chose one is a part of the machine's memory: a read that misses it unpacks a
// block of 16 KiB again. Bounded above, because several stores may share a machine.
const (
	cachePart     = 8
	maxCacheBytes = 2 << 30
)

// DefaultCacheBytes is the block cache of a store on this machine.
func DefaultCacheBytes() int64 {
	return max(defaultCacheBytes, min(maxCacheBytes, machineMemory(os.ReadFile)/cachePart))
}

// machineMemory is the memory of this machine, or of the control group that the process runs in, if that has a limit; zero
// if that cannot be told.
func machineMemory(read func(string) ([]byte, error)) int64 {
	if runtime.GOOS != "linux" {
		return 0
	}
	total := int64(0)
	if b, err := read("/proc/meminfo"); err == nil {
		total = memTotal(b)
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		b, err := read(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 && (total == 0 || n < total) {
			total = n
		}
	}
	return total
}

// memTotal reads /proc/meminfo.
func memTotal(b []byte) int64 {
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(s.Text(), "MemTotal: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
