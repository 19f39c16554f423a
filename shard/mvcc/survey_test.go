package mvcc_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// TestFindGarbage: collecting what FindGarbage finds, page by page, leaves exactly what one collection of everything
// leaves; a clean range has none.
func TestFindGarbage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newShard()
		do := func(c mvcc.Command) *mvcc.Result {
			r, err := s.do(c)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		ts := mvcc.Timestamp(10)
		for range rapid.IntRange(0, 40).Draw(t, "writes") {
			ts += 2
			k := mvcc.Key([]byte(rapid.SampledFrom([]string{"a", "b", "b\x00", "c", "d"}).Draw(t, "key")))
			m := mvcc.Mutation{Kind: mvcc.MutationKind(rapid.IntRange(1, 3).Draw(t, "kind")), Key: k,
				Value: make([]byte, rapid.SampledFrom([]int{1, 300}).Draw(t, "bytes"))}
			if rapid.IntRange(0, 3).Draw(t, "rollback") == 0 {
				do(mvcc.NewRollback(ts, k))
				continue
			}
			do(&mvcc.Prewrite{Mode: mvcc.OnePhase, Floor: ts + 1, StartTS: ts, MaxCommitTS: 1 << 30, TTLMillis: 1, Primary: k, Mutations: []mvcc.Mutation{m}})
		}
		safe := mvcc.Timestamp(rapid.IntRange(10, int(ts)+4).Draw(t, "safe"))
		all := shard.ModeRange(shard.ModeTxn)
		whole := &shardState{w: &twin{Map: *s.w.Copy()}, st: s.st}
		if _, err := whole.do(&mvcc.GC{SafePoint: safe, Range: all, Limit: mvcc.MaxCollect}); err != nil {
			t.Fatal(err)
		}
		look, page := rapid.IntRange(1, 9).Draw(t, "look"), rapid.IntRange(1, 5).Draw(t, "page")
		for rng := all; ; {
			g, err := mvcc.FindGarbage(s.w, rng, safe, look, page)
			if err != nil {
				t.Fatal(err)
			}
			if g.Records > 0 {
				if r := do(&mvcc.GC{SafePoint: safe, Range: g.Range, Limit: g.Records}); r.Count == 0 || r.Next != nil {
					t.Fatalf("%+v: collected %d, rest at %s", g, r.Count, r.Next)
				}
			}
			if g.Next == nil {
				break
			}
			rng.Start = g.Next
		}
		if a, b := s.w.String(), whole.w.String(); a != b {
			t.Fatalf("by pages\n%s\nat once\n%s", a, b)
		}
		if g, err := mvcc.FindGarbage(s.w, all, safe, mvcc.MaxCollect, 1); err != nil || g.Records != 0 || g.Next != nil {
			t.Fatalf("a clean range: %+v %v", g, err)
		}
	})
}

// TestSumsAdd: the checksums of the parts add up to the whole's, and every change of a lock or a version shows.
func TestSumsAdd(t *testing.T) {
	s := newShard()
	sum := func(r shard.Range) mvcc.Sum {
		a, err := s.ask(&mvcc.Query{Kind: mvcc.Checksum, TS: 2, Range: r})
		if err != nil {
			t.Fatal(err)
		}
		return a.Sum
	}
	all := shard.ModeRange(shard.ModeTxn)
	seen := map[mvcc.Sum]bool{sum(all): true}
	for i := range 12 {
		ts := mvcc.Timestamp(10 + 2*i)
		k := mvcc.Key(fmt.Appendf(nil, "k%d", i%4))
		c := mvcc.Command(&mvcc.Prewrite{StartTS: ts, TTLMillis: 1, Primary: k, Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: k, Value: []byte("v")}}})
		if i%2 == 1 {
			k = mvcc.Key(fmt.Appendf(nil, "k%d", i%4-1))
			c = mvcc.NewCommit(ts-2, ts-1, k)
		}
		if _, err := s.do(c); err != nil {
			t.Fatal(err)
		}
		now := sum(all)
		if seen[now] {
			t.Fatalf("%T of %d leaves the checksum %+v", c, ts, now)
		}
		seen[now] = true
		mid := mvcc.Key([]byte("k2"))
		if parts := sum(shard.Range{Start: all.Start, End: mid}).Add(sum(shard.Range{Start: mid, End: all.End})); parts != now {
			t.Fatalf("%+v is not %+v", parts, now)
		}
	}
}
