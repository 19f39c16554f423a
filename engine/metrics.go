package engine

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// syncBuckets is the number of buckets of SyncLatency: the last one begins at 34 s.
const syncBuckets = 22

// SyncLatency counts how long log batches took from Commit to the end of Wait. Bucket i counts those below
// SyncBound(i), not counted by the buckets before.
type SyncLatency struct {
	Count   uint64
	Sum     time.Duration
	Buckets [syncBuckets]uint64
}

// SyncBound is the upper bound of a bucket: 16 µs, doubled i times.
func SyncBound(i int) time.Duration { return 16 * time.Microsecond << i }

// Quantile is the upper bound of the bucket in which the quantile q (0 to 1) lies; 0 if nothing was counted.
func (l SyncLatency) Quantile(q float64) time.Duration {
	rank, seen := uint64(q*float64(l.Count)), uint64(0)
	for i, n := range l.Buckets {
		if seen += n; n > 0 && seen >= max(rank, 1) {
			return SyncBound(i)
		}
	}
	return 0
}

// syncStats gathers SyncLatency and write stalls.
type syncStats struct {
	sum     atomic.Int64
	buckets [syncBuckets]atomic.Uint64
	stalls  atomic.Uint64
}

func (s *syncStats) add(d time.Duration) {
	i := bits.Len64(uint64(max(d, 0) / SyncBound(0)))
	s.buckets[min(i, syncBuckets-1)].Add(1)
	s.sum.Add(int64(d))
}

func (s *syncStats) latency() (l SyncLatency) {
	l.Sum = time.Duration(s.sum.Load())
	for i := range l.Buckets {
		l.Buckets[i] = s.buckets[i].Load()
		l.Count += l.Buckets[i]
	}
	return l
}

// Metrics is what operators need to know of a store's engine. Bytes are now, counts are since the start.
type Metrics struct {
	DiskBytes           uint64 // all files
	WALBytes            uint64 // live write-ahead log
	LogBytes            uint64 // files of the raft log; 0 while it lies in the database
	LogLiveBytes        uint64 // of them, entries that a replica wants
	LogCarriedBytes     uint64 // of the raft log, copied because they kept old files
	MemTableBytes       uint64
	TailBytes           uint64 // raft log entries in memory
	L0Files             uint64
	L0Sublevels         int // how many places of level 0 a read looks at; admission reads it
	ReadAmplification   int
	CompactionDebtBytes uint64
	Compactions         uint64
	Flushes             uint64
	CompactedBytes      uint64 // written by flushes and compactions; with WrittenBytes the write amplification
	WrittenBytes        uint64 // given to the write-ahead log
	CacheBytes          int64
	CacheHits           int64
	CacheMisses         int64
	WarmedBlocks        int64 // looked for in the cache because they were written, see warmer
	WriteStalls         uint64
	Sync                SyncLatency
}

// Metrics gathers the metrics. It takes a lock of Pebble for some microseconds. A stopped or closed store has none.
func (e *Engine) Metrics() Metrics {
	if e.check() != nil {
		return Metrics{}
	}
	m := e.db.Metrics()
	out := Metrics{
		DiskBytes: m.DiskSpaceUsage(), WALBytes: m.WAL.Size, MemTableBytes: m.MemTable.Size,
		TailBytes: uint64(e.tails.used.Load()), L0Files: uint64(m.Levels[0].TablesCount),
		L0Sublevels: int(m.Levels[0].Sublevels), ReadAmplification: m.ReadAmp(),
		CompactionDebtBytes: m.Compact.EstimatedDebt, Compactions: uint64(m.Compact.Count), Flushes: uint64(m.Flush.Count),
		WrittenBytes: m.WAL.BytesIn, CacheBytes: m.BlockCache.Size, CacheHits: m.BlockCache.Hits,
		CacheMisses: m.BlockCache.Misses, WriteStalls: e.syncs.stalls.Load(), Sync: e.syncs.latency(),
	}
	if e.warm != nil {
		out.WarmedBlocks = e.warm.blocks.Load()
	}
	if j := e.journal(); j != nil {
		files, live := j.Bytes()
		out.DiskBytes += uint64(files)
		out.LogBytes, out.LogLiveBytes, out.LogCarriedBytes = uint64(files), uint64(live), uint64(j.Carried())
	}
	for i := range m.Levels {
		out.CompactedBytes += m.Levels[i].TableBytesFlushed + m.Levels[i].TableBytesCompacted
	}
	return out
}
