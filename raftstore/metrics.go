package raftstore

import "sync/atomic"

// Metrics counts what a store does. Safe to read at any time.
type Metrics struct {
	droppedMessages    atomic.Uint64
	sentFrames         atomic.Uint64
	logBatches         atomic.Uint64
	proposedEntries    atomic.Uint64
	proposedCommands   atomic.Uint64
	appliedEntries     atomic.Uint64
	readRounds         atomic.Uint64
	leasedReads        atomic.Uint64
	leaderChanges      atomic.Uint64
	snapshotsInstalled atomic.Uint64
	reclaimedKeys      atomic.Uint64
	splits             atomic.Uint64
	guardWaits         atomic.Uint64
	timestamps         atomic.Uint64
	collectedRecords   atomic.Uint64
	watchRecent        atomic.Uint64
	watchScans         atomic.Uint64
	closedReads        atomic.Uint64
}

// Counter is one of a store's counters.
type Counter struct {
	Name, Help string
	Value      uint64
}

// Counters reads all of them, in a fixed order.
func (s *Store) Counters() []Counter {
	m := &s.metrics
	return []Counter{
		{"dropped_messages_total", "Messages from other stores that were malformed, late or for another replica.", m.droppedMessages.Load()},
		{"sent_frames_total", "Frames handed to the transport.", m.sentFrames.Load()},
		{"log_batches_total", "Log batches written; each is synced once.", m.logBatches.Load()},
		{"proposed_entries_total", "Raft entries proposed with client commands.", m.proposedEntries.Load()},
		{"proposed_commands_total", "Client commands in them.", m.proposedCommands.Load()},
		{"applied_entries_total", "Raft entries applied.", m.appliedEntries.Load()},
		{"read_rounds_total", "ReadIndex rounds stepped.", m.readRounds.Load()},
		{"leased_reads_total", "Reads answered under a lease.", m.leasedReads.Load()},
		{"leader_changes_total", "Changes of leader, role or term seen by replicas here.", m.leaderChanges.Load()},
		{"snapshots_installed_total", "Snapshots installed here.", m.snapshotsInstalled.Load()},
		{"reclaimed_keys_total", "Expired keys removed by entries that this store proposed.", m.reclaimedKeys.Load()},
		{"splits_total", "Splits applied here.", m.splits.Load()},
		{"txn_read_waits_total", "Reads at a timestamp that waited for a command which might commit below it.", m.guardWaits.Load()},
		{"txn_timestamps_total", "Timestamps fetched from placement by leaders.", m.timestamps.Load()},
		{"txn_collected_records_total", "Versions and rollback records removed by entries that this store proposed.", m.collectedRecords.Load()},
		{"watch_recent_total", "Questions for changes that were answered from what is remembered of the latest.", m.watchRecent.Load()},
		{"watch_scans_total", "Questions for changes for which all versions of a range were looked through.", m.watchScans.Load()},
		{"closed_reads_total", "Reads at a timestamp that a replica answered without asking its leader.", m.closedReads.Load()},
	}
}
