package raftstore

import (
	"fmt"
	"slices"
	"testing"

	"github.com/skerrydb/skerry/raftstore/load"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
)

// BenchmarkCountRead is what counting adds to a read, without and with sampling.
func BenchmarkCountRead(b *testing.B) {
	q := &raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte("key"))}}
	for _, sampled := range []bool{false, true} {
		b.Run(fmt.Sprintf("sampled=%v", sampled), func(b *testing.B) {
			var l shardLoad
			if sampled {
				s := new(sampler)
				s.setOdds(load.Count{Reads: 50_000})
				l.sampler.Store(s)
			}
			b.ReportAllocs()
			for b.Loop() {
				l.read(q, shard.Range{}, 256)
			}
		})
	}
}

// TestCounts: requests and bytes share a word and do not run into each other; taking begins anew.
func TestCounts(t *testing.T) {
	var l shardLoad
	q := &raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte("key"))}}
	for range 100_000 {
		l.read(q, shard.Range{}, 1<<20)
	}
	l.write(make([]byte, 77))
	want := load.Count{Reads: 100_000, ReadBytes: 100_000 << 20, Writes: 1, WriteBytes: 77}
	if got := l.take(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := l.take(); got != (load.Count{}) {
		t.Errorf("again: %+v", got)
	}
}

// TestSamples: about as many are kept as shall be, of keys in a rhythm each its share, and never more than fit.
func TestSamples(t *testing.T) {
	var l shardLoad
	s := new(sampler)
	s.setOdds(load.Count{Reads: 20_000})
	l.sampler.Store(s)
	var qs []*raw.Query
	for i := range 4 {
		qs = append(qs, &raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte{'a' + byte(i)})}})
	}
	of := make(map[string]int)
	for i := range 200_000 {
		l.read(qs[i%4], shard.Range{}, 10)
	}
	kept := s.kept()
	if len(kept) < 500 || len(kept) > 800 {
		t.Errorf("%d of 640", len(kept))
	}
	for _, k := range kept {
		of[string(k.Start)]++
	}
	for i := range 4 {
		if n := of[string(shard.RawKey([]byte{'a' + byte(i)}))]; n < len(kept)/6 || n > len(kept)/3 {
			t.Errorf("of four keys in turn: %v", of)
		}
	}
	for i := range 2_000_000 {
		l.read(qs[i%4], shard.Range{}, 10)
	}
	if n := len(s.kept()); n != maxSamples {
		t.Errorf("%d are kept", n)
	}
}

// TestTouched: a command with conditions must stay in one shard: it is a range.
func TestTouched(t *testing.T) {
	k := func(s string) shard.Key { return shard.RawKey([]byte(s)) }
	put := func(s string) raw.Op { return raw.Op{Kind: raw.Put, Key: k(s)} }
	for _, c := range []struct {
		cmd        raw.Command
		start, end shard.Key
	}{
		{raw.Command{Ops: []raw.Op{put("m")}}, k("m"), nil},
		{raw.Command{Ops: []raw.Op{{Kind: raw.DeleteRange, Key: k("b"), End: k("d")}}}, k("b"), k("d")},
		{raw.Command{Conditions: []raw.Condition{{Key: k("f")}}, Ops: []raw.Op{put("c"), put("x")}}, k("c"), k("x").Next()},
		{raw.Command{Conditions: []raw.Condition{{Key: k("f")}}, Ops: []raw.Op{put("f")}}, k("f"), nil},
	} {
		start, end := touched(&c.cmd, 7)
		if start.Compare(c.start) != 0 || end.Compare(c.end) != 0 || (end == nil) != (c.end == nil) {
			t.Errorf("%+v: %s to %s", c.cmd, start, end)
		}
	}
}

// TestTxnSamples: reads and writes of transactions count, and their keys are sampled.
func TestTxnSamples(t *testing.T) {
	var l shardLoad
	s := new(sampler)
	s.odds.Store(1 << 32)
	l.sampler.Store(s)
	a, b := mvcc.Key([]byte("a")), mvcc.Key([]byte("b"))
	l.readTxn(&mvcc.Query{Kind: mvcc.Get, Keys: []shard.Key{a}}, &mvcc.Answer{}, 10)
	l.readTxn(&mvcc.Query{Kind: mvcc.Scan}, &mvcc.Answer{Range: shard.Range{Start: a, End: b}}, 10)
	body := (&mvcc.Prewrite{StartTS: 2, Primary: b, Mutations: []mvcc.Mutation{{Kind: mvcc.Put, Key: b}}}).Append(nil)
	l.write(body)
	l.write((&mvcc.GC{SafePoint: 2}).Append(nil)) // names none
	var got []string
	for _, it := range s.kept() {
		got = append(got, it.Start.String()+it.End.String())
	}
	want := []string{a.String() + `""`, a.String() + b.String(), b.String() + `""`}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if c := l.take(); c.Reads != 2 || c.Writes != 2 || c.ReadBytes != 20 {
		t.Errorf("%+v", c)
	}
}
