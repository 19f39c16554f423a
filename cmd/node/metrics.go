package node

import (
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
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
	r.MustRegister(newCollector(n))
	return r
}

// collector turns what the parts count into metrics. It keeps no numbers of its own.
type collector struct {
	n      *Node
	engine []engineMetric
	descs  map[string]described
}

// described is a row of the table as Prometheus wants it.
type described struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newCollector(n *Node) *collector {
	c := &collector{n: n, engine: engineMetrics(), descs: make(map[string]described)}
	for _, m := range Metrics() {
		d := described{desc: prometheus.NewDesc(metricPrefix+m.Name, m.Help, m.Labels, nil), kind: prometheus.GaugeValue}
		if m.Kind == Counter {
			d.kind = prometheus.CounterValue
		}
		c.descs[m.Name] = d
	}
	return c
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
			c.emit(out, "tls_refused_total", float64(g.Refused(r)), string(r))
		}
	}
	c.emit(out, "ready", truth(len(c.n.readiness().Not) == 0))
	if a := c.n.store; a != nil {
		c.storeAgent(out, a)
	}
	if m := c.n.member; m != nil {
		if s, p := m.parts(); s != nil {
			c.part(out, partPlacement, s, m.engine)
			c.emit(out, "placement_leader", truth(p.Cluster() != 0))
		}
	}
}

// storeAgent collects the store, and what its last heartbeat reported.
func (c *collector) storeAgent(out chan<- prometheus.Metric, a *storeAgent) {
	a.mu.Lock()
	s, heard, heardAt, told := a.store, a.heard, a.heardAt, a.told
	a.mu.Unlock()
	c.emit(out, "store_joined", truth(heard))
	if s == nil {
		return
	}
	c.part(out, partStore, s, a.engine)
	id := s.ID().String()
	without, _ := s.Leaderless()
	c.emit(out, "leaderless", float64(without), id)
	c.emit(out, "disk_hung", truth(s.Hung()), id)
	room := s.Room()
	c.emit(out, "disk_level", float64(room.Level), id)
	c.emit(out, "disk_refused_total", float64(room.RefusedCommands), id)
	c.emit(out, "disk_low_bytes", float64(room.Low), id)
	if told.Capacity == 0 || !heard {
		return // nothing was reported yet
	}
	c.emit(out, "placement_silence_seconds", a.n.env.Now().Sub(heardAt).Seconds(), id)
	c.emit(out, "shards", float64(told.Shards), id)
	c.emit(out, "leaders", float64(told.Leaders), id)
	c.emit(out, "disk_free_bytes", float64(told.Free), id)
	c.emit(out, "disk_capacity_bytes", float64(told.Capacity), id)
}

// part collects one raftstore and its engine.
func (c *collector) part(out chan<- prometheus.Metric, part string, s *raftstore.Store, e *engine.Engine) {
	labels := []string{s.ID().String(), part}
	for _, k := range s.Counters() {
		c.emit(out, k.Name, float64(k.Value), labels...)
	}
	c.emit(out, "cluster_version", float64(s.Version()), labels...)
	age := 0.0
	if last, on := s.Scrubbed(); on {
		age = c.n.env.Now().Sub(last).Seconds()
	}
	c.emit(out, "scrub_age_seconds", age, labels...)
	c.emit(out, "inflight_bytes", float64(s.Inflight()), labels...)
	held, limit := s.WriteQueue()
	c.emit(out, "write_queue_bytes", float64(held), labels...)
	c.emit(out, "write_queue_limit_bytes", float64(limit), labels...)
	m := e.Metrics()
	c.memory(out, s.Memory(), &m, labels...)
	for _, k := range c.engine {
		c.emit(out, k.Name, k.read(&m), labels...)
	}
	c.syncHistogram(out, m.Sync, labels...)
}

// memory collects the budget. What the newest entries of logs take is the engine's to say.
func (c *collector) memory(out chan<- prometheus.Metric, b *budget.Budget, m *engine.Metrics, labels ...string) {
	c.emit(out, "memory_budget_bytes", float64(b.Limit()), labels...)
	for _, k := range budget.Kinds() {
		used := float64(b.Used(k))
		if k == budget.Logs {
			used = float64(m.TailBytes)
		}
		of := append(slices.Clone(labels), k.String())
		c.emit(out, "memory_share_bytes", float64(b.Share(k)), of...)
		c.emit(out, "memory_used_bytes", used, of...)
		c.emit(out, "memory_refused_total", float64(b.Refused(k)), of...)
	}
}

// syncHistogram emits how long log batches took to be written and synced. The last bucket of the engine counts
// everything above its neighbour's bound, so it has no bound of its own here.
func (c *collector) syncHistogram(out chan<- prometheus.Metric, l engine.SyncLatency, labels ...string) {
	buckets := make(map[float64]uint64, len(l.Buckets))
	seen := uint64(0)
	for i, n := range l.Buckets[:len(l.Buckets)-1] {
		seen += n
		buckets[engine.SyncBound(i).Seconds()] = seen
	}
	out <- prometheus.MustNewConstHistogram(c.descs["engine_sync_seconds"].desc, l.Count, l.Sum.Seconds(), buckets, labels...)
}

// emit sends one value. A name that is not in the table becomes an error of whoever gathers.
func (c *collector) emit(out chan<- prometheus.Metric, name string, v float64, labels ...string) {
	d, ok := c.descs[name]
	if !ok {
		out <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(errNoMetric), fmt.Errorf("metric %s: %w", name, errNoMetric))
		return
	}
	out <- prometheus.MustNewConstMetric(d.desc, d.kind, v, labels...)
}

var errNoMetric = errors.New("it is not in the table of metrics")

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
