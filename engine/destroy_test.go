package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/tests/memdisk"
)

// openPoints opens a store. What it returns runs f and gives what a crash at every file operation meanwhile leaves, without anything
// unsynced.
func openPoints(t *testing.T) (*Engine, func(f func()) []*memdisk.FS) {
	p := &crashPoints{fs: memdisk.New()}
	return openMem(t, p.watched()), p.during
}

// large is a snapshot that is installed by an ingest.
func large(t *testing.T, e *Engine, d *shard.Descriptor, tag string) *SnapshotSink {
	t.Helper()
	s, err := e.NewSnapshotSink(d.ID, tag)
	must(t, err)
	var w chunkWriter
	w.begin(0, 0)
	for i := range 20 {
		w.add(keys.Data(append(d.Range.Start.Clone(), fmt.Sprintf("%03d", i)...)), []byte(tag+strings.Repeat("=", smallSnapshotBytes/10)))
	}
	must(t, s.Write(w.finish(true)))
	must(t, s.Finish())
	return s
}

// TestIngestDoesNotOvertake: an install survives a crash through the manifest. If the write-ahead log were not synced
// before it, it would survive without a batch that was committed earlier and touches none of its keys (F2).
func TestIngestDoesNotOvertake(t *testing.T) {
	e, during := openPoints(t)
	left, right := desc(1001, rng("a", "m"), 11), desc(1002, rng("m", "z"), 12)
	create(t, e, newState(left, 11))
	must(t, e.db.Flush()) // nothing that the ingest would have to wait for
	set(t, e, false, func(b *StateBatch) { b.Set(rk("k"), []byte("applied")) })
	s := large(t, e, right, "s1")
	clones := during(func() { must(t, s.Install(Install{State: newState(right, 12)})) })
	mustClose(t, e)
	installed := 0
	for i, fs := range clones {
		e := openMem(t, fs)
		_, in, err := e.Get(rk("m000"))
		must(t, err)
		if _, ok, err := e.Get(rk("k")); err != nil || in && !ok {
			t.Fatalf("point %d of %d: the install survived, the batch before it did not (%v)", i, len(clones), err)
		}
		all, err := e.Replicas()
		must(t, err)
		if in != (len(all) == 2) {
			t.Fatalf("point %d: data there: %t, replicas: %d", i, in, len(all))
		}
		if in {
			installed++
		}
		mustClose(t, e)
	}
	if installed == 0 || installed == len(clones) {
		t.Fatalf("installed at %d of %d points", installed, len(clones))
	}
}

// TestDestroyThenAddAgain goes through removal and a new replica on the same range, with a crash at every file
// operation of every step, and a start after it that redoes what was begun (F2).
func TestDestroyThenAddAgain(t *testing.T) {
	for _, excise := range []uint64{0, 1 << 40} {
		t.Run(fmt.Sprint("excise from ", excise), func(t *testing.T) { destroyThenAdd(t, excise) })
	}
}

func destroyThenAdd(t *testing.T, excise uint64) {
	e, during := openPoints(t)
	e.exciseBytes = excise
	d1, d2 := desc(1002, rng("m", "z"), 12), desc(1002, rng("m", "z"), 13)
	must(t, large(t, e, d1, "old").Install(Install{State: newState(d1, 12)}))
	create(t, e, newState(desc(1001, rng("a", "m"), 11), 11))
	span := d1.Range

	// check opens every clone and hands it what is there before recovery and after.
	check := func(step string, clones []*memdisk.FS, f func(e *Engine, value string, marked bool, rec func() []ReplicaState) error) {
		t.Helper()
		for i, fs := range clones {
			e := openMem(t, fs)
			e.exciseBytes = excise
			value := func() string {
				v, _, err := e.Get(rk("m000"))
				must(t, err)
				return strings.TrimRight(string(v), "=")
			}
			_, marked, err := e.get(keys.State(1002, keys.StateDestroying))
			must(t, err)
			rec := func() []ReplicaState {
				all, err := e.Replicas()
				must(t, err)
				return all
			}
			if err := f(e, value(), marked, rec); err != nil {
				t.Fatalf("%s, point %d of %d: %v", step, i, len(clones), err)
			}
			mustClose(t, e)
		}
	}

	var b *StateBatch
	clones := during(func() {
		b = e.NewStateBatch()
		b.DestroyReplica(1002, 13, &span)
		must(t, b.Commit(true))
		b.Close()
	})
	check("destroy", clones, func(e *Engine, v string, marked bool, rec func() []ReplicaState) error {
		n := len(rec())
		_, tomb, err := e.Tombstone(1002)
		left, _, _ := e.Get(rk("m000"))
		if err != nil || v != "old" || marked != tomb || marked != (n == 1) || marked != (left == nil) {
			return fmt.Errorf("value %q marked %t tombstone %t, %d replicas, after recovery %d bytes", v, marked, tomb, n, len(left))
		}
		return nil
	})

	set(t, e, false, func(b *StateBatch) { b.Set(rk("k"), []byte("unsynced")) })
	clones = during(func() { must(t, e.FinishDestroy(1002, span)) })
	check("finish", clones, func(e *Engine, v string, marked bool, rec func() []ReplicaState) error {
		_, k, err := e.Get(rk("k"))
		if err != nil || v == "" && !k {
			return fmt.Errorf("data are gone, a batch committed before is lost (%v)", err)
		}
		if !marked && v != "" {
			return fmt.Errorf("the mark is gone, the data are not")
		}
		if n := len(rec()); n != 1 {
			return fmt.Errorf("%d replicas", n)
		}
		if v, ok, _ := e.Get(rk("m000")); ok {
			return fmt.Errorf("%.3s is left after recovery", v)
		}
		return nil
	})
	check("finished", clones[len(clones)-1:], func(_ *Engine, v string, marked bool, _ func() []ReplicaState) error {
		if marked || v != "" {
			return fmt.Errorf("not durable: value %q, marked %t", v, marked)
		}
		return nil
	})

	s := large(t, e, d2, "new")
	clones = during(func() { must(t, s.Install(Install{State: newState(d2, 13)})) })
	check("add again", clones, func(e *Engine, v string, marked bool, rec func() []ReplicaState) error {
		all := rec()
		after, _, _ := e.Get(rk("m000"))
		if next, ok, err := e.Tombstone(1002); err != nil || !ok || next != 13 {
			return fmt.Errorf("tombstone %s %t %v", next, ok, err)
		}
		if v != "" && (v != "new" || len(all) != 2 || all[1].Replica != 13 || len(after) == 0) || v == "" && len(all) != 1 {
			return fmt.Errorf("value %q, %d replicas, after recovery %d bytes", v, len(all), len(after))
		}
		return nil
	})
	check("added", clones[len(clones)-1:], func(_ *Engine, v string, _ bool, _ func() []ReplicaState) error {
		if v != "new" {
			return fmt.Errorf("an acknowledged snapshot is lost")
		}
		return nil
	})
	mustClose(t, e)
}

// TestMarkOverLiveReplica: a mark whose range is lived in again is never redone, it stops the store.
func TestMarkOverLiveReplica(t *testing.T) {
	fs := vfs.NewMem()
	e := openMem(t, fs)
	create(t, e, newState(desc(1001, rng("a", "m"), 11), 11))
	k := keys.State(1002, keys.StateDestroying)
	set(t, e, true, func(b *StateBatch) {
		b.Set(rk("k"), []byte("acked"))
		b.setKey(k, encodeMarks(k, []shard.Range{rng("k", "z")}))
	})
	if _, err := e.Replicas(); err == nil || !strings.Contains(err.Error(), "s1002") || !strings.Contains(err.Error(), "s1001") {
		t.Fatal(err)
	}
	mustClose(t, e)
	e = openMem(t, fs)
	defer mustClose(t, e)
	if v, _, err := e.Get(rk("k")); err != nil || string(v) != "acked" {
		t.Fatal(string(v), err)
	}
}

// TestDestroyKeepsWhatItMust: tombstones never go back, marks of two lives stay apart, and an uninitialised replica is
// removed without a mark.
func TestDestroyKeepsWhatItMust(t *testing.T) {
	e := openMem(t, vfs.NewMem())
	defer mustClose(t, e)
	a, b := rng("a", "c"), rng("c", "e")
	set(t, e, true, func(sb *StateBatch) {
		sb.Set(rk("b"), []byte("1"))
		sb.Set(rk("d"), []byte("2"))
		sb.Set(rk("e"), []byte("3"))
		sb.DestroyReplica(1002, 20, &a)
	})
	l := e.OpenLog(ReplicaState{Shard: 1002, Replica: 21})
	lb := e.NewLogBatch()
	lb.SetHardState(l, HardState{Term: 3, Vote: 21})
	must(t, lb.Commit())
	must(t, lb.Wait())
	all, err := e.findStates()
	must(t, err)
	if len(all) != 1 || all[0].hard.replica != 21 || all[0].next != 20 {
		t.Fatal("an uninitialised replica is not there")
	}
	set(t, e, true, func(sb *StateBatch) { sb.DestroyReplica(1002, 22, nil) })
	set(t, e, true, func(sb *StateBatch) { sb.DestroyReplica(1002, 15, &b) })
	if next, _, err := e.Tombstone(1002); err != nil || next != 22 {
		t.Fatal(next, err)
	}
	must(t, e.FinishDestroy(1002, a))
	if marks, err := readMarks(keys.State(1002, keys.StateDestroying), e.get); err != nil || len(marks) != 1 || !marks[0].Equal(b) {
		t.Fatal(marks, err)
	}
	if rs, err := e.Replicas(); err != nil || len(rs) != 0 {
		t.Fatal(rs, err)
	}
	for k, want := range map[string]bool{"b": false, "d": false, "e": true} {
		if _, ok, err := e.Get(rk(k)); err != nil || ok != want {
			t.Errorf("%s: %t %v", k, ok, err)
		}
	}
}
