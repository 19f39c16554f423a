package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
)

// BenchmarkRead is a random read of a store on disk, as a Get and on an open view, with a block cache of a sixteenth of the
// data and with one that holds all. The same through Pebble alone, "pebble", is what it is to be compared with.
func BenchmarkRead(b *testing.B) {
	const n, value = 1 << 20, 256
	dir := b.TempDir()
	fill(b, dir, n, value)
	for _, cache := range []int64{n * value / 16, n * value * 2} {
		e, err := Open(dir, Options{CacheBytes: cache})
		if err != nil {
			b.Fatal(err)
		}
		name := fmt.Sprintf("cache=%dMiB", cache>>20)
		bench := func(what string, read func(shard.Key) bool) {
			b.Run(what+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for range n / 4 { // fills the cache
					read(numberedKey(rand.Uint64N(n)))
				}
				for b.Loop() {
					if !read(numberedKey(rand.Uint64N(n))) {
						b.Fatal("a key is missing")
					}
				}
			})
		}
		bench("get", func(k shard.Key) bool {
			_, ok, err := e.Get(k)
			return ok && err == nil
		})
		r := e.NewReader()
		bench("view", func(k shard.Key) bool {
			_, ok, err := r.Get(k)
			return ok && err == nil
		})
		r.Close()
		bench("pebble", func(k shard.Key) bool {
			_, c, err := e.db.Get(keys.Data(k))
			if err != nil {
				return false
			}
			return c.Close() == nil
		})
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// fill writes n keys in no order.
func fill(b *testing.B, dir string, n, value int) {
	e, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	v := make([]byte, value)
	for i := 0; i < n; {
		w := e.NewStateBatch()
		for range 1000 {
			_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}).Read(v[:value/2])
			w.Set(numberedKey(uint64(i)*0x9e3779b1%uint64(n)), v)
			i++
		}
		if err := w.Commit(false); err != nil {
			b.Fatal(err)
		}
		w.Close()
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
}

func numberedKey(i uint64) shard.Key {
	return shard.RawKey(binary.BigEndian.AppendUint64([]byte("key/"), i))
}
