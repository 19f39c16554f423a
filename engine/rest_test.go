package engine

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/shard"
)

// TestRest: memtables are written into a table once nothing is written any more, and only then, and only if it is worth it.
func TestRest(t *testing.T) {
	e := openMem(t, vfs.NewMem()) // memtables of 1 MiB: from 64 KiB on
	defer mustClose(t, e)
	write := func(kib int) {
		t.Helper()
		b := e.NewStateBatch()
		defer b.Close()
		b.SetApplied(1001, shard.Applied{Index: 7, Term: 5})
		for i := range kib {
			b.Set(rk(fmt.Sprint("k", i)), make([]byte, 1<<10))
		}
		must(t, b.Commit(false))
	}
	rest := func() { t.Helper(); must(t, e.Rest()) }
	none := func(when string) {
		t.Helper()
		if m := e.db.Metrics(); m.Flush.Count+m.Flush.NumInProgress != 0 {
			t.Fatalf("%s: %d memtables, %d flushes", when, m.MemTable.Count, m.Flush.Count)
		}
	}
	write(32)
	rest()
	rest()
	none("little was written")
	for range 4 { // Pebble's first memtable has room for 256 KiB, and waits for the second, of 512
		write(72)
		rest()
	}
	none("it is written to all the time")
	if n := e.db.Metrics().MemTable.Count; n != 2 {
		t.Fatalf("%d memtables", n)
	}
	rest()
	eventually(t, "the end of the flush", func() bool { return e.db.Metrics().MemTable.Count == 1 })
	m := e.db.Metrics()
	if all := m.Total(); m.Flush.Count != 1 || all.TablesCount == 0 {
		t.Fatalf("at rest: %d flushes, %d tables", m.Flush.Count, all.TablesCount)
	}
	if v, ok, err := e.Get(rk("k1")); err != nil || !ok || len(v) != 1<<10 {
		t.Fatalf("%d bytes, %t, %v", len(v), ok, err)
	}
	for range 3 {
		write(1)
		rest()
	}
	rest()
	if m := e.db.Metrics(); m.Flush.Count != 1 || m.MemTable.Count != 1 {
		t.Fatalf("a trickle: %d flushes, %d memtables", m.Flush.Count, m.MemTable.Count)
	}
}
