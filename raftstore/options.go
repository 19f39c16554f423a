package raftstore

import (
	"log/slog"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
)

// Bounds. Each queue, batch and cache of a store has one; the reason stands beside it.
const (
	// maxEntryBytes closes an entry to further commands: one entry is one unit of replication, and a follower that
	// needs it holds it in memory whole. A single larger command still gets an entry of its own.
	maxEntryBytes = 1 << 20
	// shardPart of the share of writes is what one shard may take, so that one without a quorum leaves the others some.
	shardPart = 2
	// maxWaitingReads bounds reads that wait for a round or a clock entry, per shard.
	maxWaitingReads = 64 << 10
	// maxCancelled bounds the attempts that were answered "never" in the current terms, over all shards of a store.
	maxCancelled = 1 << 16
	// maxOutcomes is how many applied entries a replica remembers the outcomes of.
	maxOutcomes = 4096
	// maxOutcomeBytes drops the body of an outcome that is larger: the fact that it was applied is what matters.
	maxOutcomeBytes = 256
	// truncateBytes says, beside Options.LogEntries, when the log is worth cutting.
	truncateBytes = 8 << 20
	// maxLagBytes ends all patience with those who hold back truncation. Twice what a shard may have under way with a whole
	// budget: a follower that is behind by no more than that needs no snapshot.
	maxLagBytes = 128 << 20
	// maxPassBytes ends a round of a pass: what many replicas have to write at once, after a pause, goes in several batches.
	maxPassBytes = 16 << 20
	// lagFactor times Options.LogEntries is how far a live follower may hold back truncation before it gets a snapshot
	// instead: 65,536 entries by default.
	lagFactor = 16
	// maxReaders bounds the goroutines that evaluate scans and reads that had to wait.
	maxReaders = 8
	// maxSyncsOutstanding log batches of one worker may wait for the disk: the next pass gathers meanwhile.
	maxSyncsOutstanding = 2
	// busyWait is what ServerBusy suggests to wait.
	busyWait = 50 * time.Millisecond
	// maxStampAge is how far beyond the last word from placement a stamp may run (rule 10).
	maxStampAge = 60 * time.Second
)

// Defaults of Options.
const (
	DefaultTick           = 100 * time.Millisecond
	DefaultElectionTicks  = 10
	DefaultHeartbeatTicks = 2
	DefaultMaxDrift       = 0.05
	DefaultLogEntries     = 4096
	DefaultHungDiskExit   = 20 * time.Second
	DefaultMaxQueueTime   = 500 * time.Millisecond

	DefaultCheckBytesPerSecond = 8 << 20
)

// Options says how a Store works. Env, Engine, Store and Transport must be set.
type Options struct {
	Env       env.Env
	Engine    *engine.Engine
	Store     shard.StoreID
	Transport Transport
	Logger    *slog.Logger

	// Workers is the number of goroutines that drive groups; a shard belongs to one of them by its id. More than one
	// for every four cores makes batches smaller and everything slower.
	Workers int
	// Tick is one tick of Raft while a replica is awake.
	Tick           time.Duration
	ElectionTicks  int
	HeartbeatTicks int
	// MaxDrift is the largest relative drift between two stores' clocks that leases allow for.
	MaxDrift float64
	// LogEntries is the length at which a shard's log is cut: rarely, because each cut is a range tombstone. A quarter
	// of it is left behind the applied index, so that attempts of writes can be asked about (rule 9) and followers that
	// were away for a moment need no snapshot.
	LogEntries uint64
	// SnapshotBytesPerSecond limits what this store receives in snapshots; zero is no limit.
	SnapshotBytesPerSecond int64
	// SplitBytes is the size from which on this store wants the shards that it leads to be split, see TakeSplits; zero is
	// never.
	SplitBytes uint64
	// SplitWork is the work in a second (beat.Rates: requests, and their bytes) from which on this store wants the shards
	// that it leads to be split; zero is never.
	SplitWork float64
	// SlowOperation is how long an operation may take in the store before a line about it is logged, with where the time
	// went; zero is never.
	SlowOperation time.Duration
	// Memory is the store's budget of memory; nil is one of budget.DefaultBytes. The bounds above that are in bytes are
	// parts of it.
	Memory *budget.Budget
	// MaxQueueTime is how long writes may wait for others before more are refused, see backlog.go; zero: DefaultMaxQueueTime, below
	// zero: only memory bounds them.
	MaxQueueTime time.Duration
	// LotAge is for how long a follower keeps what is committed before it applies all of it at once, see lot.go; zero: DefaultLotAge.
	LotAge time.Duration
	// LowSpace is below how many free bytes of the disk nothing is added any more, see space.go; zero: a part of the disk's
	// size, below zero: the disk is not looked at.
	LowSpace int64
	// CheckEvery is how often everything that this store holds is read from the disk (scrub.go), and what it leads compared
	// with the other replicas (compare.go); zero or less: never.
	CheckEvery time.Duration
	// CheckBytesPerSecond is how fast both read, together; zero: DefaultCheckBytesPerSecond.
	CheckBytesPerSecond int64
	// HungDiskExit is how long a log batch may wait for the disk before the store gives up (rule 5).
	HungDiskExit time.Duration
	// NoSleep keeps idle shards awake (the placement driver's own shard, and tests).
	NoSleep bool
	// WallTime lets the store stamp entries with its own wall clock. Only the stores of placement members do: theirs
	// is placement's time.
	WallTime bool
	// OnBroken is called once when the store stops because going on could damage data.
	OnBroken func(error)
	// Version is the version of the cluster, as far as the engine's directory knows; 0: the newest. See HearVersion.
	Version version.Number
	// Timestamps is where placement's timestamps come from; nil: this store computes no commit timestamps.
	Timestamps Timestamps
	// Observer watches from outside; nil in production.
	Observer Observer
	// Coverage counts which rows of the tables of states are taken; nil in production.
	Coverage *fsm.Coverage
}

func (o *Options) setDefaults() {
	if o.Workers <= 0 {
		o.Workers = 1
	}
	if o.Tick <= 0 {
		o.Tick = DefaultTick
	}
	if o.LotAge <= 0 {
		o.LotAge = DefaultLotAge
	}
	if o.ElectionTicks <= 0 {
		o.ElectionTicks = DefaultElectionTicks
	}
	if o.HeartbeatTicks <= 0 {
		o.HeartbeatTicks = DefaultHeartbeatTicks
	}
	if o.MaxDrift <= 0 {
		o.MaxDrift = DefaultMaxDrift
	}
	if o.CheckBytesPerSecond <= 0 {
		o.CheckBytesPerSecond = DefaultCheckBytesPerSecond
	}
	if o.LogEntries == 0 {
		o.LogEntries = DefaultLogEntries
	}
	if o.Memory == nil {
		o.Memory = budget.New(0)
	}
	if o.MaxQueueTime == 0 {
		o.MaxQueueTime = DefaultMaxQueueTime
	}
	if o.HungDiskExit <= 0 {
		o.HungDiskExit = DefaultHungDiskExit
	}
	if o.Version == 0 {
		o.Version = version.Newest()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
}

// keptEntries is what truncation leaves behind the applied index.
func (o *Options) keptEntries() uint64 { return o.LogEntries / 4 }

// lagEntries is how far a live follower may lag before it gets a snapshot.
func (o *Options) lagEntries() uint64 { return lagFactor * o.LogEntries }

func (o *Options) electionTimeout() time.Duration { return time.Duration(o.ElectionTicks) * o.Tick }
