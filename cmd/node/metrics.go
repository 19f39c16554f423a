package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/rpc"
)

// Values of the label part: which of a node's two engines a metric is of.
const (
	partStore     = "store"
	partPlacement = "placement"
)

// metricPrefix begins every name.
const metricPrefix = "skerry_"

// Registry has the metrics of this node, gathered when they are asked for. Each node has its own, so that several in
// one process do not mix.
func (n *Node) Registry() prometheus.Gatherer {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{n: n, engine: engineMetrics()})
	return r
}

// collector turns what the parts count into metrics. It keeps no numbers of its own.
type collector struct {
	n      *Node
	engine []engineMetric
}

// Describe says nothing in advance: the parts know their counters, and which parts there are changes when a store
// registers.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect reads everything once. It asks no worker and takes no lock that a request waits for longer than microseconds.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	c.n.open.RLock()
	defer c.n.open.RUnlock()
	if c.n.closed {
		return
	}
	if g := c.n.guard; g != nil {
		for _, r := range rpc.Refusals {
			emit(out, prometheus.CounterValue, "tls_refused_total", "Connections that were not let in, by reason.", float64(g.Refused(r)), "reason", string(r))
		}
	}
	if a := c.n.store; a != nil {
		c.storeAgent(out, a)
	}
	if m := c.n.member; m != nil {
		if s, p := m.parts(); s != nil {
			c.part(out, partPlacement, s, m.engine)
			gauge(out, "placement_leader", "Whether this node's placement member leads, 0 or 1.", truth(p.Cluster() != 0))
		}
	}
}

// storeAgent collects the store, and what its last heartbeat reported.
func (c *collector) storeAgent(out chan<- prometheus.Metric, a *storeAgent) {
	a.mu.Lock()
	s, heard, told := a.store, a.heard, a.told
	a.mu.Unlock()
	gauge(out, "store_joined", "Whether placement answered a heartbeat of this node's store since it started, 0 or 1.", truth(heard))
	if s == nil {
		return
	}
	c.part(out, partStore, s, a.engine)
	if told.Capacity == 0 {
		return // nothing was reported yet
	}
	labels := []string{"store", s.ID().String()}
	gauge(out, "shards", "Replicas that the store holds, at its last heartbeat.", float64(told.Shards), labels...)
	gauge(out, "leaders", "Shards that the store leads, at its last heartbeat.", float64(told.Leaders), labels...)
	gauge(out, "disk_free_bytes", "Bytes free on the store's filesystem, at its last heartbeat.", float64(told.Free), labels...)
	gauge(out, "disk_capacity_bytes", "Bytes of the store's filesystem, at its last heartbeat.", float64(told.Capacity), labels...)
}

// part collects one raftstore and its engine.
func (c *collector) part(out chan<- prometheus.Metric, part string, s *raftstore.Store, e *engine.Engine) {
	labels := []string{"store", s.ID().String(), "part", part}
	for _, k := range s.Counters() {
		emit(out, prometheus.CounterValue, k.Name, k.Help, float64(k.Value), labels...)
	}
	m := e.Metrics()
	for _, k := range c.engine {
		emit(out, k.kind, k.name, k.help, k.read(&m), labels...)
	}
	syncHistogram(out, m.Sync, labels...)
}

// engineMetric is one field of engine.Metrics.
type engineMetric struct {
	kind       prometheus.ValueType
	name, help string
	read       func(m *engine.Metrics) float64
}

func engineMetrics() []engineMetric {
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []engineMetric{
		{gauge, "engine_disk_bytes", "Bytes of all files of the engine.", func(m *engine.Metrics) float64 { return float64(m.DiskBytes) }},
		{gauge, "engine_wal_bytes", "Bytes of the live write-ahead log.", func(m *engine.Metrics) float64 { return float64(m.WALBytes) }},
		{gauge, "engine_memtable_bytes", "Bytes of memtables.", func(m *engine.Metrics) float64 { return float64(m.MemTableBytes) }},
		{gauge, "engine_log_tail_bytes", "Bytes of raft log entries kept in memory.", func(m *engine.Metrics) float64 { return float64(m.TailBytes) }},
		{gauge, "engine_level0_files", "Files in level 0.", func(m *engine.Metrics) float64 { return float64(m.L0Files) }},
		{gauge, "engine_level0_sublevels", "Places of level 0 that a read looks at.", func(m *engine.Metrics) float64 { return float64(m.L0Sublevels) }},
		{gauge, "engine_read_amplification", "Places that a read looks at.", func(m *engine.Metrics) float64 { return float64(m.ReadAmplification) }},
		{gauge, "engine_compaction_debt_bytes", "Estimated bytes that compactions have still to write.", func(m *engine.Metrics) float64 { return float64(m.CompactionDebtBytes) }},
		{counter, "engine_compactions_total", "Compactions.", func(m *engine.Metrics) float64 { return float64(m.Compactions) }},
		{counter, "engine_flushes_total", "Flushes of memtables.", func(m *engine.Metrics) float64 { return float64(m.Flushes) }},
		{counter, "engine_compacted_bytes_total", "Bytes written by flushes and compactions.", func(m *engine.Metrics) float64 { return float64(m.CompactedBytes) }},
		{counter, "engine_written_bytes_total", "Bytes given to the write-ahead log.", func(m *engine.Metrics) float64 { return float64(m.WrittenBytes) }},
		{gauge, "engine_cache_bytes", "Bytes in the block cache.", func(m *engine.Metrics) float64 { return float64(m.CacheBytes) }},
		{counter, "engine_cache_hits_total", "Blocks found in the cache.", func(m *engine.Metrics) float64 { return float64(m.CacheHits) }},
		{counter, "engine_cache_misses_total", "Blocks not found in the cache.", func(m *engine.Metrics) float64 { return float64(m.CacheMisses) }},
		{counter, "engine_write_stalls_total", "Times that writes had to wait for flushes or compactions.", func(m *engine.Metrics) float64 { return float64(m.WriteStalls) }},
	}
}

// syncHistogram emits how long log batches took to be written and synced. The last bucket of the engine counts
// everything above its neighbour's bound, so it has no bound of its own here.
func syncHistogram(out chan<- prometheus.Metric, l engine.SyncLatency, labels ...string) {
	buckets := make(map[float64]uint64, len(l.Buckets))
	seen := uint64(0)
	for i, n := range l.Buckets[:len(l.Buckets)-1] {
		seen += n
		buckets[engine.SyncBound(i).Seconds()] = seen
	}
	names, values := split(labels)
	d := prometheus.NewDesc(metricPrefix+"engine_sync_seconds", "Time from the commit of a log batch to the end of its sync.", names, nil)
	out <- prometheus.MustNewConstHistogram(d, l.Count, l.Sum.Seconds(), buckets, values...)
}

func gauge(out chan<- prometheus.Metric, name, help string, v float64, labels ...string) {
	emit(out, prometheus.GaugeValue, name, help, v, labels...)
}

// emit sends one value; labels are names and values in turn.
func emit(out chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, v float64, labels ...string) {
	names, values := split(labels)
	out <- prometheus.MustNewConstMetric(prometheus.NewDesc(metricPrefix+name, help, names, nil), kind, v, values...)
}

func split(labels []string) (names, values []string) {
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, labels[i+1])
	}
	return names, values
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
