package node

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Alert is one rule for Prometheus.
type Alert struct {
	Name, Expr, For, Severity string
	Means, Do                 string
}

// Alerts are the rules that are worth to wake somebody, or to tell him in the morning.
func Alerts() []Alert {
	return []Alert{
		{"SkerryNodeNotReady", `skerry_ready == 0`, "2m", "warning", "a node is not ready", "`curl http://NODE/readyz` says why"},
		{"SkerryNoPlacementLeader", `sum(skerry_placement_leader) == 0`, "30s", "critical", "placement has no leader: nothing is repaired, and after a minute transactions and times to live are refused", "`skerry ctl member list`; start the members that are away"},
		{"SkerryLeaderless", `sum(skerry_leaderless) by (store) > 0`, "1m", "critical", "shards have no leader", "`skerry ctl status`; start the stores that are away"},
		{"SkerryPlacementSilent", `skerry_placement_silence_seconds > 30`, "30s", "warning", "placement does not answer a store", "look at the network and at the members' logs"},
		{"SkerryDiskHung", `skerry_disk_hung == 1`, "0s", "critical", "a disk does not finish a sync; the store leads nothing, and ends after 20 s", "look at the disk and at the kernel's log"},
		{"SkerryDiskNearlyFull", `skerry_disk_free_bytes / skerry_disk_capacity_bytes < 0.1`, "5m", "warning", "less than a tenth of a disk is free", "add stores, or make room; a store on a full disk stops"},
		{"SkerryDiskFull", `skerry_disk_free_bytes / skerry_disk_capacity_bytes < 0.03`, "1m", "critical", "a disk is nearly full", "add stores, or make room; a store on a full disk stops"},
		{"SkerryDiskLow", `skerry_disk_level >= 1`, "1m", "critical", "a disk is so full that its store takes no more data", "delete keys, move shards to other stores, or add a store; `--low-space` is the mark"},
		{"SkerryNotScrubbed", `skerry_scrub_age_seconds > 259200`, "1h", "warning", "the tables of a store were not all read from its disk in three days", "raise `--check-rate`, or start the node less often; what rots on its disk is found late"},
		{"SkerryMemoryRefused", `sum(rate(skerry_memory_refused_total{part="store"}[5m])) by (store, kind) > 1`, "5m", "warning", "a store refuses work because its memory for that kind is used up", "writes, inbound, outbound: a slow disk or network; reads, replies: clients that ask for more than they take; see `--memory-budget`"},
		{"SkerryOverloaded", `sum(rate(skerry_late_writes_total{part="store"}[5m])) by (store) > 1`, "5m", "warning", "a store is asked for more writes than it gets done", "add stores, or spread what is hot; a slow disk shows in SkerrySlowSyncs"},
		{"SkerryReplicasDiffer", `sum(increase(skerry_comparisons_divergent_total[1h])) + sum(increase(skerry_comparisons_undecided_total[1h])) > 0`, "0s", "critical", "replicas of a shard hold different data", "the log of the store that compared names shard and replicas; after a majority was found, remove the store that stopped and start an empty one, else see SK4017 and stop writing to that range"},
		{"SkerrySlowSyncs", `histogram_quantile(0.99, sum(rate(skerry_engine_sync_seconds_bucket[5m])) by (le, store)) > 0.5`, "5m", "warning", "one sync in a hundred takes more than half a second", "`skerry ctl store list` says whether placement holds the disk for slow"},
		{"SkerryWriteStalls", `rate(skerry_engine_write_stalls_total[5m]) > 0.1`, "5m", "warning", "writes wait for compactions", "the disk is too slow for what is written: add stores"},
		{"SkerryCallersRefused", `sum(rate(skerry_tls_refused_total[5m])) by (reason) > 0.1`, "5m", "warning", "callers are not let in", "the log says who and why"},
		{"SkerryLeadersFlap", `sum(rate(skerry_leader_changes_total[5m])) by (store) / (sum(skerry_shards) by (store) + 1) > 0.05`, "10m", "warning", "leaders change all the time", "look for a slow disk or a bad network: `skerry ctl store list`"},
	}
}

// AlertRules is a file of rules for Prometheus.
func AlertRules() string {
	var b strings.Builder
	b.WriteString("groups:\n  - name: skerry\n    rules:\n")
	for _, a := range Alerts() {
		fmt.Fprintf(&b, "      - alert: %s\n        expr: %s\n        for: %s\n        labels:\n          severity: %s\n        annotations:\n          summary: %s\n          description: %s\n",
			a.Name, yamlText(a.Expr), a.For, a.Severity, yamlText(a.Means), yamlText(a.Do))
	}
	return b.String()
}

// yamlText quotes text: JSON's strings are YAML's.
func yamlText(s string) string {
	b, _ := json.Marshal(s) // a string always can be
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b))
}

// panel is one picture of the dashboard.
type panel struct {
	title, unit string
	lines       []line
}

type line struct{ expr, legend string }

func panels() []panel {
	one := func(title, unit, expr, legend string) panel { return panel{title, unit, []line{{expr, legend}}} }
	rate := func(metric string) string {
		return "sum(rate(" + metric + `{part="store"}[$__rate_interval])) by (store)`
	}
	return []panel{
		{"Nodes ready, placement leaders", "short", []line{{"sum(skerry_ready)", "ready"}, {"sum(skerry_placement_leader)", "placement leaders"}, {"sum(skerry_store_joined)", "stores joined"}}},
		one("Replicas without a leader", "short", "skerry_leaderless", "{{store}}"),
		one("Commands per second", "ops", rate("skerry_proposed_commands_total"), "{{store}}"),
		one("Reads under a lease per second", "ops", rate("skerry_leased_reads_total"), "{{store}}"),
		{"Sync of the log", "s", []line{
			{"histogram_quantile(0.5, sum(rate(skerry_engine_sync_seconds_bucket[$__rate_interval])) by (le, store))", "p50 {{store}}"},
			{"histogram_quantile(0.99, sum(rate(skerry_engine_sync_seconds_bucket[$__rate_interval])) by (le, store))", "p99 {{store}}"}}},
		{"Commands per entry, entries per batch", "short", []line{
			{rate("skerry_proposed_commands_total") + " / " + rate("skerry_proposed_entries_total"), "commands per entry {{store}}"},
			{rate("skerry_applied_entries_total") + " / " + rate("skerry_log_batches_total"), "entries per batch {{store}}"}}},
		one("Leaders", "short", "skerry_leaders", "{{store}}"),
		one("Replicas", "short", "skerry_shards", "{{store}}"),
		one("Changes of leader per second", "ops", rate("skerry_leader_changes_total"), "{{store}}"),
		one("Snapshots installed and splits", "ops", rate("skerry_snapshots_installed_total")+" + "+rate("skerry_splits_total"), "{{store}}"),
		{"Memory for what is under way", "bytes", []line{{`skerry_memory_used_bytes{part="store"}`, "{{kind}} {{store}}"}}},
		one("Work refused for want of memory", "ops", `sum(rate(skerry_memory_refused_total{part="store"}[$__rate_interval])) by (store, kind)`, "{{kind}} {{store}}"),
		one("Writes under way", "bytes", "skerry_inflight_bytes", "{{store}} {{part}}"),
		{"Memory of the engine", "bytes", []line{{"skerry_engine_memtable_bytes", "memtables {{store}} {{part}}"}, {"skerry_engine_cache_bytes", "cache {{store}} {{part}}"}, {"skerry_engine_log_tail_bytes", "log tails {{store}} {{part}}"}}},
		{"Disk", "bytes", []line{{"skerry_disk_free_bytes", "free {{store}}"}, {"sum(skerry_engine_disk_bytes) by (store)", "used {{store}}"}}},
		one("Bytes written per byte asked for", "short", rate("skerry_engine_compacted_bytes_total")+" / "+rate("skerry_engine_written_bytes_total"), "{{store}}"),
		{"Reads of the engine", "short", []line{{"skerry_engine_read_amplification", "places {{store}} {{part}}"}, {rate("skerry_engine_cache_hits_total") + " / (" + rate("skerry_engine_cache_hits_total") + " + " + rate("skerry_engine_cache_misses_total") + ")", "hits {{store}}"}}},
		{"Debt and stalls", "bytes", []line{{"skerry_engine_compaction_debt_bytes", "debt {{store}} {{part}}"}, {rate("skerry_engine_write_stalls_total"), "stalls {{store}}"}}},
		{"Check of the disk", "s", []line{{"skerry_scrub_age_seconds", "age {{store}} {{part}}"}}},
		one("Bytes checked per second", "Bps", rate("skerry_scrubbed_bytes_total"), "{{store}}"),
		one("Placement silent", "s", "skerry_placement_silence_seconds", "{{store}}"),
		one("Callers not let in", "ops", "sum(rate(skerry_tls_refused_total[$__rate_interval])) by (reason)", "{{reason}}"),
	}
}

// Dashboard is one for Grafana, to be imported with a Prometheus data source.
func Dashboard() ([]byte, error) {
	type object = map[string]any
	var out []object
	for i, p := range panels() {
		var targets []object
		for j, l := range p.lines {
			targets = append(targets, object{"expr": l.expr, "legendFormat": l.legend, "refId": string(rune('A' + j))})
		}
		out = append(out, object{"id": i + 1, "type": "timeseries", "title": p.title, "targets": targets,
			"datasource":  object{"type": "prometheus", "uid": "${source}"},
			"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}},
			"gridPos":     object{"h": 8, "w": 12, "x": i % 2 * 12, "y": i / 2 * 8}})
	}
	return json.MarshalIndent(object{"title": "Skerry", "uid": "skerry", "schemaVersion": 39, "refresh": "10s", "time": object{"from": "now-1h", "to": "now"},
		"templating": object{"list": []object{{"name": "source", "type": "datasource", "query": "prometheus", "label": "Data source"}}},
		"panels":     out}, "", "  ")
}
