package engine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// sumOf sums up a replica in parts, and calls between after the first.
func sumOf(t *testing.T, e *Engine, id shard.ID, part int, between func()) Sum {
	t.Helper()
	s := e.NewSummer(id)
	defer s.Close()
	for {
		_, done, err := s.Next(part)
		must(t, err)
		if between != nil {
			between()
			between = nil
		}
		if done {
			return s.Sum()
		}
	}
}

// TestSummer: a sum is of one view, whatever is written and cut out meanwhile; of the same data it is the same however they
// came to be there and however they are read; and every key, value, lock and field of the state enters.
func TestSummer(t *testing.T) {
	e, d := source(t, 300, 50)
	defer mustClose(t, e)
	want := sumOf(t, e, d.ID, 1<<20, nil)
	if want.Pairs != 300 || want.Bytes != 300*(50+9) {
		t.Fatalf("%+v", want)
	}
	other, _ := source(t, 300, 50)
	defer mustClose(t, other)
	must(t, other.db.Flush())
	must(t, other.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	if got := sumOf(t, other, d.ID, 100, nil); got != want {
		t.Errorf("the same data, in tables: %s, want %s", got, want)
	}

	a := shard.Applied{Index: 40, Term: 5, TruncIndex: 5, TruncTerm: 5}
	for what, f := range map[string]func(b *StateBatch){
		"a value":       func(b *StateBatch) { b.Set(rk("m000007"), []byte("x")) },
		"a key more":    func(b *StateBatch) { b.Set(rk("m000007x"), nil) },
		"a key less":    func(b *StateBatch) { b.Delete(rk("m000299")) },
		"shard time":    func(b *StateBatch) { n := a; n.Time = 1; b.SetApplied(d.ID, n) },
		"locks":         func(b *StateBatch) { n := a; n.Locks = 1; b.SetApplied(d.ID, n) },
		"safe point":    func(b *StateBatch) { n := a; n.SafePoint = 2; b.SetApplied(d.ID, n) },
		"truncation":    func(b *StateBatch) { n := a; n.TruncIndex = 6; b.SetApplied(d.ID, n) },
		"epoch":         func(b *StateBatch) { n := *d; n.Epoch.ConfVer++; b.SetDescriptor(&n) },
		"a neighbour's": nil,
	} {
		e, _ := source(t, 300, 50)
		set(t, e, false, func(b *StateBatch) {
			if f != nil {
				f(b)
			} else {
				b.Set(rk("a"), []byte("changed"))
			}
		})
		if got := sumOf(t, e, d.ID, 1000, nil); (got == want) != (f == nil) {
			t.Errorf("%s: %s, was %s", what, got, want)
		}
		mustClose(t, e)
	}

	got := sumOf(t, e, d.ID, 500, func() {
		set(t, e, true, func(b *StateBatch) {
			b.Set(rk("m000250"), []byte("later"))
			b.DestroyReplica(d.ID, 13, &d.Range)
		})
		must(t, e.FinishDestroy(d.ID, d.Range))
	})
	if got != want {
		t.Errorf("while the replica went: %s, want %s", got, want)
	}
	gone := e.NewSummer(d.ID)
	defer gone.Close()
	if _, _, err := gone.Next(1); err == nil {
		t.Error("a replica that is gone has a sum")
	}
}

// TestSummerLocks: the locks of a shard enter its sum.
func TestSummerLocks(t *testing.T) {
	e := openMem(t, vfs.NewMem())
	defer mustClose(t, e)
	d := desc(1002, shard.Range{Start: mvcc.Key([]byte("a")), End: mvcc.Key([]byte("z"))}, 12)
	create(t, e, newState(d, 12))
	before := sumOf(t, e, d.ID, 100, nil)
	set(t, e, false, func(b *StateBatch) {
		b.Txn().SetLock(mvcc.Key([]byte("k")), []byte("a lock"))
	})
	if after := sumOf(t, e, d.ID, 100, nil); after.Pairs != before.Pairs+1 || after.Hash == before.Hash {
		t.Errorf("with a lock %s, without %s", after, before)
	}
}

// TestDiverged: a store that was marked is refused at every start, whatever the file holds by then, and nothing is changed.
func TestDiverged(t *testing.T) {
	dir := t.TempDir()
	e, err := Open(dir, Options{MemTableBytes: 1 << 20})
	must(t, err)
	must(t, e.MarkDiverged("r12 of s1002 holds other data"))
	mustClose(t, e)
	for _, text := range []string{"", "x", "\x00\xff"} {
		if text != "" {
			must(t, os.WriteFile(filepath.Join(dir, divergedFile), []byte(text), 0o600))
		}
		if _, err := Open(dir, Options{}); fault.Of(err) != fault.Diverged {
			t.Errorf("opened with %q: %v", text, err)
		}
	}
	_, bad := CheckStore(dir, nil)
	if len(bad) != 1 || fault.Of(bad[0]) != fault.Diverged {
		t.Errorf("a check says %v", bad)
	}
}
