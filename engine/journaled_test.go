package engine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/memdisk"
)

// oldStore is a stopped store whose logs are in its database, of a cluster that has a version for journals by now.
func oldStore(t *testing.T) (fs *memdisk.FS, shows string) {
	t.Helper()
	fs = memdisk.New()
	e := openMem(t, fs)
	for i, id := range []shard.ID{1001, 1002} {
		r := shard.Range{Start: rk(string(rune('a' + i))), End: rk(string(rune('b' + i)))}
		rs := newState(desc(id, r, shard.ReplicaID(10*id)), shard.ReplicaID(10*id))
		l := create(t, e, rs)
		appendSync(t, e, l, entries(6, 60, 5), nil, 50)
		appendSync(t, e, l, entries(58, 70, 6), &HardState{Term: 6, Vote: 3, Commit: 50}, 55)
		set(t, e, true, func(b *StateBatch) {
			b.SetApplied(id, shard.Applied{Index: 40, Term: 5, TruncIndex: 20, TruncTerm: 5})
		})
		l.SetApplied(shard.Applied{Index: 40, Term: 5})
		set(t, e, true, func(b *StateBatch) { l.Truncate(b, 20, 5) })
	}
	must(t, e.RaiseVersion(version.Journal))
	if e.journal() != nil {
		t.Fatal("a store that holds logs begins a journal while it runs")
	}
	shows, err := observe(reopened(t, e, fs))
	must(t, err)
	return fs, shows
}

// reopened closes the store and opens it without a journal, to be looked at; it is closed with the test.
func reopened(t *testing.T, e *Engine, fs vfs.FS) *Engine {
	t.Helper()
	mustClose(t, e)
	mem := clone(t, fs)
	e, err := Open(testDir, Options{FS: mem, LogInDatabase: true})
	must(t, err)
	t.Cleanup(func() { mustClose(t, e) })
	return e
}

// TestMoveLogs: the first start after the version was raised moves the logs, whenever it is cut short.
func TestMoveLogs(t *testing.T) {
	fs, want := oldStore(t)
	points := &crashPoints{fs: fs, cfg: vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rand.New(rand.NewPCG(1, 2))}}
	e, err := Open(testDir, Options{FS: points.watched(), SegmentBytes: testSegmentBytes})
	must(t, err)
	look := func(what string, e *Engine) {
		t.Helper()
		if have, err := observe(e); err != nil || have != want {
			t.Fatalf("%s: %v\n%s\nbefore the move:\n%s", what, err, have, want)
		}
	}
	crashes := points.during(func() { look("moved", e) }) // nothing is moved before the replicas are asked for
	if none, err := e.empty(keys.AllLogs()); err != nil || !none {
		t.Fatalf("the database still holds entries, or does not say: %v", err)
	}
	for i, c := range crashes {
		e, err := Open(testDir, Options{FS: c, SegmentBytes: testSegmentBytes})
		must(t, err)
		look("cut short", e)
		mustClose(t, e)
		if got, bad := CheckStore(testDir, crashes[i]); len(bad) > 0 || got.Entries != 100 {
			t.Fatalf("what is there after a move that was cut short: %+v, %v", got, bad)
		}
	}
	if len(crashes) < 5 {
		t.Fatalf("cut short %d times only", len(crashes))
	}
	mustClose(t, e)
	e, err = Open(testDir, Options{FS: fs})
	must(t, err)
	look("opened again", e)
	mustClose(t, e)
}

// TestInspectOldLog: what looks at a stopped store finds its log where it is.
func TestInspectOldLog(t *testing.T) {
	fs, _ := oldStore(t)
	i, err := Inspect(testDir, clone(t, fs))
	must(t, err)
	n := 0
	must(t, i.Log(1002, 0, math.MaxUint64, func(*Entry) bool { n++; return true }))
	must(t, i.Close())
	if n != 50 {
		t.Fatalf("%d entries, want 50", n)
	}
}
