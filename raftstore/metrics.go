package raftstore

import (
	"sync/atomic"

	"github.com/skerrydb/skerry/internal/budget"
)

// Metrics counts what a store does. Safe to read at any time.
type Metrics struct {
	droppedMessages    atomic.Uint64
	sentFrames         atomic.Uint64
	logBatches         atomic.Uint64
	proposedEntries    atomic.Uint64
	proposedCommands   atomic.Uint64
	appliedEntries     atomic.Uint64
	appliedBatches     atomic.Uint64
	readRounds         atomic.Uint64
	leasedReads        atomic.Uint64
	leaderChanges      atomic.Uint64
	snapshotsInstalled atomic.Uint64
	reclaimedKeys      atomic.Uint64
	splits             atomic.Uint64
	guardWaits         atomic.Uint64
	lockWaits          atomic.Uint64
	timestamps         atomic.Uint64
	collectedRecords   atomic.Uint64
	watchRecent        atomic.Uint64
	watchScans         atomic.Uint64
	closedReads        atomic.Uint64
	slowOperations     atomic.Uint64
	lateWrites         atomic.Uint64
	comparisons        [verdicts]atomic.Uint64 // by what came out
	comparedBytes      atomic.Uint64
}

// Counter is one of a store's counters. What it means stands in the node's table of metrics.
type Counter struct {
	Name  string
	Value uint64
}

// Inflight is how many bytes of memory are held by writes between their arrival and their answer.
func (s *Store) Inflight() int64 { return s.memory.Used(budget.Writes) + s.memory.Used(budget.Deletes) }

// WriteQueue is how many bytes of writes wait for others or are at work, and how many may be before more are refused.
func (s *Store) WriteQueue() (held, limit int64) {
	return s.backlog.held.Load(), s.backlog.limit.Load()
}

// Counters reads all of them, in a fixed order.
func (s *Store) Counters() []Counter {
	m := &s.metrics
	return []Counter{
		{"dropped_messages_total", m.droppedMessages.Load()},
		{"sent_frames_total", m.sentFrames.Load()},
		{"log_batches_total", m.logBatches.Load()},
		{"proposed_entries_total", m.proposedEntries.Load()},
		{"proposed_commands_total", m.proposedCommands.Load()},
		{"applied_entries_total", m.appliedEntries.Load()},
		{"applied_batches_total", m.appliedBatches.Load()},
		{"read_rounds_total", m.readRounds.Load()},
		{"leased_reads_total", m.leasedReads.Load()},
		{"leader_changes_total", m.leaderChanges.Load()},
		{"snapshots_installed_total", m.snapshotsInstalled.Load()},
		{"reclaimed_keys_total", m.reclaimedKeys.Load()},
		{"scrubbed_bytes_total", s.scrubber.bytes.Load()},
		{"scrubs_total", s.scrubber.rounds.Load()},
		{"splits_total", m.splits.Load()},
		{"txn_read_waits_total", m.guardWaits.Load()},
		{"txn_lock_waits_total", m.lockWaits.Load()},
		{"txn_timestamps_total", m.timestamps.Load()},
		{"txn_collected_records_total", m.collectedRecords.Load()},
		{"watch_recent_total", m.watchRecent.Load()},
		{"watch_scans_total", m.watchScans.Load()},
		{"closed_reads_total", m.closedReads.Load()},
		{"slow_operations_total", m.slowOperations.Load()},
		{"late_writes_total", m.lateWrites.Load()},
		{"comparisons_equal_total", m.comparisons[Equal].Load()},
		{"comparisons_divergent_total", m.comparisons[Divergent].Load()},
		{"comparisons_undecided_total", m.comparisons[Undecided].Load()},
		{"comparisons_unfinished_total", m.comparisons[Unfinished].Load()},
		{"compared_bytes_total", m.comparedBytes.Load()},
	}
}
