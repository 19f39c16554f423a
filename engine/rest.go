package engine

import (
	"context"
	"errors"

	"github.com/skerrydb/skerry/engine/keys"
)

// A read looks for its key in every memtable, and a memtable of tens of megabytes is a skip list of which each step is a miss
// of the processor's caches: a third of a read's time, as long as nothing pushes it out (docs/performance.md). So what is
// written no more is written into a table, of which a filter says that the key is not there. The next start has less to replay,
// too.

const (
	// restBytes is the least that is worth a table; where memtables are small, one part of restParts of such.
	restBytes = 4 << 20
	restParts = 16
	// restful is how little is written meanwhile, as a part of what is in memtables, that it counts as nothing: with a trickle
	// of writes tables are small, but it takes restful of the caller's periods to fill one.
	restful = 64
)

// Rest is told at even times that time has passed. If next to nothing was written since the call before, what is in memtables
// is written into a table, in the background, unless something already is; and the raft log gives back files that it does not need.
func (e *Engine) Rest() error {
	return e.write("flush", func() error {
		m := e.db.Metrics()
		grown := m.WAL.BytesIn - e.rested.Swap(m.WAL.BytesIn)
		unflushed, least := m.WAL.Size, min(restBytes, e.opts.MemTableSize/restParts)
		if grown > unflushed/restful {
			return nil
		}
		e.ShrinkLog()
		if unflushed < least || m.Flush.NumInProgress > 0 {
			return nil
		}
		return e.beginFlush()
	})
}

// ShrinkLog gives back the files of the raft log that wait to be used again, but for a few.
func (e *Engine) ShrinkLog() {
	if j := e.journal(); j != nil {
		j.Shrink()
	}
}

// beginFlush has Pebble write its memtable into a table. AsyncFlush would end the process, by a lock that is unlocked twice, if
// the next write-ahead log cannot be created. A compaction begins with a flush of what overlaps it, as whatever was written to a
// shard does the shards' states; to wait for that one's end, and to compact, is declined.
func (e *Engine) beginFlush() error {
	declined, cancel := context.WithCancel(context.Background())
	cancel()
	s := keys.AllStates()
	if err := e.db.Compact(declined, s.Start, s.End, false); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
