package client

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// BenchmarkRoutes is what a call pays to find the shard of its key and who leads it, beside a binary search among the same
// borders alone. Keys are in random order, all shards are led.
func BenchmarkRoutes(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		descs := evenShards(n)
		keys, want := shuffledKeys(descs)
		b.Run(fmt.Sprintf("shards=%d/routes", n), func(b *testing.B) { benchRoutes(b, descs, keys, want) })
		b.Run(fmt.Sprintf("shards=%d/search", n), func(b *testing.B) { benchSearch(b, descs, keys, want) })
	}
}

// evenShards are n shards that cover the keyspace of raw keys, cut where evenly spread keys of eight digits are.
func evenShards(n int) []*shard.Descriptor {
	border := func(i int) shard.Key { return shard.RawKey(fmt.Appendf(nil, "user/%08d", i*(benchKeys/n))) }
	all := shard.ModeRange(shard.ModeRaw)
	var out []*shard.Descriptor
	for i := range n {
		d := &shard.Descriptor{ID: shard.ID(1000 + i), Epoch: shard.Epoch{ConfVer: 1, Version: 1}, Range: shard.Range{Start: border(i), End: border(i + 1)}}
		for s := range 3 {
			d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(10*i + s + 1), Store: shard.StoreID(s + 1), Role: shard.Voter})
		}
		out = append(out, d)
	}
	out[0].Range.Start, out[n-1].Range.End = all.Start, all.End
	return out
}

// benchKeys is how many keys evenShards spreads, manyKeys how many of them are asked for in turns; it is a power of two.
const (
	benchKeys = 1_000_000
	manyKeys  = 1 << 14
)

// shuffledKeys are random keys and the shards that they lie in.
func shuffledKeys(descs []*shard.Descriptor) (keys []shard.Key, want []shard.ID) {
	rng := rand.New(rand.NewPCG(1, 2))
	each := benchKeys / len(descs)
	for range manyKeys {
		k := rng.IntN(each * len(descs))
		keys = append(keys, shard.RawKey(fmt.Appendf(nil, "user/%08d", k)))
		want = append(want, descs[k/each].ID)
	}
	return keys, want
}

func benchRoutes(b *testing.B, descs []*shard.Descriptor, keys []shard.Key, want []shard.ID) {
	in := &beat.Routes{Full: true, Stores: fakeStores(3)}
	for _, d := range descs {
		in.Routes = append(in.Routes, beat.Route{Desc: d, Leader: d.Replicas[0].ID, Term: 5, Applied: 100})
	}
	r := newRoutes()
	r.apply(in)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		t := keyTarget(keys[i%manyKeys])
		if rt, ok := r.find(&t); !ok || rt.desc.ID != want[i%manyKeys] || rt.leader.ID == 0 {
			b.Fatalf("%s: found %+v", t.first, rt)
		}
	}
}

func benchSearch(b *testing.B, descs []*shard.Descriptor, keys []shard.Key, want []shard.ID) {
	ends := make([][]byte, len(descs))
	for i, d := range descs {
		ends[i] = d.Range.End
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		k := keys[i%manyKeys]
		at := sort.Search(len(ends), func(i int) bool { return bytes.Compare(k, ends[i]) < 0 })
		if at == len(ends) || descs[at].ID != want[i%manyKeys] {
			b.Fatalf("%s: found %d", k, at)
		}
	}
}
