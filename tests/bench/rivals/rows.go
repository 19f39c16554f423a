package main

// row is one measure: what so many clients do, and what the ratios to etcd shall be.
type row struct {
	name    string
	kind    kind
	clients int
	// least is the least ratio of rates, and most the greatest ratio of 99th percentiles; p50 that of medians. Zero: no bar.
	least, most, p50 float64
	// warm is how many windows of puts come right before.
	warm int
	// slowest is the greatest ratio of times, of a row that is timed. Zero: no bar.
	slowest float64
}

// timed says that a row is about how long something takes that happens once a round, not about what clients get done.
func (r *row) timed() bool { return r.kind == failover }

// leastTrials is how often what happens once a round is measured at least.
const leastTrials = 5

func (r *row) rounds(o *options) int {
	if r.timed() {
		return max(o.rounds, leastTrials)
	}
	return o.rounds
}

// layout is how the keyspace is cut in Skerry. etcd knows one layout only.
type layout struct {
	name   string
	shards int
	idle   int // shards beside them that hold nothing
	// patient: etcd is told to wait for a lost leader as long as Skerry does, and to send heartbeats as often; else it has its defaults.
	patient bool
	rows    []row
}

// splitKeys are the borders of a layout. The idle shards lie behind all keys of the keyspace.
func (l *layout) splitKeys() []string {
	out := borders(l.shards)
	for i := range l.idle {
		out = append(out, idleKey(i))
	}
	return out
}

// layouts are all rows.
var layouts = []layout{
	{name: "1 shard", shards: 1, rows: []row{
		{name: "put, 256 clients", kind: put, clients: 256, least: 5, most: 0.3},
		{name: "put, 1 client", kind: put, clients: 1, p50: 0.75},
		{name: "get, 256 clients", kind: get, clients: 256, least: 6, most: 0.25},
		{name: "batch put of 100, 16 clients, rows", kind: putBatch, clients: 16, least: 2.7},
		{name: "batch get of 100, 64 clients, keys", kind: getMany, clients: 64, least: 20},
		{name: "scan of 100, 16 clients, rows", kind: scan, clients: 16, least: 7},
		{name: "compare-and-swap of one key, 256 clients", kind: swap, clients: 256, least: 5},
	}},
	// etcd has no other transactions than compare and write; its client library's are loops around those.
	{name: "transactions", shards: 1, rows: []row{
		{name: "add to one counter, 256 clients", kind: add, clients: 256, least: 5},
		{name: "read-modify-write of one counter, 256 clients", kind: modify, clients: 256, least: 1.5},
	}},
	{name: "100 shards", shards: 100, rows: []row{
		{name: "put, 256 clients", kind: put, clients: 256, least: 3.5, most: 0.35},
		{name: "put, 1000 clients", kind: put, clients: 1000, least: 3.8},
		{name: "get, 256 clients, after a minute of puts", kind: get, clients: 256, least: 5, most: 0.4, warm: 10},
		{name: "batch get of 100, 64 clients, keys", kind: getMany, clients: 64, least: 20},
	}},
	{name: "100 shards, 9,900 idle", shards: 100, idle: 9900, rows: []row{
		{name: "put, 256 clients", kind: put, clients: 256, least: 3.5 * 0.95},
	}},
	// etcd's members are one group, and one of Skerry's three stores leads some 33 of 100.
	{name: "failover, 100 shards", shards: 100, patient: true, rows: []row{
		{name: "server killed, all that it led takes puts", kind: failover, slowest: 1.3},
	}},
}
