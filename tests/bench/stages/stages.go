// Package stages says to which stage of an operation's way a sample of a profile belongs, by its stack.
package stages

import "strings"

// Stage is a part of what an operation costs.
type Stage string

// The stages, in the order of an operation's way.
const (
	Client      Stage = "the SDK"
	Network     Stage = "gRPC, HTTP/2, sockets, frames"
	Pass        Stage = "passes of workers: admission, proposals, messages, answers"
	Raft        Stage = "the raft library and its group"
	LogAppend   Stage = "the raft log: records, writes"
	LogSync     Stage = "the raft log: fdatasync"
	Evaluate    Stage = "evaluation of commands and queries"
	Memtable    Stage = "applied state: batches, memtables"
	DatabaseLog Stage = "applied state: the database's log"
	Reads       Stage = "lookups, and the rest of the engine"
	Compaction  Stage = "flushes and compactions"
	Allocation  Stage = "allocation"
	Collector   Stage = "the collector"
	Scheduler   Stage = "Go's scheduler: waking, waiting, looking for work"
	Generator   Stage = "the generator"
	Rest        Stage = "the rest"
)

// All are the stages in that order.
var All = []Stage{Client, Network, Pass, Raft, LogAppend, LogSync, Evaluate, Memtable, DatabaseLog, Reads, Compaction, Allocation, Collector,
	Scheduler, Generator, Rest}

// rule gives a stage to functions whose names begin so.
type rule struct {
	prefix string
	stage  Stage
}

const (
	skerry = "github.com/skerrydb/skerry/"
	pebble = "github.com/cockroachdb/pebble/v2"
)

// wherever holds functions that decide for all that they call.
var wherever = []rule{
	{"runtime.gcBgMarkWorker", Collector},
	{"runtime.gcAssistAlloc", Collector},
	{"runtime.bgsweep", Collector},
	{"runtime.bgscavenge", Collector},
	{pebble + ".(*DB).compact1", Compaction},
	{pebble + ".(*DB).flush1", Compaction},
	{pebble + "/record.(*LogWriter).flushLoop", DatabaseLog},
	{pebble + "/record.(*LogWriter).SyncRecord", DatabaseLog},
	{pebble + ".(*memTable).apply", Memtable},
	{skerry + "engine/journal.(*Journal).Sync", LogSync},
}

// innermost are looked for from the innermost function outwards; the first that has a stage decides.
var innermost = []rule{
	{"runtime.mallocgc", Allocation},
	{"runtime.newobject", Allocation},
	{"runtime.growslice", Allocation},
	{"runtime.(*mheap)", Allocation},
	{"runtime.futex", Scheduler},
	{"runtime.netpoll", Scheduler},
	{"runtime.schedule", Scheduler},
	{"runtime.findRunnable", Scheduler},
	{"runtime.park_m", Scheduler},
	{"runtime.goready", Scheduler},
	{"runtime.ready", Scheduler},
	{"runtime.mcall", Scheduler},
	{"runtime.sysmon", Scheduler},
	{"runtime.mstart", Scheduler},
	{"runtime.wakep", Scheduler},
	{"runtime.goschedImpl", Scheduler},
	{"google.golang.org/grpc", Network},
	{"google.golang.org/protobuf", Network},
	{"golang.org/x/net/http2", Network},
	{"net.", Network},
	{"internal/poll.", Network},
	{skerry + "rpc", Network},
	{skerry + "proto/", Network},
	{"go.etcd.io/raft/", Raft},
	{skerry + "raftstore/group", Raft},
	{skerry + "engine/journal", LogAppend},
	{skerry + "engine.(*LogBatch)", LogAppend},
	{skerry + "engine.(*Log)", LogAppend},
	{skerry + "engine.putLog", LogAppend},
	{skerry + "engine.(*StateBatch)", Memtable},
	{skerry + "engine", Reads},
	{pebble + ".(*Batch)", Memtable},
	{pebble + ".(*DB).Apply", Memtable},
	{pebble + ".(*commitPipeline)", Memtable},
	{pebble + ".(*memTable)", Memtable},
	{pebble + "/record", DatabaseLog},
	{pebble, Reads},
	{skerry + "raftstore/apply", Evaluate},
	{skerry + "shard", Evaluate},
	{skerry + "raftstore", Pass},
	{skerry + "client", Client},
	{"main.", Generator},
}

// Of is the stage of a stack of functions' names, the innermost first.
func Of(stack []string) Stage {
	for _, f := range stack {
		if s, ok := match(wherever, f); ok {
			return s
		}
	}
	for _, f := range stack {
		if s, ok := match(innermost, f); ok {
			return s
		}
	}
	return Rest
}

func match(rules []rule, f string) (Stage, bool) {
	for _, r := range rules {
		if strings.HasPrefix(f, r.prefix) {
			return r.stage, true
		}
	}
	return "", false
}
