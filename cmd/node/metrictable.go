package node

import (
	"fmt"
	"strings"

	"github.com/skerrydb/skerry/engine"
)

// Metric is one row of the table of all metrics: the only place where a metric has a name and a text. The collector, the
// document, the dashboard and the alerts are held against it by tests.
type Metric struct {
	Name   string // without metricPrefix
	Kind   MetricKind
	Labels []string
	Help   string // one sentence
}

// MetricKind is what a value may do.
type MetricKind string

// The kinds.
const (
	Counter   MetricKind = "counter" // only grows; its name ends with _total
	Gauge     MetricKind = "gauge"
	Histogram MetricKind = "histogram"
)

// INVARIANT: no metric has a label for the shard or the key: a million shards would be a million series.
var (
	labelsNone  []string
	labelsStore = []string{"store"}
	labelsPart  = []string{"store", "part"} // part is store or placement
	labelsKind  = []string{"store", "part", "kind"}
)

// Metrics are all that a node has beside those of Go and of the process.
func Metrics() []Metric {
	out := []Metric{
		{"store_joined", Gauge, labelsNone, "Whether placement answered a heartbeat of this node's store since it started, 0 or 1."},
		{"ready", Gauge, labelsNone, "Whether the node is ready, as /readyz says it, 0 or 1."},
		{"placement_leader", Gauge, labelsNone, "Whether this node's placement member leads, 0 or 1."},
		{"tls_refused_total", Counter, []string{"reason"}, "Connections that were not let in, by reason."},
		{"shards", Gauge, labelsStore, "Replicas that the store holds, at its last heartbeat."},
		{"leaders", Gauge, labelsStore, "Shards that the store leads, at its last heartbeat."},
		{"leaderless", Gauge, labelsStore, "Replicas of the store that know no leader."},
		{"placement_silence_seconds", Gauge, labelsStore, "Time since placement last answered the store."},
		{"disk_hung", Gauge, labelsStore, "Whether the disk owes the store a sync for longer than an election timeout, 0 or 1."},
		{"disk_level", Gauge, labelsStore, "How much room the store's disk has: 0 enough, 1 below the low mark (nothing is added), 2 below the reserve (nothing is replicated to it either)."},
		{"disk_low_bytes", Gauge, labelsStore, "The low mark: below so many free bytes the store adds nothing; 0 if its filesystem cannot tell."},
		{"disk_refused_total", Counter, labelsStore, "Commands that were refused because a disk is nearly full."},
		{"disk_free_bytes", Gauge, labelsStore, "Bytes free on the store's filesystem, at its last heartbeat."},
		{"disk_capacity_bytes", Gauge, labelsStore, "Bytes of the store's filesystem, at its last heartbeat."},

		{"cluster_version", Gauge, labelsPart, "Version of the cluster that the part goes by; it is raised by `skerry ctl version finalize`."},

		{"dropped_messages_total", Counter, labelsPart, "Messages from other stores that were malformed, late or for another replica."},
		{"sent_frames_total", Counter, labelsPart, "Frames handed to the transport."},
		{"log_batches_total", Counter, labelsPart, "Log batches written; each is synced once."},
		{"proposed_entries_total", Counter, labelsPart, "Raft entries proposed with client commands."},
		{"proposed_commands_total", Counter, labelsPart, "Client commands in them."},
		{"applied_entries_total", Counter, labelsPart, "Raft entries applied."},
		{"applied_batches_total", Counter, labelsPart, "State batches written, each with entries of all shards that had some to apply."},
		{"read_rounds_total", Counter, labelsPart, "ReadIndex rounds stepped."},
		{"leased_reads_total", Counter, labelsPart, "Reads answered under a lease."},
		{"leader_changes_total", Counter, labelsPart, "Changes of leader, role or term seen by replicas here."},
		{"snapshots_installed_total", Counter, labelsPart, "Snapshots installed here."},
		{"reclaimed_keys_total", Counter, labelsPart, "Expired keys removed by entries that this store proposed."},
		{"scrubbed_bytes_total", Counter, labelsPart, "Bytes of tables read from the disk to check them; see `--check-every`."},
		{"scrubs_total", Counter, labelsPart, "Times that all tables were read from the disk to check them."},
		{"scrub_age_seconds", Gauge, labelsPart, "Time since all tables were last read from the disk to check them, or since the start if they were not yet; 0 if they never are."},
		{"splits_total", Counter, labelsPart, "Splits applied here."},
		{"txn_read_waits_total", Counter, labelsPart, "Reads at a timestamp that waited for a command which might commit below it."},
		{"txn_lock_waits_total", Counter, labelsPart, "Pessimistic locks that waited for another transaction to give the key back."},
		{"txn_timestamps_total", Counter, labelsPart, "Timestamps fetched from placement by leaders."},
		{"txn_collected_records_total", Counter, labelsPart, "Versions and rollback records removed by entries that this store proposed."},
		{"watch_recent_total", Counter, labelsPart, "Questions for changes that were answered from what is remembered of the latest."},
		{"watch_scans_total", Counter, labelsPart, "Questions for changes for which all versions of a range were looked through."},
		{"late_writes_total", Counter, labelsPart, "Writes that were refused because what waited already took half a second."},
		{"comparisons_equal_total", Counter, labelsPart, "Comparisons of a shard's replicas that this store proposed and that found them alike."},
		{"comparisons_divergent_total", Counter, labelsPart, "Comparisons that found replicas to differ from a majority: their stores stopped for good."},
		{"comparisons_undecided_total", Counter, labelsPart, "Comparisons that found replicas to differ without a majority that is alike: nobody was stopped."},
		{"comparisons_unfinished_total", Counter, labelsPart, "Comparisons that did not hear all replicas, and found those alike that they heard."},
		{"compared_bytes_total", Counter, labelsPart, "Bytes of keys and values that were summed up for comparisons."},
		{"closed_reads_total", Counter, labelsPart, "Reads at a timestamp that a replica answered without asking its leader."},
		{"slow_operations_total", Counter, labelsPart, "Operations that took the store longer than the setting slow-operation: it logs where the time went."},
		{"inflight_bytes", Gauge, labelsPart, "Bytes of memory held by writes between their arrival and their answer."},
		{"memory_budget_bytes", Gauge, labelsPart, "Memory that the store may use for what is under way."},
		{"memory_share_bytes", Gauge, labelsKind, "The part of that for one kind of work."},
		{"memory_used_bytes", Gauge, labelsKind, "What is used of it."},
		{"write_queue_bytes", Gauge, labelsPart, "Writes between their arrival and their answer, with what they take in memory."},
		{"write_queue_limit_bytes", Gauge, labelsPart, "What that may be before more are refused: as much as the store lately got done in half a second."},
		{"memory_refused_total", Counter, labelsKind, "Requests and frames of a kind that did not fit: refused, or lost if they came from another store."},
	}
	for _, m := range engineMetrics() {
		out = append(out, m.Metric)
	}
	return append(out, Metric{"engine_sync_seconds", Histogram, labelsPart, "Time from the commit of a log batch to the end of its sync."})
}

// engineMetric is a row that is one field of engine.Metrics.
type engineMetric struct {
	Metric
	read func(m *engine.Metrics) float64
}

func engineMetrics() []engineMetric {
	row := func(kind MetricKind, name, help string, read func(m *engine.Metrics) float64) engineMetric {
		return engineMetric{Metric{"engine_" + name, kind, labelsPart, help}, read}
	}
	return []engineMetric{
		row(Gauge, "disk_bytes", "Bytes of all files of the engine.", func(m *engine.Metrics) float64 { return float64(m.DiskBytes) }),
		row(Gauge, "wal_bytes", "Bytes of the live write-ahead log.", func(m *engine.Metrics) float64 { return float64(m.WALBytes) }),
		row(Gauge, "raft_log_bytes", "Bytes of the files of the raft log.", func(m *engine.Metrics) float64 { return float64(m.LogBytes) }),
		row(Gauge, "raft_log_live_bytes", "Bytes of entries in those files that a replica wants.", func(m *engine.Metrics) float64 { return float64(m.LogLiveBytes) }),
		row(Counter, "raft_log_carried_bytes_total", "Bytes of the raft log that were copied because they kept old files.", func(m *engine.Metrics) float64 { return float64(m.LogCarriedBytes) }),
		row(Gauge, "memtable_bytes", "Bytes of memtables.", func(m *engine.Metrics) float64 { return float64(m.MemTableBytes) }),
		row(Gauge, "log_tail_bytes", "Bytes of raft log entries kept in memory.", func(m *engine.Metrics) float64 { return float64(m.TailBytes) }),
		row(Gauge, "level0_files", "Files in level 0.", func(m *engine.Metrics) float64 { return float64(m.L0Files) }),
		row(Gauge, "level0_sublevels", "Places of level 0 that a read looks at.", func(m *engine.Metrics) float64 { return float64(m.L0Sublevels) }),
		row(Gauge, "read_amplification", "Places that a read looks at.", func(m *engine.Metrics) float64 { return float64(m.ReadAmplification) }),
		row(Gauge, "compaction_debt_bytes", "Estimated bytes that compactions have still to write.", func(m *engine.Metrics) float64 { return float64(m.CompactionDebtBytes) }),
		row(Counter, "compactions_total", "Compactions.", func(m *engine.Metrics) float64 { return float64(m.Compactions) }),
		row(Counter, "flushes_total", "Flushes of memtables.", func(m *engine.Metrics) float64 { return float64(m.Flushes) }),
		row(Counter, "compacted_bytes_total", "Bytes written by flushes and compactions.", func(m *engine.Metrics) float64 { return float64(m.CompactedBytes) }),
		row(Counter, "written_bytes_total", "Bytes given to the write-ahead log.", func(m *engine.Metrics) float64 { return float64(m.WrittenBytes) }),
		row(Gauge, "cache_bytes", "Bytes in the block cache.", func(m *engine.Metrics) float64 { return float64(m.CacheBytes) }),
		row(Counter, "cache_hits_total", "Blocks found in the cache.", func(m *engine.Metrics) float64 { return float64(m.CacheHits) }),
		row(Counter, "cache_misses_total", "Blocks not found in the cache.", func(m *engine.Metrics) float64 { return float64(m.CacheMisses) }),
		row(Counter, "cache_warmed_total", "Blocks that were written and then brought into the cache, while it had room and nobody else wanted the processor.", func(m *engine.Metrics) float64 { return float64(m.WarmedBlocks) }),
		row(Counter, "write_stalls_total", "Times that writes had to wait for flushes or compactions.", func(m *engine.Metrics) float64 { return float64(m.WriteStalls) }),
	}
}

// MetricsDocument is docs/metrics.md.
func MetricsDocument() string {
	var b strings.Builder
	b.WriteString(`# Metrics

With ` + "`--admin`" + `, a node serves these in Prometheus' form at /metrics, beside Go's own (` + "`go_*`, `process_*`" + `). No metric has a
label for a shard or a key: ask ` + "`skerry ctl shard list`" + ` for those. ` + "`skerry grafana`" + ` prints a dashboard and
` + "`skerry alerts`" + ` rules for Prometheus, both made of these metrics. The tables are made from cmd/node/metrictable.go and
cmd/node/dashboard.go (` + "`go test ./cmd/node -run TestMetricsDocument -rewrite`" + `).

| metric | kind | labels | |
|---|---|---|---|
`)
	for _, m := range Metrics() {
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", metricPrefix, m.Name, m.Kind, strings.Join(m.Labels, ", "), m.Help)
	}
	b.WriteString("\nThe label part is `store` for the store of users' shards and `placement` for that of the placement member.\n\n## Alerts\n\n| alert | for | severity | means | what to do |\n|---|---|---|---|---|\n")
	for _, a := range Alerts() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", a.Name, a.For, a.Severity, a.Means, a.Do)
	}
	return b.String()
}
