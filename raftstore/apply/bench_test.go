package apply

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// BenchmarkApply is what a command costs on the way from an entry to the memtable, on a filled store: entries of one and of
// many commands of 100 bytes on random keys; ns/command is what counts. Beside it, what the key and value of a put cost in
// Pebble alone.
func BenchmarkApply(b *testing.B) {
	user := func() []byte { return fmt.Appendf(nil, "user/%08d", rand.IntN(filled)) }
	ts := mvcc.Timestamp(1 << 30)
	value := make([]byte, 100)
	kinds := map[string]func() []byte{
		"put": func() []byte {
			return (&raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey(user()), Value: value}}}).Append(nil)
		},
		"one-phase": func() []byte {
			ts += 4
			k := mvcc.Key(user())
			return (&mvcc.Prewrite{Mode: mvcc.OnePhase, Floor: ts + 1, StartTS: ts, MaxCommitTS: ts + 1<<20, TTLMillis: 1000, Primary: k,
				Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: k, Value: value}}}).Append(nil)
		},
		"add": func() []byte {
			ts += 4
			return (&mvcc.Add{Floor: ts + 1, StartTS: ts, MaxCommitTS: ts + 1<<20, Key: mvcc.Key([]byte("counter")), Delta: 1}).Append(nil)
		},
	}
	for _, per := range []int{1, 100} {
		for _, kind := range []string{"put", "one-phase", "add"} {
			b.Run(fmt.Sprintf("%s/%d", kind, per), func(b *testing.B) {
				e, err := engine.Open("bench", engine.Options{FS: vfs.NewMem()})
				if err != nil {
					b.Fatal(err)
				}
				defer e.Close()
				m := Machine{Desc: &shard.Descriptor{ID: 2, Epoch: shard.Epoch{ConfVer: 1, Version: 1}}, Applied: shard.Applied{Index: 5, Term: 5}}
				run := func(body func() []byte, n int) {
					h := NewData(nil, Header{Eval: EvalVersion, Epoch: m.Desc.Epoch})
					for i := range n {
						h.Add(call.OpID{Client: 1, Seq: uint64(i)}, body())
					}
					w := e.NewStateBatch()
					defer w.Close()
					res, err := m.Apply(Entry{Index: m.Applied.Index + 1, Term: 5, Data: h.Entry()}, w)
					if err != nil || res.Replies[0].Err != nil {
						b.Fatal(err, res.Replies[0].Err)
					}
					w.SetApplied(2, m.Applied)
					if err := w.Commit(false); err != nil {
						b.Fatal(err)
					}
				}
				for range filled / 100 {
					run(kinds[kind], 100)
				}
				b.ReportAllocs()
				for b.Loop() {
					run(kinds[kind], per)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*per), "ns/command")
			})
		}
		b.Run(fmt.Sprintf("pebble/%d", per), func(b *testing.B) { benchPebble(b, per, user, value) })
	}
}

// filled is how many keys a store of the benchmark holds.
const filled = 20_000

// benchPebble puts as many keys into batches that are not synced, of a database of the same size in memory.
func benchPebble(b *testing.B, per int, user func() []byte, value []byte) {
	db, err := pebble.Open("bench", &pebble.Options{FS: vfs.NewMem(), MemTableSize: 64 << 20, Logger: silent{}})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	run := func(n int) {
		w := db.NewBatch()
		for range n {
			if err := w.Set(shard.RawKey(user()), value, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(w.Commit(pebble.NoSync), w.Close()); err != nil {
			b.Fatal(err)
		}
	}
	for range filled / 100 {
		run(100)
	}
	b.ReportAllocs()
	for b.Loop() {
		run(per)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*per), "ns/command")
}

// silent is a logger that says nothing but the end of the world.
type silent struct{}

func (silent) Infof(string, ...any)         {}
func (silent) Errorf(string, ...any)        {}
func (silent) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }
