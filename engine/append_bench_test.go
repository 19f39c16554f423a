package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine/journal"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
)

// BenchmarkAppend is a log batch with one entry of each of so many shards, 256 bytes each, until it is on a real disk; beside
// a file of the size of a segment, preallocated like one, into which as many bytes are written and synced, and beside Pebble
// with a key for each entry, in a batch that is synced.
func BenchmarkAppend(b *testing.B) {
	for _, shards := range []int{1, 16, 100} {
		b.Run(fmt.Sprintf("shards=%d/engine", shards), func(b *testing.B) { benchAppend(b, shards) })
		b.Run(fmt.Sprintf("shards=%d/file", shards), func(b *testing.B) { benchAppendFile(b, shards) })
		b.Run(fmt.Sprintf("shards=%d/pebble", shards), func(b *testing.B) { benchAppendPebble(b, shards) })
	}
}

// appendBytes is the size of an entry's data.
const appendBytes = 256

// cutEvery is how many batches gather before the logs are cut, so that the journal's segments are used again.
const cutEvery = 512

func benchAppend(b *testing.B, shards int) {
	e, err := Open(filepath.Join(b.TempDir(), "store"), Options{})
	must(b, err)
	defer mustClose(b, e)
	must(b, e.RaiseVersion(version.Newest()))
	if e.journal() == nil {
		b.Fatal("the store has no journal")
	}
	logs := createLogs(b, e, shards)
	b.SetBytes(int64(shards * appendBytes))
	b.ReportAllocs()
	index, next := uint64(5), makeEntries(shards, 6)
	appendAll := func() error {
		index++
		batch := e.NewLogBatch()
		for _, l := range logs {
			batch.Append(l, next[:1:1], nil, index-1)
			next = next[1:]
		}
		if err := batch.Commit(); err != nil {
			return err
		}
		return batch.Wait()
	}
	must(b, appendAll()) // the first one after the birth of a replica syncs the database as well
	for b.Loop() {
		if err := appendAll(); err != nil {
			b.Fatal(err)
		}
		if len(next) == 0 {
			b.StopTimer()
			cutLogs(b, e, logs, index-1)
			next = makeEntries(shards, index+1)
			b.StartTimer()
		}
	}
	for _, l := range logs {
		if last, err := l.LastIndex(); err != nil || last != index {
			b.Fatalf("the log of %s ends at %d, not at %d: %v", l.shard, last, index, err)
		}
	}
}

// makeEntries makes what cutEvery batches append from an index on, batch by batch: raft makes the entries, not the engine.
func makeEntries(shards int, from uint64) (out []*pb.Entry) {
	data, term := make([]byte, appendBytes), uint64(5)
	for i := range uint64(cutEvery) {
		index := from + i
		for range shards {
			out = append(out, &pb.Entry{Index: &index, Term: &term, Type: pb.EntryNormal.Enum(), Data: data})
		}
	}
	return out
}

// createLogs makes replicas of so many shards, whose logs are empty behind entry 5.
func createLogs(b *testing.B, e *Engine, shards int) (logs []*Log) {
	b.Helper()
	w := e.NewStateBatch()
	defer w.Close()
	var states []ReplicaState
	for i := range shards {
		d := desc(shard.ID(1000+i), rng(fmt.Sprintf("%04d", i), fmt.Sprintf("%04d", i+1)), shard.ReplicaID(i+1))
		states = append(states, newState(d, shard.ReplicaID(i+1)))
		w.CreateReplica(states[i])
	}
	must(b, w.Commit(true))
	for _, rs := range states {
		logs = append(logs, e.OpenLog(rs))
	}
	return logs
}

// cutLogs has all logs applied and truncated up to an index.
func cutLogs(b *testing.B, e *Engine, logs []*Log, index uint64) {
	b.Helper()
	w := e.NewStateBatch()
	defer w.Close()
	for _, l := range logs {
		a := shard.Applied{Index: index, Term: 5, TruncIndex: index, TruncTerm: 5}
		w.SetApplied(l.shard, a)
		l.SetApplied(a)
		l.Truncate(w, index, 5)
	}
	must(b, w.Commit(false))
}

// benchAppendFile writes records of the journal's length one behind the other, and begins again at the end.
func benchAppendFile(b *testing.B, shards int) {
	const segment = 16 << 20
	f, err := vfs.Default.OpenReadWrite(filepath.Join(b.TempDir(), "file"), "raft-log")
	must(b, err)
	defer f.Close()
	must(b, f.Preallocate(0, segment))
	record := make([]byte, recordLen(shards))
	at := int64(0)
	b.SetBytes(int64(shards * appendBytes))
	b.ReportAllocs()
	for b.Loop() {
		if at+int64(len(record)) > segment {
			at = 0
		}
		n, err := f.WriteAt(record, at)
		if err == nil {
			err = f.SyncData()
		}
		if err != nil {
			b.Fatal(err)
		}
		at += int64(n)
	}
}

// recordLen is how long the journal's record is of one entry of each of so many shards.
func recordLen(shards int) int {
	var r journal.Batch
	for i := range shards {
		r.Append(uint64(1000+i), journal.Life{Replica: uint64(i + 1), Index: 5, Term: 5}, 1000, 1)
		r.Entry(logValueLen(1000, 5, appendBytes))
	}
	return r.Len()
}

// benchAppendPebble has the engine's keys and sizes, and Pebble's order of keys. Nothing is deleted.
func benchAppendPebble(b *testing.B, shards int) {
	db, err := pebble.Open(filepath.Join(b.TempDir(), "db"), &pebble.Options{FormatMajorVersion: pinnedFormat,
		MemTableSize: defaultMemTableBytes, WALBytesPerSync: walBytesPerSync, L0StopWritesThreshold: l0StopSublevels, Logger: discardLogger{}})
	must(b, err)
	defer func() { must(b, db.Close()) }()
	value := make([]byte, logValueLen(1000, 5, appendBytes))
	var key [keys.LogLen]byte
	b.SetBytes(int64(shards * appendBytes))
	b.ReportAllocs()
	index := uint64(5)
	for b.Loop() {
		index++
		batch := db.NewBatch()
		for i := range shards {
			if err := batch.Set(keys.AppendLog(key[:0], shard.ID(1000+i), index), value, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(batch.Commit(pebble.Sync), batch.Close()); err != nil {
			b.Fatal(err)
		}
	}
	v, c, err := db.Get(keys.AppendLog(key[:0], shard.ID(1000), index))
	must(b, err)
	if len(v) != len(value) {
		b.Fatalf("the last entry has %d bytes, not %d", len(v), len(value))
	}
	must(b, c.Close())
}

// discardLogger says nothing but the end of the world.
type discardLogger struct{}

func (discardLogger) Infof(string, ...any)         {}
func (discardLogger) Errorf(string, ...any)        {}
func (discardLogger) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
