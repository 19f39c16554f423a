package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// source fills a store with a shard of n keys and another one beside it.
func source(t *testing.T, n, valueBytes int) (*Engine, *shard.Descriptor) {
	t.Helper()
	e := openMem(t, vfs.NewMem())
	d := desc(1002, rng("m", "z"), 12)
	rs := newState(d, 12)
	create(t, e, rs)
	set(t, e, false, func(b *StateBatch) {
		b.Set(rk("a"), []byte("another shard's"))
		b.Set(rk("z"), []byte("another shard's"))
		for i := range n {
			b.Set(rk(fmt.Sprintf("m%06d", i)), bytes.Repeat([]byte{byte(i)}, valueBytes))
		}
		rs.Applied.Index = 40
		b.SetApplied(1002, rs.Applied)
	})
	return e, d
}

func chunks(t *testing.T, e *Engine, d *shard.Descriptor, size int, between func()) (SnapshotMeta, [][]byte) {
	t.Helper()
	s, err := e.NewSnapshotSource(d, size)
	must(t, err)
	defer s.Close()
	var out [][]byte
	for {
		c, err := s.Next()
		if err == io.EOF {
			return s.Meta(), out
		}
		must(t, err)
		out = append(out, c)
		if between != nil {
			between()
		}
	}
}

// TestSnapshot sends shards of several sizes to another store, while the sender goes on to change and destroy its own,
// and installs them over a replica that held more.
func TestSnapshot(t *testing.T) {
	for _, c := range []struct{ n, value, chunk int }{{0, 0, 0}, {5, 10, 0}, {1000, 10, 1000}, {300, 4000, 0}, {40, 40000, 1 << 10}} {
		t.Run(fmt.Sprintf("%dx%d", c.n, c.value), func(t *testing.T) {
			from, d := source(t, c.n, c.value)
			defer mustClose(t, from)
			from.exciseBytes = 0
			changed := false
			meta, parts := chunks(t, from, d, c.chunk, func() {
				if changed {
					return
				}
				changed = true // the view survives all of this
				set(t, from, true, func(b *StateBatch) {
					b.Set(rk("m000003"), []byte("later"))
					b.DestroyReplica(1002, 13, &d.Range)
				})
				must(t, from.FinishDestroy(1002, d.Range))
			})
			if meta.Applied.Index != 40 || !meta.Desc.Range.Equal(d.Range) {
				t.Fatalf("meta %+v", meta)
			}

			to := openMem(t, vfs.NewMem())
			old := desc(1002, rng("g", "z"), 22)
			l := create(t, to, newState(old, 22))
			appendSync(t, to, l, entries(6, 60, 5), nil, 6)
			set(t, to, false, func(b *StateBatch) {
				b.Set(rk("f"), []byte("neighbour"))
				b.Set(rk("h"), []byte("old"))
				b.Set(rk("m000001x"), []byte("old"))
				b.Set(rk("z"), []byte("neighbour"))
			})
			to.tableBytes = 300 << 10
			s, err := to.NewSnapshotSink(1002, "40-5")
			must(t, err)
			for _, p := range parts {
				must(t, s.Write(p))
				clear(p) // its room is used again
			}
			must(t, s.Finish())
			if have, want := len(s.sst.paths), c.n*c.value/to.tableBytes; have < want {
				t.Fatalf("%d tables, want %d", have, want)
			}
			if want := int64(c.n * (c.value + 9)); s.Bytes() != want {
				t.Fatalf("%d bytes, not %d", s.Bytes(), want)
			}
			rs := ReplicaState{Shard: 1002, Replica: 22, Desc: meta.Desc, Applied: meta.Applied, Hard: HardState{Term: 7, Vote: 3}}
			must(t, s.Install(Install{State: rs, OldRange: &old.Range}))
			s.Discard()
			l.Reset(rs)
			if first, _ := l.FirstIndex(); first != 41 {
				t.Fatal("log begins at", first)
			}
			appendSync(t, to, l, entries(41, 42, 7), nil, 41)
			checkInstalled(t, to, c.n, c.value)
			fs := to.fs
			mustClose(t, to)
			to = openMem(t, fs)
			defer mustClose(t, to)
			all, err := to.Replicas()
			must(t, err)
			if len(all) != 1 || all[0].LastIndex != 42 || all[0].Hard != (HardState{Term: 7, Vote: 3, Commit: 41}) || all[0].Replica != 22 {
				t.Fatalf("%+v", all)
			}
			checkInstalled(t, to, c.n, c.value)
			// What was recovered, changed to what is installed next, is a replica without log again.
			all[0].Applied.Index, all[0].LastIndex = 90, 90
			if first, _ := to.OpenLog(all[0]).FirstIndex(); first != 91 {
				t.Fatal("log begins at", first)
			}
			if names, err := to.fs.List(to.path(stagingDir)); err != nil || len(names) != 0 {
				t.Fatal(names, err)
			}
		})
	}
}

func checkInstalled(t *testing.T, e *Engine, n, valueBytes int) {
	t.Helper()
	r := e.NewReader()
	defer r.Close()
	seen := 0
	must(t, r.Scan(shard.Range{}, false, func(k shard.Key, v []byte) bool {
		switch u := string(k.User()); {
		case u == "f" || u == "z":
			if string(v) != "neighbour" {
				t.Fatalf("%s is %s", k, v)
			}
		case u != fmt.Sprintf("m%06d", seen) || len(v) != valueBytes || valueBytes > 0 && v[0] != byte(seen):
			t.Fatalf("key %s of %d bytes, %d seen", k, len(v), seen)
		default:
			seen++
		}
		return true
	}))
	if seen != n {
		t.Fatalf("%d of %d keys", seen, n)
	}
}

// TestSinkRefuses: whatever is not exactly the snapshot that was sent is refused, and cannot be installed.
func TestSinkRefuses(t *testing.T) {
	from, d := source(t, 20, 100)
	defer mustClose(t, from)
	_, parts := chunks(t, from, d, 500, nil)
	if len(parts) < 4 {
		t.Fatal(len(parts))
	}
	flip := bytes.Clone(parts[1])
	flip[len(flip)/2] ^= 1
	_, whole := chunks(t, from, d, 0, nil)
	rs := ReplicaState{Shard: 1002, Replica: 22, Desc: d, Applied: shard.Applied{Index: 40, Term: 5}}
	narrow := rs
	narrow.Desc = desc(1002, rng("m", "m00001"), 12)
	other := rs
	other.Desc, other.Shard = desc(1003, rng("m", "z"), 12), 1003
	far := rng("a", "b")
	for _, c := range []struct {
		name, want string
		parts      [][]byte
		in         Install
	}{
		{"flipped bit", "checksum", [][]byte{parts[0], flip}, Install{State: rs}},
		{"cut short", "not the last", parts[:2], Install{State: rs}},
		{"missing chunk", "instead of 1", [][]byte{parts[0], parts[2]}, Install{State: rs}},
		{"chunk twice", "instead of 1", [][]byte{parts[0], parts[0]}, Install{State: rs}},
		{"after the end", "last one seen", append(append([][]byte{}, parts...), parts[len(parts)-1]), Install{State: rs}},
		{"nothing", "not the last", nil, Install{State: rs}},
		{"key outside", "not all in", whole, Install{State: narrow}},
		{"another shard", "descriptor", whole, Install{State: other}},
		{"gap", "gap", whole, Install{State: rs, OldRange: &far}},
		{"unsorted", "came after", [][]byte{pairs("n", "m")}, Install{State: rs}},
		{"same key twice", "came after", [][]byte{pairs("n", "n")}, Install{State: rs}},
	} {
		to := openMem(t, vfs.NewMem())
		s, err := to.NewSnapshotSink(1002, "x")
		must(t, err)
		err = func() error {
			for _, p := range c.parts {
				if err := s.Write(p); err != nil {
					return err
				}
			}
			if err := s.Finish(); err != nil {
				return err
			}
			return s.Install(c.in)
		}()
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "s1002") {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := s.Install(c.in); err == nil {
			t.Errorf("%s: installed at the second try", c.name)
		}
		if all, err := to.Replicas(); err != nil || len(all) != 0 {
			t.Errorf("%s: %v %v", c.name, all, err)
		}
		mustClose(t, to)
	}
	if _, err := from.NewSnapshotSink(1, "../x"); err == nil {
		t.Error("a name with a slash")
	}
	if _, err := from.NewSnapshotSource(desc(7, rng("a", "b"), 1), 0); err == nil {
		t.Error("a snapshot of a shard that is not here")
	}
	if _, err := readChunk(flip); !errors.Is(err, ErrCorruption) {
		t.Error(err)
	}
}

func pairs(ks ...string) []byte {
	var w chunkWriter
	w.begin(0, 0)
	for _, k := range ks {
		w.add(keys.Data(rk(k)), nil)
	}
	return w.finish(true)
}

// TestReaderSurvivesExcise: a view shows what was there when it was opened, whatever is excised or installed since.
func TestReaderSurvivesExcise(t *testing.T) {
	e, d := source(t, 1000, 100)
	defer mustClose(t, e)
	e.exciseBytes = 0
	r := e.NewReader()
	set(t, e, true, func(b *StateBatch) { b.DestroyReplica(1002, 13, &d.Range) })
	must(t, e.FinishDestroy(1002, d.Range))
	must(t, large(t, e, desc(1002, d.Range, 14), "new").Install(Install{State: newState(desc(1002, d.Range, 14), 14)}))
	n := 0
	must(t, r.Scan(d.Range, false, func(k shard.Key, v []byte) bool { n++; return len(v) == 100 }))
	a, ok, err := r.Applied(1002)
	if n != 1000 || err != nil || !ok || a.Index != 40 {
		t.Fatalf("%d keys, applied %v %v %v", n, a, ok, err)
	}
	if v, ok, err := r.Get(rk("m000999")); err != nil || !ok || len(v) != 100 {
		t.Fatal(ok, err)
	}
	must(t, r.Close())
	must(t, r.Close())
	if _, _, err := r.Get(rk("a")); !errors.Is(err, shard.ErrClosed) {
		t.Fatal(err)
	}
	if _, ok, _ := e.Get(rk("m000999")); ok {
		t.Fatal("the old data are still there")
	}
}

// TestSizeAndMiddle: sizes are right in memtables and in files, and the middle parts bytes, not keys.
func TestSizeAndMiddle(t *testing.T) {
	e, d := source(t, 3000, 100)
	defer mustClose(t, e)
	set(t, e, false, func(b *StateBatch) {
		for i := range 100 {
			b.Set(rk(fmt.Sprintf("m002900x%03d", i)), bytes.Repeat([]byte{byte(i)}, 10000)) // a million bytes near the end
		}
	})
	for range 2 {
		size, err := e.ApproximateSize(d.Range)
		if err != nil || size < 1_300_000 || size > 1_500_000 {
			t.Fatal(size, err)
		}
		k, ok, err := e.MiddleKey(d.Range)
		if err != nil || !ok || !strings.HasPrefix(string(k), "rm002900x") {
			t.Fatal(k, ok, err)
		}
		must(t, e.db.Flush())
	}
	// Versions of one key are never parted.
	set(t, e, false, func(b *StateBatch) {
		for i := range 100 {
			b.Set(append([]byte("xa\x00\xff\xff\xff\xff\xff\xff\xff"), byte(i), 9), make([]byte, 100))
		}
		b.Set([]byte("xb\x00\xff\xff\xff\xff\xff\xff\xff\x00\x09"), nil)
	})
	if k, ok, err := e.MiddleKey(shard.ModeRange(shard.ModeTxn)); err != nil || !ok || string(k) != "xb\x00" {
		t.Fatal(k, ok, err)
	}
	if k, ok, err := e.MiddleKey(shard.Range{Start: shard.Key("xa\x00"), End: shard.Key("xb\x00")}); err != nil || ok {
		t.Fatal(k, ok, err)
	}
	// Four parts of about equal bytes: the large values are most of them, and all cuts but perhaps the first lie there.
	cuts, total, err := e.CutKeys(d.Range, 4)
	if err != nil || len(cuts) != 3 || total < 1_300_000 || total > 1_500_000 {
		t.Fatal(cuts, total, err)
	}
	for i, c := range cuts {
		if want := total / 4 * uint64(i+1); dist(c.Below, want) > 30_000 {
			t.Fatalf("cut %d at %s has %d of %d bytes below it", i, c.Key, c.Below, total)
		}
		if i > 0 && cuts[i-1].Key.Compare(c.Key) >= 0 {
			t.Fatalf("cuts do not ascend: %v", cuts)
		}
	}
	// There are no more cuts than prefixes after the first.
	if cuts, _, err := e.CutKeys(shard.ModeRange(shard.ModeTxn), 5); err != nil || len(cuts) != 1 {
		t.Fatal(cuts, err)
	}
	if size, err := e.ApproximateSize(rng("q", "q")); err != nil || size != 0 {
		t.Fatal(size, err)
	}
	m := e.Metrics()
	if m.DiskBytes == 0 || m.CompactedBytes == 0 || m.Flushes == 0 || m.Sync.Count != 0 {
		t.Fatalf("%+v", m)
	}
	l := create(t, e, newState(desc(1001, rng("a", "b"), 11), 11))
	appendSync(t, e, l, entries(6, 7, 5), nil, 5)
	if m := e.Metrics(); m.Sync.Count != 1 || m.Sync.Quantile(0.5) == 0 || m.TailBytes == 0 {
		t.Fatalf("%+v", m)
	}
}
