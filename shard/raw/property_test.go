package raw_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/shard/raw/rawtest"
)

const now = shard.Millis(1000)

// world is random data, cut into random shards.
type world struct {
	m      rawtest.Map
	shards []shard.Range
	alive  []shard.Key // keys not expired, in order
}

func drawKey(t *rapid.T, label string) shard.Key {
	return shard.RawKey([]byte(rapid.StringMatching("[a-c]{1,3}").Draw(t, label)))
}

func drawWorld(t *rapid.T) *world {
	w := &world{}
	for range rapid.IntRange(0, 30).Draw(t, "keys") {
		v := raw.Value{User: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "value")}
		if rapid.Bool().Draw(t, "ttl") {
			v.ExpireAt = shard.Millis(rapid.IntRange(990, 1010).Draw(t, "expire"))
		}
		w.m.Set(drawKey(t, "key"), v.Append(nil))
	}
	_ = w.m.Scan(shard.ModeRange(shard.ModeRaw), func(k shard.Key, b []byte) bool {
		if v, _ := raw.DecodeValue(b); v.ExpireAt == 0 || v.ExpireAt > now {
			w.alive = append(w.alive, k.Clone())
		}
		return true
	})
	cuts := []shard.Key{{'r'}, {'s'}}
	for range rapid.IntRange(0, 4).Draw(t, "cuts") {
		cuts = append(cuts, drawKey(t, "cut"))
	}
	slices.SortFunc(cuts, shard.Key.Compare)
	cuts = slices.CompactFunc(cuts, func(a, b shard.Key) bool { return a.Compare(b) == 0 })
	for i, k := range cuts[1:] {
		w.shards = append(w.shards, shard.Range{Start: cuts[i], End: k})
	}
	return w
}

// shardFor routes a query's next page as a client does.
func (w *world) shardFor(q *raw.Query) shard.Range {
	for _, s := range w.shards {
		if !q.Reverse && s.Contains(q.Range.Start) || q.Reverse && s.Start.Compare(q.Range.End) < 0 && s.CompareEnd(q.Range.End) >= 0 {
			return s
		}
	}
	panic("no shard")
}

// TestPagesMakeTheScan: pages, taken over all shards, give every live key of the range once and in order, whatever
// bounds the pages; what each page says that it covers lies edge to edge.
func TestPagesMakeTheScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		q := &raw.Query{Kind: raw.Scan, Range: shard.Range{Start: drawKey(t, "start"), End: shard.Key("s")},
			Reverse: rapid.Bool().Draw(t, "reverse"), Limit: rapid.IntRange(0, 4).Draw(t, "limit"),
			MaxBytes: rapid.IntRange(0, 30).Draw(t, "bytes")}
		whole := q.Range
		var want, got []shard.Key
		for _, k := range w.alive {
			if whole.Contains(k) {
				want = append(want, k)
			}
		}
		if q.Reverse {
			slices.Reverse(want)
		}
		for pages := 0; ; pages++ {
			a, needsClock, err := q.Run(w.m.Reader(), w.shardFor(q), now, 0)
			if err != nil || needsClock || pages > 100 {
				t.Fatalf("page %d: clock %t, %v", pages, needsClock, err)
			}
			for _, r := range a.Rows {
				if !a.Range.Contains(r.Key) {
					t.Fatalf("row %s outside the page %s", r.Key, a.Range)
				}
				got = append(got, r.Key)
			}
			if q.Limit > 0 && len(a.Rows) > q.Limit {
				t.Fatalf("%d rows, limit %d", len(a.Rows), q.Limit)
			}
			q.Range = rest(t, q, a)
			if !a.More {
				break
			}
		}
		if !q.Range.Empty() {
			t.Fatalf("pages end before %s", q.Range)
		}
		if !slices.EqualFunc(got, want, func(a, b shard.Key) bool { return a.Compare(b) == 0 }) {
			t.Fatalf("scan of %s gives %s, want %s", whole, got, want)
		}
	})
}

// rest is what a page left of the query.
// TestOneIsRun: what a Get of one key is answered without a Reader is what Run answers.
func TestOneIsRun(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		q := &raw.Query{Kind: raw.Get, Keys: []shard.Key{drawKey(t, "asked")}, KeysOnly: rapid.Bool().Draw(t, "keys only"), WithTTL: rapid.Bool().Draw(t, "ttl")}
		in := rapid.SampledFrom(w.shards).Draw(t, "shard")
		due := shard.Millis(rapid.IntRange(985, 1015).Draw(t, "due"))
		a, wantClock, wantErr := q.Run(w.m.Reader(), in, now, due)
		stored, found, _ := w.m.Get(q.Keys[0])
		got, needsClock, err := q.RunOne(in, stored, found, now, due)
		if needsClock != wantClock || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("clock %v, %v; Run says %v, %v", needsClock, err, wantClock, wantErr)
		}
		if err == nil && !needsClock && !bytes.Equal(got, a.Append(nil)) {
			t.Fatalf("%x, not %x", got, a.Append(nil))
		}
	})
}

func rest(t *rapid.T, q *raw.Query, a raw.Answer) shard.Range {
	near, far := a.Range.Start, a.Range.End
	r := shard.Range{Start: far, End: q.Range.End}
	asked := q.Range.Start
	if q.Reverse {
		near, far = far, near
		r = shard.Range{Start: q.Range.Start, End: far}
		asked = q.Range.End
	}
	if near.Compare(asked) != 0 || a.More && far.Compare(a.Next) != 0 {
		t.Fatalf("page of %s covers %s, next %s", q.Range, a.Range, a.Next)
	}
	return r
}

// TestSumsAdd: the checksums of the shards add up to the checksum of all, whatever the cuts, and do not depend on
// whether expired keys were reclaimed; any other difference shows.
func TestSumsAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		all := shard.ModeRange(shard.ModeRaw)
		sum := func(in shard.Range) raw.Sum {
			a, _, err := (&raw.Query{Kind: raw.Checksum, Range: in}).Run(w.m.Reader(), in, now, 0)
			if err != nil {
				t.Fatal(err)
			}
			return a.Sum
		}
		want := sum(all)
		var parts raw.Sum
		for _, s := range w.shards {
			parts = parts.Add(sum(s))
		}
		if parts != want || int(want.Keys) != len(w.alive) {
			t.Fatalf("parts add up to %+v, all is %+v of %d keys", parts, want, len(w.alive))
		}
		_ = w.m.Copy().Scan(all, func(k shard.Key, b []byte) bool {
			if v, _ := raw.DecodeValue(b); v.Expired(now) {
				w.m.Delete(k)
			}
			return true
		})
		if got := sum(all); got != want {
			t.Fatalf("after reclaiming %+v, before %+v", got, want)
		}
		if len(w.alive) > 0 {
			k := rapid.SampledFrom(w.alive).Draw(t, "touched")
			b, _, _ := w.m.Get(k)
			v, _ := raw.DecodeValue(bytes.Clone(b))
			v.ExpireAt ^= 1 << 20
			w.m.Set(k, v.Append(nil))
			if sum(all) == want {
				t.Fatalf("another expire_at of %s does not show", k)
			}
		}
	})
}

// TestReadErrorsAreBroken: a failing read is an error of every evaluation, and never looks like an answer.
func TestReadErrorsAreBroken(t *testing.T) {
	m := &rawtest.Map{FailReads: true}
	k := shard.RawKey([]byte("k"))
	cond := &raw.Command{Conditions: []raw.Condition{{Key: k}}, Ops: []raw.Op{{Kind: raw.Put, Key: k}}}
	if _, _, err := raw.Evaluate(cond, m, now); !errors.Is(err, rawtest.ErrRead) {
		t.Errorf("command: %v", err)
	}
	if _, _, err := (&raw.Reclaim{Keys: []shard.Key{k}}).Evaluate(m, now); !errors.Is(err, rawtest.ErrRead) {
		t.Errorf("reclaim: %v", err)
	}
	all := shard.ModeRange(shard.ModeRaw)
	for _, q := range []*raw.Query{
		{Kind: raw.Get, Keys: []shard.Key{k}}, {Kind: raw.Scan, Range: all}, {Kind: raw.Checksum, Range: all},
	} {
		if _, _, err := q.Run(m.Reader(), all, now, 0); !errors.Is(err, rawtest.ErrRead) {
			t.Errorf("query %d: %v", q.Kind, err)
		}
	}
	if m.Writes != 0 {
		t.Errorf("%d writes", m.Writes)
	}
}

// TestCheckIn: a command or query of another shard is told so, with the key that is outside.
func TestCheckIn(t *testing.T) {
	d := &shard.Descriptor{ID: 10, Range: shard.Range{Start: shard.Key("rb"), End: shard.Key("rd")}}
	in, out := shard.Key("rc"), shard.Key("rd")
	for _, c := range []struct {
		what string
		cmd  raw.Command
		ok   bool
	}{
		{"put", raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: in}}}, true},
		{"put outside", raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: in}, {Kind: raw.Put, Key: out}}}, false},
		{"condition outside", raw.Command{Conditions: []raw.Condition{{Key: out}}, Ops: []raw.Op{{Kind: raw.Put, Key: in}}}, false},
		{"range to the end", raw.Command{Ops: []raw.Op{{Kind: raw.DeleteRange, Key: in, End: out}}}, true},
		{"range beyond", raw.Command{Ops: []raw.Op{{Kind: raw.DeleteRange, Key: in, End: out.Next()}}}, false},
		{"range without end", raw.Command{Ops: []raw.Op{{Kind: raw.DeleteRange, Key: in}}}, false},
	} {
		err := c.cmd.CheckIn(d)
		var misplaced *shard.KeyNotInShardError
		if c.ok != (err == nil) || err != nil && (!errors.As(err, &misplaced) || misplaced.Shard != 10) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	q := raw.Query{Kind: raw.Get, Keys: []shard.Key{in, out}}
	if err := q.CheckIn(d); err == nil || err.Error() != `s10: key "rd" is outside ["rb", "rd")` {
		t.Errorf("query: %v", err)
	}
}

func FuzzCommand(f *testing.F) {
	f.Add((&raw.Command{Conditions: []raw.Condition{{Key: shard.Key("ra")}, {Key: shard.Key("rb"), Exists: true},
		{Key: shard.Key("rc"), Exists: true, HasValue: true, Value: []byte("v")}},
		Ops: []raw.Op{{Kind: raw.Put, Key: shard.Key("ra"), Value: []byte("v"), TTL: time.Second},
			{Kind: raw.Delete, Key: shard.Key("rb")}, {Kind: raw.DeleteRange, Key: shard.Key("rc"), End: shard.Key("rd")}}}).Append(nil))
	reused := new(raw.Command)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := raw.DecodeCommand(b)
		if (reused.Decode(b) == nil) != (err == nil) {
			t.Fatal("a reused command decodes differently")
		}
		if err != nil {
			return
		}
		back, err := raw.DecodeCommand(c.Append(nil))
		if err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("%+v reads back as %+v, %v", c, back, err)
		}
		if !bytes.Equal(reused.Append(nil), c.Append(nil)) {
			t.Fatalf("a reused command is %+v, a new one %+v", reused, c)
		}
		if _, _, err := raw.Evaluate(c, new(rawtest.Map), now); err != nil {
			t.Fatal(err)
		}
		_ = c.Check()
	})
}

func FuzzReclaim(f *testing.F) {
	f.Add((&raw.Reclaim{Keys: []shard.Key{shard.Key("ra")}, AsOf: 7, Final: true}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := raw.DecodeReclaim(b)
		if err != nil {
			return
		}
		if back, err := raw.DecodeReclaim(r.Append(nil)); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v reads back as %+v, %v", r, back, err)
		}
	})
}

func FuzzResult(f *testing.F) {
	f.Add(raw.Result{Failed: -1}.Append(nil))
	f.Add(raw.Result{Failed: 3, Exists: true, Current: []byte("v")}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := raw.DecodeResult(b)
		if err != nil {
			return
		}
		if back, err := raw.DecodeResult(r.Append(nil)); err != nil || !reflect.DeepEqual(back, r) {
			t.Fatalf("%+v reads back as %+v, %v", r, back, err)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add((&raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.Key("ra"), shard.Key("rb")}, WithTTL: true}).Append(nil))
	f.Add((&raw.Query{Kind: raw.Scan, Range: shard.ModeRange('r'), Reverse: true, KeysOnly: true, Limit: 7, MaxBytes: 9}).Append(nil))
	m := new(rawtest.Map)
	m.Set(shard.Key("ra"), raw.Value{User: []byte("v"), ExpireAt: 1001}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := raw.DecodeQuery(b)
		if err != nil {
			return
		}
		if back, err := raw.DecodeQuery(q.Append(nil)); err != nil || !reflect.DeepEqual(back, q) {
			t.Fatalf("%+v reads back as %+v, %v", q, back, err)
		}
		if q.Check() == nil {
			if _, _, err := q.Run(m.Reader(), shard.Range{}, now, 0); err != nil {
				t.Fatalf("%+v: %v", q, err)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add((&raw.Answer{Rows: []raw.Row{{Found: true, Value: []byte("v"), ExpireIn: time.Second}, {}}}).Append(nil))
	f.Add((&raw.Answer{Rows: []raw.Row{{Key: shard.Key("ra"), Found: true}}, More: true, Next: shard.Key("rb"),
		Sum: raw.Sum{Hash: 1, Keys: 2, Bytes: 3}, Range: shard.ModeRange('r')}).Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := raw.DecodeAnswer(b)
		if err != nil {
			return
		}
		enc := a.Append(nil)
		back, err := raw.DecodeAnswer(enc)
		if err != nil || !bytes.Equal(back.Append(nil), enc) {
			t.Fatalf("%+v reads back as %+v, %v", a, back, err)
		}
	})
}

func FuzzValue(f *testing.F) {
	f.Add(raw.Value{User: []byte("v")}.Append(nil))
	f.Add(raw.Value{User: []byte("v"), ExpireAt: 1 << 40}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := raw.DecodeValue(b)
		if err == nil && !bytes.Equal(v.Append(nil), b) {
			t.Fatalf("%x is %+v is %x", b, v, v.Append(nil))
		}
	})
}
