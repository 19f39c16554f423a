package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/shard"
)

func atOnce(context.Context, int) error { return nil }

// scrubbed is an engine with one large table, of several data blocks and a filter, all of which is in the block cache, and
// the path of the table.
func scrubbed(t *testing.T, fs vfs.FS) (*Engine, string) {
	t.Helper()
	e, err := Open(testDir, Options{FS: fs, MemTableBytes: 1 << 20, CacheBytes: 4 << 20})
	must(t, err)
	set(t, e, true, func(b *StateBatch) { // no deletes: Pebble would write the table anew soon
		for i := range scrubbedKeys {
			b.Set(scrubbedKey(i), scrubbedValue(i))
		}
	})
	must(t, e.db.Flush())
	readAll(t, e)
	live, err := e.liveTables()
	must(t, err)
	if len(live) != 1 {
		t.Fatalf("tables %v", live)
	}
	return e, e.path(dbDir, tableName(live[0]))
}

const scrubbedKeys = 300

func scrubbedKey(i int) []byte { return rk(fmt.Sprintf("b%04d", i)) }

// scrubbedValue does not compress away.
func scrubbedValue(i int) []byte {
	out := make([]byte, 0, 400)
	for n := uint64(i) + 1; len(out) < 400; n *= 0x9e3779b97f4a7c15 {
		n ^= n >> 29
		out = fmt.Appendf(out, "%x", n)
	}
	return out
}

func readAll(t *testing.T, e *Engine) {
	t.Helper()
	for i := range scrubbedKeys {
		if v, ok, err := e.Get(scrubbedKey(i)); err != nil || !ok || !bytes.Equal(v, scrubbedValue(i)) {
			t.Fatalf("key %d: %q, %t, %v", i, v, ok, err)
		}
	}
}

// flip changes one byte of a file in place, as a disk may.
func flip(t *testing.T, fs vfs.FS, name string, at int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	must(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	must(t, err)
	b[0] ^= 0x10
	_, err = f.WriteAt(b[:], at)
	must(t, err)
	must(t, f.Close())
}

// layoutOf says where what lies in a table.
func layoutOf(t *testing.T, e *Engine, name string) (*sstable.Layout, int64) {
	t.Helper()
	f, err := e.fs.Open(name)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	readable, err := sstable.NewSimpleReadable(f)
	must(t, err)
	r, err := sstable.NewReader(context.Background(), readable, e.pebbleOptions(Options{}, false).MakeReaderOptions())
	must(t, err)
	defer r.Close()
	l, err := r.Layout()
	must(t, err)
	return l, info.Size()
}

// TestScrubFindsFlippedByte: whichever byte of a live table changes under a running engine, the next scrub finds it and says
// in which file, while reads are still answered from the block cache; and afterwards nothing is read any more.
func TestScrubFindsFlippedByte(t *testing.T) {
	e, name := scrubbed(t, vfs.NewMem())
	l, size := layoutOf(t, e, name)
	mustClose(t, e)
	places := map[string]int64{"first byte": 0, "last byte": size - 1, "footer": int64(l.Footer.Offset), "end of the properties": int64(l.Properties.Offset + l.Properties.Length + 4)}
	block := func(what string, offset, length uint64) {
		if length == 0 {
			t.Fatalf("the table has no %s", what)
		}
		places[what] = int64(offset + length/2)
		places[what+", checksum"] = int64(offset + length + 1)
	}
	if len(l.Data) < 4 || len(l.Filter) == 0 || len(l.Index) == 0 {
		t.Fatalf("%d blocks of data, %d filters, %d indexes", len(l.Data), len(l.Filter), len(l.Index))
	}
	for what, i := range map[string]int{"first data block": 0, "middle data block": len(l.Data) / 2, "last data block": len(l.Data) - 1} {
		block(what, l.Data[i].Offset, l.Data[i].Length)
	}
	block("index", l.Index[0].Offset, l.Index[0].Length)
	block("filter", l.Filter[0].Offset, l.Filter[0].Length)
	block("properties", l.Properties.Offset, l.Properties.Length)
	block("meta index", l.MetaIndex.Offset, l.MetaIndex.Length)
	for i := range int64(12) {
		places[fmt.Sprintf("place %d", i)] = i*size/12 + i
	}
	for what, at := range places {
		t.Run(what, func(t *testing.T) {
			fs := vfs.NewMem()
			e, name := scrubbed(t, fs)
			done, err := e.Scrub(t.Context(), atOnce)
			if err != nil || done.Tables != 1 || done.Bytes < size {
				t.Fatalf("before: %+v, %v", done, err)
			}
			flip(t, fs, name, at)
			readAll(t, e)
			if _, err = e.Scrub(t.Context(), atOnce); !errors.Is(err, ErrCorruption) || !strings.Contains(err.Error(), path.Base(name)) ||
				!strings.Contains(err.Error(), restoreAdvice) {
				t.Fatalf("byte %d of %d: %v", at, size, err)
			}
			if _, _, got := e.Get(scrubbedKey(0)); !errors.Is(got, ErrCorruption) {
				t.Errorf("a store that is damaged reads: %v", got)
			}
			mustClose(t, e)
		})
	}
}

// TestScrubFindsMissing: a table that is live and not there is damage, one that was cut short as well; one that compactions
// replaced is not.
func TestScrubFindsMissing(t *testing.T) {
	for _, hurt := range []struct {
		what string
		do   func(t *testing.T, fs *vfs.MemFS, name string)
	}{
		{"removed", func(t *testing.T, fs *vfs.MemFS, name string) { must(t, fs.Remove(name)) }},
		{"cut short", func(t *testing.T, fs *vfs.MemFS, name string) {
			text := read(t, fs, name)
			f, err := fs.Create(name, vfs.WriteCategoryUnspecified)
			must(t, err)
			_, err = f.Write(text[:len(text)/2])
			must(t, err)
			must(t, f.Close())
		}},
	} {
		t.Run(hurt.what, func(t *testing.T) {
			fs := vfs.NewMem()
			e, name := scrubbed(t, fs)
			hurt.do(t, fs, name)
			if _, err := e.Scrub(t.Context(), atOnce); !errors.Is(err, ErrCorruption) || !strings.Contains(err.Error(), path.Base(name)) {
				t.Fatal(err)
			}
			mustClose(t, e)
		})
	}
	e, name := scrubbed(t, vfs.NewMem())
	replaced := tableNum(path.Base(name))
	set(t, e, true, func(b *StateBatch) { b.Set(scrubbedKey(0), []byte("another")) })
	must(t, e.db.Flush())
	must(t, e.db.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	e.db.TestOnlyWaitForCleaning()
	if _, err := e.fs.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s is still there: %v", name, err)
	}
	live, err := e.liveTables()
	must(t, err)
	done, err := e.scrubTables(e.newTableCheck(t.Context(), atOnce), append([]uint64{replaced}, live...))
	if err != nil || done.Tables != len(live) || done.Gone != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	mustClose(t, e)
}

// TestScrubIsPaced: it asks before it reads, for what it reads, in pieces; whoever refuses ends it, and that is no damage.
func TestScrubIsPaced(t *testing.T) {
	e, err := Open(testDir, Options{FS: vfs.NewMem(), MemTableBytes: 32 << 20})
	must(t, err)
	defer func() { mustClose(t, e) }()
	set(t, e, true, func(b *StateBatch) {
		for i := range 2 * pieceBytes / 100 * 3 {
			b.Set(rk(fmt.Sprintf("b%06d", i)), scrubbedValue(i)[:100])
		}
	})
	must(t, e.db.Flush())
	asked, most, times := 0, 0, 0
	done, err := e.Scrub(t.Context(), func(_ context.Context, n int) error {
		asked, most, times = asked+n, max(most, n), times+1
		return nil
	})
	must(t, err)
	if int64(asked) != done.Bytes || most > pieceBytes || times < 4 {
		t.Errorf("%d bytes asked for in %d pieces of up to %d, %d read", asked, times, most, done.Bytes)
	}
	for end := range times {
		stop, n := errors.New("stop"), 0
		if _, err := e.Scrub(t.Context(), func(context.Context, int) error {
			if n++; n > end {
				return stop
			}
			return nil
		}); !errors.Is(err, stop) {
			t.Fatalf("ended after %d pieces: %v", end, err)
		}
	}
	must(t, e.check())
}

// TestScrubBesideWork: an engine that writes, compacts, takes snapshots in and gives them up meanwhile is found sound.
func TestScrubBesideWork(t *testing.T) {
	fs := vfs.NewMem()
	e, err := Open(testDir, Options{FS: fs, MemTableBytes: 256 << 10, CacheBytes: 1 << 20, BulkBytes: 1})
	must(t, err)
	from, d := source(t, 200, 300)
	defer mustClose(t, from)
	meta, parts := chunks(t, from, d, 0, nil)
	create(t, e, newState(desc(1001, rng("a", "c"), 11), 11))
	var work sync.WaitGroup
	work.Go(func() {
		for i := range 300 {
			set(t, e, i%8 == 0, func(b *StateBatch) {
				for k := range 50 {
					b.Set(rk(fmt.Sprintf("b%06d", (i*50+k)*7919%20000)), scrubbedValue(i+k))
				}
			})
		}
	})
	work.Go(func() { // ingests, and excises, which make virtual tables
		for i := range 12 {
			in := newState(d, shard.ReplicaID(12+i))
			in.Applied = meta.Applied
			sink, err := e.NewSnapshotSink(1002, fmt.Sprint(i))
			must(t, err)
			for _, p := range parts {
				must(t, sink.Write(p))
			}
			must(t, sink.Finish())
			must(t, sink.Install(Install{State: in}))
			set(t, e, true, func(b *StateBatch) { b.DestroyReplica(1002, in.Replica+1, &d.Range) })
			must(t, e.FinishDestroy(1002, d.Range))
		}
	})
	ended := make(chan struct{})
	go func() { work.Wait(); close(ended) }()
	tables, gone := 0, 0
	for more := true; more; {
		select {
		case <-ended:
			more = false // once more, of what is there in the end
		default:
		}
		done, err := e.Scrub(t.Context(), atOnce)
		must(t, err)
		tables, gone = tables+done.Tables, gone+done.Gone
	}
	if tables < 30 {
		t.Errorf("only %d tables were read", tables)
	}
	t.Logf("%d tables read, %d gone", tables, gone)
	mustClose(t, e)
}

var _ objstorage.Readable = (*pieces)(nil)

// TestScrubAsksOnceInASimulation: there, which tables exist does not replay; whoever gives the pace must not see it.
func TestScrubAsksOnceInASimulation(t *testing.T) {
	e, err := Open(testDir, Options{FS: vfs.NewMem(), Synced: func(uint64) {}})
	must(t, err)
	defer func() { mustClose(t, e) }()
	for tables := range 3 {
		var asked []int
		done, err := e.Scrub(t.Context(), func(_ context.Context, n int) error { asked = append(asked, n); return nil })
		if err != nil || len(asked) != 1 || asked[0] != pieceBytes || done.Tables != tables {
			t.Errorf("%+v, %v, asked %v", done, err, asked)
		}
		must(t, e.db.Set(rk(fmt.Sprint(tables)), bytes.Repeat([]byte("x"), 1000), pebble.Sync))
		must(t, e.db.Flush())
	}
}
