package engine

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/colblk"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
)

// pinnedFormat is the version of Pebble's files. It is pinned, because Pebble's newest is a moving constant that would
// raise a store for ever at the first start of a newer program, so that a rolling upgrade could not be rolled back. It
// is raised only after the cluster's version allows it.
const pinnedFormat = pebble.FormatValueSeparation

// The names under which the order of keys and their decomposition into columns are recorded. A store that was written
// with others is refused. They never change meaning.
const (
	comparerName  = "skerry.keys.v1"
	keySchemaName = "skerry.schema.v1"
)

// Tuning for a server instead of Pebble's defaults, which suit small tests. Sources: the sizes of CockroachDB, and
// measurements on filled stores.
const (
	memTablesBeforeStop = 4         // flushes of one memtable must not stop writes to the next
	l0CompactSublevels  = 2         // compact early: every sublevel is one more place to look
	l0StopSublevels     = 1000      // raft is never stalled here; admission at propose looks at Metrics
	lBaseBytes          = 64 << 20  //
	l0FileBytes         = 4 << 20   //
	blockBytes          = 16 << 10  // point reads dominate; scans use read-ahead
	indexBlockBytes     = 256 << 10 // above it the index has two levels
	bloomBitsPerKey     = 10        // 1 % false positives
	prefixBundle        = 16        // keys whose common prefix is stored once
	walBytesPerSync     = 512 << 10 // smooth out what unsynced state batches leave to the next sync
	openFiles           = 4096
)

// comparer is the order of package keys, as Pebble wants it.
func comparer() *pebble.Comparer {
	return &pebble.Comparer{
		Name:                 comparerName,
		Compare:              keys.Compare,
		Equal:                keys.Equal,
		Split:                keys.Split,
		ComparePointSuffixes: keys.CompareSuffixes,
		CompareRangeSuffixes: keys.CompareSuffixes,
		AbbreviatedKey:       keys.Abbreviate,
		Separator:            keys.Separator,
		Successor:            keys.Successor,
		ImmediateSuccessor:   keys.ImmediateSuccessor,
		FormatKey:            func(k []byte) fmt.Formatter { return formatter(k) },
	}
}

// formatter prints a physical key in Pebble's messages.
type formatter []byte

// Format implements fmt.Formatter.
func (f formatter) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(keys.Format(f))) }

// pebbleOptions does not set FlushDelayDeleteRange, which would bring the space of truncated logs back sooner: its timer
// rotates the write-ahead log on a goroutine of its own, and that panics, with the whole process, once a write to the
// log has failed. All other panics of Pebble come up in a call of the engine, where Engine.write catches them.
func (e *Engine) pebbleOptions(o Options, real bool) *pebble.Options {
	cmp := comparer()
	schema := colblk.DefaultKeySchema(cmp, prefixBundle)
	schema.Name = keySchemaName
	p := &pebble.Options{
		FS:                          e.fs,
		Comparer:                    cmp,
		KeySchema:                   keySchemaName,
		KeySchemas:                  sstable.MakeKeySchemas(&schema),
		FormatMajorVersion:          pinnedFormat,
		MemTableSize:                uint64(orDefault(o.MemTableBytes, defaultMemTableBytes)),
		MemTableStopWritesThreshold: memTablesBeforeStop,
		L0CompactionThreshold:       l0CompactSublevels,
		L0StopWritesThreshold:       l0StopSublevels,
		LBaseMaxBytes:               lBaseBytes,
		WALBytesPerSync:             walBytesPerSync,
		MaxOpenFiles:                openFiles,
		Logger:                      pebbleLogger{e},
		EventListener:               e.listener(real),
		CompactionConcurrencyRange: func() (int, int) {
			return 1, max(2, runtime.GOMAXPROCS(0)-1)
		},
	}
	p.TargetFileSizes[0] = l0FileBytes
	for i := range p.Levels {
		l := &p.Levels[i]
		l.BlockSize = blockBytes
		l.IndexBlockSize = indexBlockBytes
		l.FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
	}
	// The last level holds nine tenths of the keys: a filter there costs the most memory and helps only to find that a
	// key does not exist.
	p.Levels[len(p.Levels)-1].FilterPolicy = pebble.NoFilterPolicy
	p.Experimental.FileCacheShards = min(4, runtime.GOMAXPROCS(0))
	if real {
		p.WithFSDefaults()
	}
	p.FS = tableFS{p.FS}
	p.EnsureDefaults()
	return p
}

// listener turns what happens in the background into a stop of the store, or into a line for people.
func (e *Engine) listener(real bool) *pebble.EventListener {
	l := &pebble.EventListener{
		BackgroundError: func(err error) {
			// An ingest or excise takes away what a compaction works on: Pebble begins it again.
			if !errors.Is(err, pebble.ErrCancelledCompaction) {
				_ = e.readFailed("flush or compact", err)
			}
		},
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			_ = e.fail(fmt.Errorf("read %s: %w: %w; %s", i.Path, ErrCorruption, i.Details, rotAdvice))
		},
		DiskSlow: func(i vfs.DiskSlowInfo) {
			e.log.Warn("disk is slow", "dir", e.dir, "path", i.Path, "op", i.OpType.String(), "took", i.Duration)
		},
		WriteStallBegin: func(i pebble.WriteStallBeginInfo) {
			e.syncs.stalls.Add(1)
			e.log.Warn("writes are stalled by the engine", "dir", e.dir, "reason", i.Reason)
		},
		WriteStallEnd: func() { e.log.Warn("writes go on", "dir", e.dir) },
	}
	if real { // a simulated world has no threads of its own
		l.FlushEnd = func(i pebble.FlushInfo) {
			e.urgency.flushed()
			e.warm.wrote(i.Output...)
		}
		l.CompactionBegin = func(i pebble.CompactionInfo) {
			e.urgency.begin(&i)
			e.warm.compacting()
		}
		l.CompactionEnd = func(i pebble.CompactionInfo) { e.warm.compacted(&i) }
		l.TableIngested = func(i pebble.TableIngestInfo) {
			for _, t := range i.Tables {
				e.warm.wrote(t.TableInfo)
			}
		}
	}
	l.EnsureDefaults(nil)
	return l
}

// pebbleLogger keeps Pebble quiet: its information is for its authors, its errors are ours.
type pebbleLogger struct{ e *Engine }

// Infof implements pebble.Logger.
func (l pebbleLogger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (l pebbleLogger) Errorf(format string, args ...any) {
	l.e.log.Error(fmt.Sprintf("pebble: "+format, args...), "dir", l.e.dir)
}

// Fatalf implements pebble.Logger. Pebble expects the process to end here. This returns, so that the caller of the
// engine gets an error instead (see Engine.write), but the database may hold locks for ever.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	_ = l.e.stop(&stopped{err: fmt.Errorf("pebble: "+format, args...), stuck: true})
}
