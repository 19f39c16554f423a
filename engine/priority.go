package engine

import (
	"slices"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/skerrydb/skerry/engine/keys"
)

// Compactions can wait, and those who write and read cannot. So a compaction runs on a thread to which the system gives less of a busy
// processor, and all of one that nobody else wants, as RocksDB's threads of low priority do (Env::LowerThreadPoolCPUPriority). Under load
// for ever that lets level 0 grow, and each of its sublevels is one more place in which a read looks; so once it is deep, compactions
// run as everything else does.

const (
	// politeBy is how much nicer than the process compactions are: beside one thread that wants the processor, they get a tenth.
	politeBy = 10
	// urgentDepth is how many sublevels of level 0, or flushes since one of them was compacted, are too many.
	urgentDepth = 4
)

// urgency knows whether compactions are behind. Its methods are called by Pebble's listener.
type urgency struct {
	flushes atomic.Int32 // since the last compaction out of level 0 began
	polite  atomic.Int64 // compactions that were told to give way
}

func (u *urgency) flushed() { u.flushes.Add(1) }

// begin is called on the goroutine of a compaction, which ends with it.
func (u *urgency) begin(i *pebble.CompactionInfo) {
	if u.isUrgent(i) || i.Reason == "move" || i.Reason == "delete-only" { // those two read and write no tables
		return
	}
	u.polite.Add(1)
	lowerPriority(politeBy)
}

func (u *urgency) isUrgent(i *pebble.CompactionInfo) bool {
	if len(i.Input) > 0 && i.Input[0].Level == 0 {
		u.flushes.Store(0)
		return depth(i.Input[0].Tables) >= urgentDepth
	}
	return u.flushes.Load() >= urgentDepth
}

// depth is the largest number of tables that hold one key.
func depth(tables []pebble.TableInfo) int {
	type end struct {
		key  []byte
		step int // 1 where a table begins, -1 where one ends
	}
	ends := make([]end, 0, 2*len(tables))
	for i := range tables {
		ends = append(ends, end{tables[i].Smallest.UserKey, 1}, end{tables[i].Largest.UserKey, -1})
	}
	slices.SortFunc(ends, func(a, b end) int {
		if c := keys.Compare(a.key, b.key); c != 0 {
			return c
		}
		return b.step - a.step // both tables hold the key that they share
	})
	now, most := 0, 0
	for _, e := range ends {
		now += e.step
		most = max(most, now)
	}
	return most
}
