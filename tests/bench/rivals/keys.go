package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// valueBytes is the size of every value; it cannot be compressed.
const valueBytes = 256

// keyspace are the keys of a run: 16 hexadecimal digits, spread evenly, so that where they begin says in which shard they
// lie. Safe for concurrent use.
type keyspace struct {
	n      int
	values [][]byte
}

func newKeyspace(fill int64) *keyspace {
	k := &keyspace{n: max(int(fill/valueBytes), 10_000)}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 1024 {
		v := make([]byte, valueBytes)
		for i := range v {
			v[i] = byte(rnd.Uint32())
		}
		k.values = append(k.values, v)
	}
	return k
}

// key is the i-th; a multiplication by an odd number is a permutation of all 64-bit numbers.
func (k *keyspace) key(i int) string { return keyOf(place(i)) }

func place(i int) uint64 { return uint64(i+1) * 0x9e3779b97f4a7c15 }

func keyOf(place uint64) string { return fmt.Sprintf("%016x", place) }

// mixed is how many batches of a fill share a part of the key space.
const mixed = 64

// batches are all keys, n at a time, in no order: neighbours are written at different times, as keys that are written when
// something happens to them are. Yet those of one batch lie in one shard or two, among mixed*n neighbours.
func (k *keyspace) batches(n int) (out [][]uint64) {
	all := make([]uint64, k.n)
	for i := range all {
		all[i] = place(i)
	}
	slices.Sort(all)
	rnd := rand.New(rand.NewPCG(5, 6))
	for part := range slices.Chunk(all, mixed*n) {
		rnd.Shuffle(len(part), func(i, j int) { part[i], part[j] = part[j], part[i] })
		out = slices.AppendSeq(out, slices.Chunk(part, n))
	}
	rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

func (k *keyspace) any(rnd *rand.Rand) string { return k.key(rnd.IntN(k.n)) }

func (k *keyspace) value(rnd *rand.Rand) []byte { return k.values[rnd.IntN(len(k.values))] }

// near are n different keys that begin with the same four digits, which no border of a layout parts.
func (k *keyspace) near(rnd *rand.Rand, n int) []string {
	prefix, from := rnd.IntN(1<<16), rnd.Uint64()
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%04x%012x", prefix, (from+uint64(i)*0x9e3779b97f4a7c15)&(1<<48-1))
	}
	return out
}

// borders cut the keyspace into parts of equal size.
func borders(parts int) []string {
	var out []string
	for i := 1; i < parts; i++ {
		out = append(out, fmt.Sprintf("%04x", i*(1<<16)/parts))
	}
	return out
}

// idleKey is a border behind all keys.
func idleKey(i int) string { return fmt.Sprintf("idle/%05d", i) }
