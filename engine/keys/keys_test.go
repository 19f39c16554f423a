package keys

import (
	"bytes"
	"slices"
	"testing"

	"github.com/skerrydb/skerry/shard"
	"pgregory.net/rapid"
)

// anyKey draws byte strings that come close to every edge of Split: bare bytes, prefixes, versions, versions of
// versions, with few distinct bytes so that equal and nested prefixes are common.
func anyKey() *rapid.Generator[[]byte] {
	edge := rapid.SampledFrom([]byte{0x00, 0x01, 0x03, 0x04, 0x09, 'x', 'X', 'r', 0xfe, 0xff})
	return rapid.Custom(func(t *rapid.T) []byte {
		k := rapid.SliceOfN(edge, 0, 24).Draw(t, "bytes")
		switch rapid.IntRange(0, 4).Draw(t, "shape") {
		case 0:
			return k
		case 1:
			return append([]byte{byte(KindData), 'x'}, k...)
		case 2:
			return prefixOf(k)
		case 3:
			return version(prefixOf(k), rapid.SliceOfN(edge, 8, 8).Draw(t, "ts"))
		default:
			v := version(prefixOf(k), rapid.SliceOfN(edge, 8, 8).Draw(t, "ts"))
			return version(v, rapid.SliceOfN(edge, 8, 8).Draw(t, "ts2"))
		}
	})
}

func prefixOf(user []byte) []byte {
	return append(append([]byte{byte(KindData), 'x'}, user...), 0x00)
}

func version(p, ts []byte) []byte { return append(append(slices.Clone(p), ts...), 0x09) }

// TestSplitLaws checks what Pebble documents for Split and Compare (base.Split, base.Compare), on any bytes.
func TestSplitLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyKey().Draw(t, "a"), anyKey().Draw(t, "b"), anyKey().Draw(t, "c")
		pa, pb := Prefix(a), Prefix(b)
		sa, sb := a[len(pa):], b[len(pb):]
		if len(Prefix(pa)) != len(pa) {
			t.Fatalf("prefix of %x reads as a version", a)
		}
		if len(sa) > 0 && Compare(pa, a) >= 0 {
			t.Fatalf("law 1: prefix of %x does not sort before it", a)
		}
		if Compare(a, b) <= 0 && Compare(pa, pb) > 0 {
			t.Fatalf("law 2: %x <= %x but not their prefixes", a, b)
		}
		if Compare(pa, pb) < 0 && Compare(a, b) >= 0 {
			t.Fatalf("law 2: prefixes of %x < %x but not they", a, b)
		}
		if Compare(pa, pb) == 0 && (Compare(a, b) != CompareSuffixes(sa, sb) || Compare(a, b) != Compare(sa, sb)) {
			t.Fatalf("law 3: %x, %x against their suffixes", a, b)
		}
		if !bytes.Equal(pa, pb) && Compare(a, b) != bytes.Compare(pa, pb) {
			t.Fatalf("prefixes of %x and %x are not ordered bytewise", a, b)
		}
		// A total order, in which only equal bytes are equal.
		if Compare(a, b) != -Compare(b, a) || (Compare(a, b) == 0) != Equal(a, b) || Equal(a, b) != bytes.Equal(a, b) {
			t.Fatalf("%x and %x: not antisymmetric", a, b)
		}
		if Compare(a, b) <= 0 && Compare(b, c) <= 0 && Compare(a, c) > 0 {
			t.Fatalf("%x, %x, %x: not transitive", a, b, c)
		}
		if Abbreviate(a) < Abbreviate(b) && Compare(a, b) >= 0 {
			t.Fatalf("abbreviations of %x < %x but not they", a, b)
		}
	})
}

// TestShorteningLaws checks Separator, Successor and ImmediateSuccessor.
func TestShorteningLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyKey().Draw(t, "a"), anyKey().Draw(t, "b")
		dst := []byte("dst")
		if len(a) > 0 && len(b) > 0 && Compare(a, b) < 0 {
			s := Separator(slices.Clone(dst), a, b)
			if !bytes.HasPrefix(s, dst) {
				t.Fatalf("separator overwrote dst")
			}
			s = s[len(dst):]
			if Compare(a, s) > 0 || Compare(s, b) >= 0 {
				t.Fatalf("separator %x of %x, %x is outside", s, a, b)
			}
			if !bytes.Equal(s, a) && Split(s) != len(s) || len(s) > len(a) {
				t.Fatalf("separator %x of %x, %x is longer or a version", s, a, b)
			}
		}
		s := Successor(slices.Clone(dst), a)[len(dst):]
		if Compare(a, s) > 0 || !bytes.Equal(s, a) && Split(s) != len(s) {
			t.Fatalf("successor %x of %x", s, a)
		}
		p := Prefix(a)
		n := ImmediateSuccessor(nil, p)
		if Split(n) != len(n) || Compare(p, n) >= 0 || Compare(a, n) >= 0 {
			t.Fatalf("immediate successor %x of %x is not above its versions", n, p)
		}
		// Nothing that is a prefix lies between.
		if q := Prefix(b); Compare(p, q) < 0 && Compare(q, n) < 0 {
			t.Fatalf("%x lies between %x and %x", q, p, n)
		}
	})
}

// TestSpanOfVersions: a version lies in the span of a range exactly if its prefix lies in the range bytewise.
func TestSpanOfVersions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k, lo, hi := anyKey().Draw(t, "k"), Prefix(anyKey().Draw(t, "lo")), Prefix(anyKey().Draw(t, "hi"))
		k = append([]byte{byte(KindData)}, k...)
		r := shard.Range{Start: lo, End: hi}
		s := DataSpan(r)
		if !s.CutAtPrefixes() {
			t.Skip("bound reads as a version behind the kind")
		}
		if got, want := s.Contains(k), r.Contains(Prefix(k)[1:]); got != want {
			t.Fatalf("%x in %s: span says %v, range says %v", k, r, got, want)
		}
	})
}

func TestSplitExactly(t *testing.T) {
	ts := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, c := range []struct {
		k    []byte
		want int
	}{
		{version(prefixOf(nil), ts), 3},                                   // the empty user key: 12 bytes
		{version(prefixOf([]byte("k")), ts), 4},                           //
		{prefixOf([]byte("k")), 4},                                        // a bare prefix
		{prefixOf([]byte("aaaaaaaaaaaa\x09")), 16},                        // a user key that ends with the mark
		{version(prefixOf(nil), ts)[1:], 11},                              // without its kind
		{version([]byte{0x04, 'x', 'k'}, ts), 12},                         // not closed by 0x00
		{version([]byte{0x04, 'r', 0x00}, ts), 12},                        // raw keys have no versions
		{version([]byte{0x03, 'x', 0x00}, ts), 12},                        // nor has the log
		{version([]byte{0x04, 'X', 0, 0, 0, 1, 'k', 0x00}, ts), 8},        // with a keyspace
		{append(Log('x'<<48, 0x0900000000000009), 0x09)[:LogLen], LogLen}, // ids may hold any byte
		{nil, 0}, //
		{append(prefixOf([]byte("k")), 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x09), 14}, // one byte too many
		{append(version(prefixOf([]byte("k")), ts), 0x00), 14},               // Next of a version is a prefix
	} {
		if got := Split(c.k); got != c.want {
			t.Errorf("Split(%x) = %d, want %d", c.k, got, c.want)
		}
	}
}

// TestLayout fixes the bytes that every store on disk depends on, and that the spans lie apart.
func TestLayout(t *testing.T) {
	for _, c := range []struct {
		k    []byte
		want string
	}{
		{Record("ident"), "\x01ident"},
		{State(0x0102, StateHard), "\x02\x00\x00\x00\x00\x00\x00\x01\x02h"},
		{Log(0x0102, 3), "\x03\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x00\x00\x00\x03"},
		{Data(shard.RawKey([]byte("u"))), "\x04ru"},
		{Version(shard.Key("xu\x00"), 0x0102), "\x04xu\x00\xff\xff\xff\xff\xff\xff\xfe\xfd\x09"},
		{Lock(shard.Key("xu\x00")), "\x05xu\x00"},
	} {
		if string(c.k) != c.want {
			t.Errorf("%s is %q, want %q", Format(c.k), c.k, c.want)
		}
	}
	max := ^shard.ID(0)
	for _, id := range []shard.ID{0, 1, 0xff, max - 1, max} {
		l, s := LogSpan(id), StateSpan(id)
		for _, i := range []uint64{0, 1, ^uint64(0)} {
			if !l.Contains(Log(id, i)) || id != max && l.Contains(Log(id+1, i)) || id != 0 && l.Contains(Log(id-1, i)) {
				t.Errorf("log span of %s at %d", id, i)
			}
			if !LogUpTo(id, i).Contains(Log(id, i)) || i != ^uint64(0) && LogUpTo(id, i).Contains(Log(id, i+1)) {
				t.Errorf("log of %s up to %d", id, i)
			}
		}
		if !s.Contains(State(id, StateDestroying)) || !s.Contains(State(id, StateApplied)) || s.Contains(State(id+1, 'a')) {
			t.Errorf("state span of %s", id)
		}
	}
	all := AllData()
	if !all.Contains(Data(shard.Key{0xff, 0xff, 0xff})) || !all.Contains(Data(nil)) || all.Contains(Log(max, ^uint64(0))) {
		t.Errorf("span of all data")
	}
}

// TestVersionsAndLocks: a version and a lock come apart into what they were made of; newer versions come first; both lie
// in the spans of exactly those ranges that hold their key.
func TestVersionsAndLocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := func(label string) shard.Key {
			return shard.Key(prefixOf(rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 9, 0xff}), 0, 12).Draw(t, label))[1:])
		}
		k, o := key("k"), key("o")
		ts, at := rapid.Uint64().Draw(t, "ts"), rapid.Uint64().Draw(t, "at")
		v := Version(k, ts)
		if back, bts, ok := DecodeVersion(v); !ok || back.Compare(k) != 0 || bts != ts {
			t.Fatalf("version of %s at %d reads back as %s at %d, %v", k, ts, back, bts, ok)
		}
		if back, ok := DecodeLock(Lock(k)); !ok || back.Compare(k) != 0 {
			t.Fatalf("lock of %s reads back as %s, %v", k, back, ok)
		}
		if c := Compare(v, Version(k, at)); (c < 0) != (ts > at) || (c == 0) != (ts == at) {
			t.Fatalf("versions at %d and %d compare as %d", ts, at, c)
		}
		if got, want := VersionSpan(o, at).Contains(v), o.Compare(k) == 0 && ts <= at; got != want {
			t.Fatalf("versions of %s at %d hold %s at %d: %v", o, at, k, ts, got)
		}
		r := shard.Range{Start: key("lo"), End: key("hi")}
		if rapid.Bool().Draw(t, "unbounded") {
			r = shard.Range{}
		}
		if DataSpan(r).Contains(v) != r.Contains(k) || LockSpan(r).Contains(Lock(k)) != r.Contains(k) ||
			DataSpan(r).Contains(Lock(k)) || LockSpan(r).Contains(v) {
			t.Fatalf("%s in %s: %v, version %v, lock %v", k, r, r.Contains(k), DataSpan(r).Contains(v), LockSpan(r).Contains(Lock(k)))
		}
	})
}

// FuzzFormat: any bytes can be split, compared, decoded and printed.
func FuzzFormat(f *testing.F) {
	f.Add(version(prefixOf([]byte("k")), make([]byte, 8)))
	f.Fuzz(func(t *testing.T, k []byte) {
		Format(k)
		if Compare(k, Prefix(k)) < 0 || Compare(k, k) != 0 {
			t.Fatal("order")
		}
		if id, i, ok := DecodeLog(k); ok && !bytes.Equal(Log(id, i), k) {
			t.Fatal("log key")
		}
		if id, s, ok := DecodeState(k); ok && !bytes.Equal(State(id, s), k) {
			t.Fatal("state key")
		}
	})
}
