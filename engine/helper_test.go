package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	pb "go.etcd.io/raft/v3/raftpb"
)

const testDir = "/data/store"

// openMem opens a small store on fs.
func openMem(t testing.TB, fs vfs.FS) *Engine {
	t.Helper()
	e, err := Open(testDir, Options{FS: fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// testSegmentBytes is so small that segments of the journal are used again soon.
const testSegmentBytes = 32 << 10

// openJournaled is openMem of a store whose raft log is in a journal.
func openJournaled(t testing.TB, fs vfs.FS) *Engine {
	t.Helper()
	e, err := Open(testDir, Options{FS: fs, MemTableBytes: 1 << 20, CacheBytes: 1 << 20, SegmentBytes: testSegmentBytes})
	must(t, err)
	must(t, e.RaiseVersion(version.Journal))
	if e.journal() == nil {
		t.Fatal("the store has no journal")
	}
	return e
}

func mustClose(t testing.TB, e *Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func rk(s string) shard.Key { return shard.RawKey([]byte(s)) }

func rng(a, b string) shard.Range { return shard.Range{Start: rk(a), End: rk(b)} }

// desc is a descriptor of one voter.
func desc(id shard.ID, r shard.Range, replica shard.ReplicaID) *shard.Descriptor {
	return &shard.Descriptor{ID: id, Range: r, Epoch: shard.Epoch{ConfVer: 1, Version: 1},
		Replicas: []shard.Replica{{ID: replica, Store: 1001, Role: shard.Voter}}}
}

// newState is a fresh replica at index 5, term 5, as bootstrap and split make it.
func newState(d *shard.Descriptor, replica shard.ReplicaID) ReplicaState {
	return ReplicaState{Shard: d.ID, Replica: replica, Desc: d, Hard: HardState{Term: 5, Commit: 5},
		Applied: shard.Applied{Index: 5, Term: 5, TruncIndex: 5, TruncTerm: 5}, LastIndex: 5, LastTerm: 5}
}

func create(t testing.TB, e *Engine, rs ReplicaState) *Log {
	t.Helper()
	b := e.NewStateBatch()
	defer b.Close()
	b.CreateReplica(rs)
	must(t, b.Commit(true))
	return e.OpenLog(rs)
}

// entries makes entries from lo to hi of one term.
func entries(lo, hi, term uint64) []*pb.Entry {
	var out []*pb.Entry
	for i := lo; i <= hi; i++ {
		out = append(out, &pb.Entry{Index: new(i), Term: new(term), Type: pb.EntryNormal.Enum(),
			Data: fmt.Appendf(nil, "%d.%d", term, i)})
	}
	return out
}

// appendSync appends and waits.
func appendSync(t testing.TB, e *Engine, l *Log, ents []*pb.Entry, hs *HardState, commit uint64) {
	t.Helper()
	b := e.NewLogBatch()
	b.Append(l, ents, hs, commit)
	must(t, b.Commit())
	must(t, b.Wait())
}

func set(t testing.TB, e *Engine, sync bool, f func(b *StateBatch)) {
	t.Helper()
	b := e.NewStateBatch()
	defer b.Close()
	f(b)
	must(t, b.Commit(sync))
}

// eventually waits for what the system or Pebble does in the background, of which nobody is told.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s did not come", what)
		}
	}
}
