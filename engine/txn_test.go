package engine

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/mvcc/mvcctest"
)

// txnKeys are keys that lie close together, also where one continues another and where bytes look like a suffix.
var txnKeys = []shard.Key{mvcc.Key([]byte("a")), mvcc.Key([]byte("a\x00")), mvcc.Key([]byte("a\x00\x09")),
	mvcc.Key([]byte("a\x00\xff\xff\xff\xff\xff\xff\xff\xff\x09")), mvcc.Key([]byte("b")), mvcc.Key(nil), mvcc.Key([]byte("c"))}

// TestTxnAgainstTwin: whatever is written, in whatever batches, a batch reads its own writes, and views and latest reads
// what was committed, exactly as the twin in memory.
func TestTxnAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, err := Open(testDir, Options{FS: vfs.NewMem(), MemTableBytes: 256 << 10, CacheBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		model, committed := new(mvcctest.Map), new(mvcctest.Map)
		b := e.NewStateBatch()
		defer func() { b.Close() }()
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			k := rapid.SampledFrom(txnKeys).Draw(t, "key")
			ts := mvcc.Timestamp(rapid.IntRange(1, 6).Draw(t, "ts"))
			v := []byte(rapid.StringN(0, 4, 4).Draw(t, "value"))
			switch rapid.IntRange(0, 7).Draw(t, "step") {
			case 0:
				b.Txn().SetLock(k, v)
				model.SetLock(k, v)
			case 1:
				b.Txn().DeleteLock(k)
				model.DeleteLock(k)
			case 2, 3:
				b.Txn().SetVersion(k, ts, v)
				model.SetVersion(k, ts, v)
			case 4:
				if exists(model, k, ts) {
					b.Txn().DeleteVersion(k, ts)
					model.DeleteVersion(k, ts)
				}
			case 5:
				b.Set(shard.RawKey(k), v) // raw data beside it disturb nobody
			case 6:
				compareTxn(t, "batch", b.Txn(), model, k, ts)
			case 7:
				if err := b.Commit(false); err != nil {
					t.Fatal(err)
				}
				b.Close()
				b, committed = e.NewStateBatch(), model.Copy()
			}
			rd := e.NewReader()
			compareTxn(t, "view", rd.Txn(), committed, k, ts)
			if err := rd.Close(); err != nil {
				t.Fatal(err)
			}
			compareTxn(t, "latest", e.Txn(), committed, k, ts)
		}
	})
}

func exists(m *mvcctest.Map, k shard.Key, ts mvcc.Timestamp) (found bool) {
	_ = m.Versions(k, ts, func(at mvcc.Timestamp, _ []byte) bool { found = at == ts; return false })
	return found
}

func compareTxn(t *rapid.T, who string, have, want mvcc.Reader, k shard.Key, at mvcc.Timestamp) {
	r := shard.Range{Start: txnKeys[rapid.IntRange(0, 6).Draw(t, "start")], End: txnKeys[rapid.IntRange(0, 6).Draw(t, "end")]}
	if rapid.Bool().Draw(t, "all") {
		r = shard.Range{}
	}
	reverse := rapid.Bool().Draw(t, "reverse")
	step := mvcc.Step(rapid.IntRange(int(mvcc.NextVersion), int(mvcc.NextKey)).Draw(t, "next"))
	if a, b := showTxn(have, r, reverse, k, at, step), showTxn(want, r, reverse, k, at, step); a != b {
		t.Fatalf("%s: %s reverse %t\n%s\nnot\n%s", who, r, reverse, a, b)
	}
}

func showTxn(rd mvcc.Reader, r shard.Range, reverse bool, k shard.Key, at mvcc.Timestamp, step mvcc.Step) string {
	var b strings.Builder
	v, ok, err := rd.Lock(k)
	fmt.Fprintf(&b, "lock %t %q %v\n", ok, v, err)
	err = rd.Locks(r, reverse, func(k shard.Key, v []byte) bool { fmt.Fprintf(&b, "%q %q\n", k, v); return true })
	fmt.Fprintln(&b, "locks", err)
	err = rd.Versions(k, at, func(ts mvcc.Timestamp, v []byte) bool { fmt.Fprintf(&b, "%d %q\n", ts, v); return true })
	fmt.Fprintln(&b, "versions", err)
	err = rd.Scan(r, reverse, at, func(k shard.Key, ts mvcc.Timestamp, v []byte) mvcc.Step {
		fmt.Fprintf(&b, "%q %d %q\n", k, ts, v)
		return step
	})
	fmt.Fprintln(&b, "scan", err)
	return b.String()
}

// TestSnapshotCarriesLocks: versions and locks arrive, of a small snapshot and of a large one, and what the replica held
// before, also beyond the new range, is gone. The neighbours' stay.
func TestSnapshotCarriesLocks(t *testing.T) {
	for _, n := range []int{0, 3, 3000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			tk := func(s string) shard.Key { return mvcc.Key([]byte(s)) }
			r := shard.Range{Start: shard.Key("xd"), End: shard.Key("xt")}
			d := desc(1002, r, 12)
			from := openMem(t, vfs.NewMem())
			defer mustClose(t, from)
			create(t, from, newState(d, 12))
			want := new(mvcctest.Map)
			set(t, from, false, func(b *StateBatch) {
				for i := range n {
					k, v := tk(fmt.Sprintf("f%05d", i)), bytes.Repeat([]byte{byte(i)}, 60)
					b.Txn().SetLock(k, v)
					want.SetLock(k, v)
					b.Txn().SetVersion(k, 7, v)
					want.SetVersion(k, 7, v)
				}
				b.Txn().SetLock(tk("c"), []byte("neighbour"))
				b.Txn().SetLock(tk("u"), []byte("neighbour"))
			})
			meta, parts := chunks(t, from, d, 10_000, nil)

			to := openMem(t, vfs.NewMem())
			defer mustClose(t, to)
			old := desc(1002, shard.Range{Start: shard.Key("xd"), End: shard.Key("xw")}, 22)
			create(t, to, newState(old, 22))
			set(t, to, false, func(b *StateBatch) {
				for _, k := range []string{"e", "f00001", "g", "u"} {
					b.Txn().SetLock(tk(k), []byte("old"))
					b.Txn().SetVersion(tk(k), 5, []byte("old"))
				}
				for _, k := range []string{"c", "x"} {
					b.Txn().SetLock(tk(k), []byte("neighbour"))
					want.SetLock(tk(k), []byte("neighbour"))
				}
			})
			s, err := to.NewSnapshotSink(1002, "5-5")
			must(t, err)
			for _, p := range parts {
				must(t, s.Write(p))
			}
			must(t, s.Finish())
			rs := ReplicaState{Shard: 1002, Replica: 22, Desc: meta.Desc, Applied: meta.Applied, Hard: HardState{Term: 7}}
			must(t, s.Install(Install{State: rs, OldRange: &old.Range}))
			s.Discard()
			if a, b := showAll(t, to.Txn()), showAll(t, want); a != b {
				t.Fatalf("%s\nnot\n%s", a, b)
			}
			// And destroyed, as one.
			set(t, to, true, func(b *StateBatch) { b.DestroyReplica(1002, 23, &r) })
			must(t, to.FinishDestroy(1002, r))
			var left []string
			must(t, to.Txn().Locks(shard.Range{}, false, func(k shard.Key, _ []byte) bool { left = append(left, string(k)); return true }))
			if fmt.Sprint(left) != fmt.Sprint([]string{string(tk("c")), string(tk("x"))}) {
				t.Fatalf("locks left: %q", left)
			}
		})
	}
}

func showAll(t *testing.T, rd mvcc.Reader) string {
	t.Helper()
	return showTxn(rd, shard.Range{}, false, txnKeys[0], mvcc.MaxTimestamp, mvcc.NextVersion)
}

// TestSinkRefusesForeignKinds: a chunk with a key that is neither data nor a lock, or a lock outside, installs nothing.
func TestSinkRefusesForeignKinds(t *testing.T) {
	e := openMem(t, vfs.NewMem())
	defer mustClose(t, e)
	for what, ks := range map[string][][]byte{
		"state":       {keys.State(1002, keys.StateApplied)},
		"lock first":  {keys.Lock(mvcc.Key([]byte("e"))), keys.Version(mvcc.Key([]byte("f")), 3)},
		"lock beyond": {keys.Lock(mvcc.Key([]byte("z")))},
	} {
		s, err := e.NewSnapshotSink(1002, "a")
		must(t, err)
		var w chunkWriter
		w.begin(0, 0)
		for _, k := range ks {
			w.add(k, nil)
		}
		if err = s.Write(w.finish(true)); err == nil {
			must(t, s.Finish())
			d := desc(1002, shard.Range{Start: shard.Key("xd"), End: shard.Key("xt")}, 12)
			err = s.Install(Install{State: newState(d, 12)})
		}
		if err == nil {
			t.Errorf("%s was installed", what)
		}
		s.Discard()
	}
}

// TestInstallUnion: which spans an install replaces, also where ranges begin or end with the keyspace.
func TestInstallUnion(t *testing.T) {
	e := openMem(t, vfs.NewMem())
	defer mustClose(t, e)
	for _, c := range []struct{ old, new, want string }{
		{",", ",", ","}, {",rc", ",rc", ",rc"}, {"rc,", "rc,", "rc,"}, {",rc", ",", ","}, {"rc,", ",", ","}, {",", "rc,rd", ","},
		{"ra,rc", "rb,rd", "ra,rd"}, {"ra,rb", "rb,rc", "ra,rc"}, {"rb,rc", "ra,rb", "ra,rc"}, {"ra,rb", "rc,rd", ""}, {"rc,rd", "ra,rb", ""},
		{",ra", "rb,", ""}, {"rb,", ",ra", ""},
	} {
		r := func(s string) shard.Range {
			a, b, _ := strings.Cut(s, ",")
			return shard.Range{Start: shard.Key(a), End: shard.Key(b)}
		}
		old := r(c.old)
		s := &SnapshotSink{e: e, id: 1002, finished: true}
		data, locks, err := s.checkInstall(Install{State: ReplicaState{Shard: 1002, Desc: desc(1002, r(c.new), 12)}, OldRange: &old})
		if (err != nil) != (c.want == "") {
			t.Fatalf("%s over %s: %v", c.new, c.old, err)
		}
		if want := r(c.want); err == nil && (string(data.Start)+string(data.End) != string(keys.DataSpan(want).Start)+string(keys.DataSpan(want).End) ||
			locks.Empty() != want.Intersect(shard.ModeRange(shard.ModeTxn)).Empty()) {
			t.Fatalf("%s over %s replaces %q to %q, and locks %q to %q", c.new, c.old, data.Start, data.End, locks.Start, locks.End)
		}
	}
}
