package apply

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/shard/raw/rawtest"
)

// genLog draws a log of a shard as its leaders would make it, with commands that are refused, late and malformed. It
// applies what it draws, so that epochs and indexes mostly fit.
func genLog(t *rapid.T) []Entry {
	m := Machine{Desc: wideDesc(), Applied: shard.Applied{Index: startIndex, Term: 2, TruncIndex: 5, TruncTerm: 1}}
	w := new(rawtest.Map)
	var log []Entry
	term, seq := uint64(2), uint64(0)
	for range rapid.IntRange(1, 25).Draw(t, "entries") {
		term += uint64(rapid.IntRange(0, 5).Draw(t, "term") / 5)
		e := Entry{Index: m.Applied.Index + 1, Term: term}
		h := Header{Eval: EvalVersion, Epoch: m.Desc.Epoch, Stamp: m.Applied.Time}
		h.Epoch.Version -= uint64(rapid.IntRange(0, 9).Draw(t, "late") / 9)
		h.Stamp += shard.Millis(rapid.IntRange(0, 3).Draw(t, "stamp"))
		switch rapid.IntRange(0, 12).Draw(t, "kind") {
		case 0: // empty
		case 1:
			e.Data = EncodeClock(h)
		case 2:
			e.Data = EncodeTruncate(h, e.Index-uint64(rapid.IntRange(0, 4).Draw(t, "back")), term)
		case 3:
			seq += 4
			e.Data = EncodeSplit(h, []shard.Key{rapid.SampledFrom([]shard.Key{genKey(t), txnKey("b"), txnKey("p")}).Draw(t, "at")}, []shard.SplitID{{Shard: shard.ID(2000 + seq),
				Replicas: []shard.ReplicaID{shard.ReplicaID(2000 + seq), shard.ReplicaID(2001 + seq), shard.ReplicaID(2002 + seq)}}})
		case 4:
			e.Change = EncodeChange(h, shard.Change{Kind: shard.ChangeKind(rapid.IntRange(1, 4).Draw(t, "step")),
				Replica: shard.Replica{ID: 1003, Store: 3}, Promote: []shard.ReplicaID{1003}})
		default:
			b := NewData(nil, h)
			for range rapid.IntRange(0, 4).Draw(t, "commands") {
				seq++
				b.Add(call.OpID{Client: 7, Seq: seq}, genBody(t, m.Applied.Index))
			}
			e.Data = b.Entry()
		}
		if _, err := m.Apply(e, w); err != nil {
			t.Fatal(err)
		}
		log = append(log, e)
	}
	return log
}

// wideDesc is a shard of raw and transactional keys.
func wideDesc() *shard.Descriptor {
	d := startDesc()
	d.Range.End = shard.Key("xz")
	return d
}

func genKey(t *rapid.T) shard.Key {
	return shard.RawKey([]byte(rapid.StringMatching("[a-cz]{1,2}").Draw(t, "key")))
}

func genBody(t *rapid.T, applied uint64) []byte {
	switch rapid.IntRange(0, 14).Draw(t, "body") {
	case 2, 3, 4, 5, 6:
		return genTxn(t)
	case 0:
		return rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "garbage")
	case 1:
		return (&raw.Reclaim{Keys: []shard.Key{genKey(t)}, AsOf: applied, Final: rapid.Bool().Draw(t, "final")}).Append(nil)
	}
	c := &raw.Command{}
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		c.Conditions = append(c.Conditions, raw.Condition{Key: genKey(t), Exists: rapid.Bool().Draw(t, "exists")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "ops") {
		op := raw.Op{Kind: raw.OpKind(rapid.IntRange(1, 3).Draw(t, "op")), Key: genKey(t), Value: []byte{'v'}}
		if rapid.Bool().Draw(t, "ttl") {
			op.TTL = time.Duration(rapid.IntRange(0, 4).Draw(t, "millis")) * time.Millisecond
		}
		op.End = op.Key.Next()
		c.Ops = append(c.Ops, op)
	}
	return c.Append(nil)
}

// replica is a store that applies a log in batches: a batch and the machine's state become durable together, and a
// crash loses the batch that is not.
type replica struct {
	disk    *rawtest.Map
	applied []byte
	desc    []byte
	results []string
}

func newReplica() *replica {
	return &replica{disk: new(rawtest.Map), desc: wideDesc().Append(nil),
		applied: shard.Applied{Index: startIndex, Term: 2, TruncIndex: 5, TruncTerm: 1}.Append(nil)}
}

func (r *replica) run(t *rapid.T, log []Entry, batch func() int, crash func() bool) {
	for {
		applied, err1 := shard.DecodeApplied(r.applied)
		desc, err2 := shard.DecodeDescriptor(r.desc)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		m := Machine{Desc: desc, Applied: applied}
		from := int(applied.Index - startIndex)
		if from == len(log) {
			return
		}
		w := r.disk.Copy()
		var results []string
		for _, e := range log[from:min(from+batch(), len(log))] {
			// What Apply keeps must not depend on the entry's bytes: raft may reuse them.
			e.Data, e.Change = slices.Clone(e.Data), slices.Clone(e.Change)
			res, err := m.Apply(e, w)
			if err != nil {
				t.Fatal(err)
			}
			scribble(e.Data)
			scribble(e.Change)
			results = append(results, showResult(res))
		}
		if !crash() {
			r.disk, r.applied, r.desc = w, m.Applied.Append(nil), m.Desc.Append(nil)
			r.results = append(r.results, results...)
		}
	}
}

func scribble(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

func showResult(r Result) string {
	s := fmt.Sprintf("wrote %t\n%s", r.Wrote, showEvent(r.Event))
	for _, p := range r.Replies {
		s += fmt.Sprintf("%s %v %x\n", p.Op, p.Err, p.Body)
	}
	return s
}

// TestDeterminism: two replicas come to the same data, state, replies and events from the same entries, however the
// entries are cut into batches, also if one is restarted, also from a batch that it lost.
func TestDeterminism(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := genLog(t)
		a, b := newReplica(), newReplica()
		a.run(t, log, func() int { return 1 }, func() bool { return false })
		b.run(t, log, func() int { return rapid.IntRange(1, 6).Draw(t, "batch") },
			func() bool { return rapid.IntRange(0, 3).Draw(t, "crash") == 0 })
		if !slices.Equal(a.results, b.results) {
			t.Fatalf("results\n%q\nand\n%q", a.results, b.results)
		}
		if string(a.applied) != string(b.applied) || string(a.desc) != string(b.desc) || a.disk.String() != b.disk.String() {
			t.Fatalf("one has\n%s\nthe other\n%s", a.disk, b.disk)
		}
	})
}

// TestStateLaws: whatever is committed, the index follows the log, time and epochs never go back, and what is truncated
// was applied.
func TestStateLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Machine{Desc: wideDesc(), Applied: shard.Applied{Index: startIndex, Term: 2, TruncIndex: 5, TruncTerm: 1}}
		w := new(rawtest.Map)
		for _, e := range genLog(t) {
			old, desc, data := m.Applied, m.Desc, w.String()
			res, err := m.Apply(e, w)
			if err != nil {
				t.Fatal(err)
			}
			a := m.Applied
			if a.Index != e.Index || a.Term != e.Term || a.Time < old.Time || a.TruncIndex < old.TruncIndex || a.TruncIndex >= a.Index {
				t.Fatalf("after %+v: %+v, before %+v", e, a, old)
			}
			if n, err := mvcc.CountLocks(w.Txn(), m.Desc.Range); err != nil || n != a.Locks || a.SafePoint < old.SafePoint ||
				a.Collected < old.Collected || a.Collected > a.SafePoint {
				t.Fatalf("after %+v: %d locks, %v, state %+v, before %+v", e, n, err, a, old)
			}
			if m.Desc != desc && (!m.Desc.Epoch.Newer(desc.Epoch) || m.Desc.Validate() != nil || res.Event == nil) {
				t.Fatalf("after %+v: %s, before %s, event %v", e, m.Desc, desc, res.Event)
			}
			if !res.Wrote && w.String() != data {
				t.Fatalf("entry %+v wrote and did not say so", e)
			}
		}
	})
}

// TestOps: the ids in an entry are those of its replies, in their order, without evaluating it.
func TestOps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Machine{Desc: wideDesc(), Applied: shard.Applied{Index: startIndex, Term: 2}}
		for _, e := range genLog(t) {
			res, err := m.Apply(e, new(rawtest.Map))
			if err != nil {
				t.Fatal(err)
			}
			var ids, want []call.OpID
			Ops(e.Data, func(op call.OpID) bool { ids = append(ids, op); return true })
			if KindOf(e.Data) == KindData {
				for _, r := range res.Replies {
					want = append(want, r.Op)
				}
			}
			if !slices.Equal(ids, want) {
				t.Fatalf("ids %s, replies %s", ids, want)
			}
		}
	})
}

// TestBuilder: what is built is counted, and a buffer may be used again.
func TestBuilder(t *testing.T) {
	b := NewData([]byte("what was there before"), Header{Eval: 1, Epoch: shard.Epoch{ConfVer: 3, Version: 4}})
	empty := b.Bytes()
	b.Add(call.OpID{Client: 1, Seq: 1}, []byte("one"))
	b.Add(call.OpID{Client: 1, Seq: 2}, nil)
	if b.Len() != 2 || b.Bytes() != len(b.Entry()) || b.Bytes() <= empty {
		t.Fatalf("%d commands in %d bytes, %d when empty", b.Len(), b.Bytes(), empty)
	}
	n := 0
	Ops(b.Entry(), func(op call.OpID) bool { n++; return false })
	if n != 1 || KindOf(b.Entry()) != KindData {
		t.Fatalf("%d ids after the first was enough, kind %s", n, KindOf(b.Entry()))
	}
	c := shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{3}, Demote: []shard.ReplicaID{1}}
	back, err := DecodeChange(EncodeChange(Header{Eval: 1}, c))
	if err != nil || !reflect.DeepEqual(back, c) {
		t.Fatalf("%s decodes as %s, %v", c, back, err)
	}
	if _, err := DecodeChange(b.Entry()); err == nil {
		t.Fatal("a data entry decodes as a change")
	}
}

// FuzzApply: no entry makes a machine panic, break the laws of its state, or answer differently the second time.
func FuzzApply(f *testing.F) {
	h := Header{Eval: 1, Epoch: wideDesc().Epoch, Stamp: 1000}
	b := NewData(nil, h)
	b.Add(call.OpID{Client: 1, Seq: 1}, (&raw.Command{Conditions: []raw.Condition{{Key: shard.Key("ra")}},
		Ops: []raw.Op{{Kind: raw.Put, Key: shard.Key("ra"), TTL: time.Second}}}).Append(nil))
	b.Add(call.OpID{Client: 1, Seq: 2}, (&raw.Reclaim{Keys: []shard.Key{shard.Key("ra")}, AsOf: 9, Final: true}).Append(nil))
	f.Add(b.Entry(), []byte(nil))
	f.Add(EncodeClock(h), []byte(nil))
	f.Add(EncodeTruncate(h, 8, 2), []byte(nil))
	f.Add(EncodeSplit(h, []shard.Key{shard.Key("rm")}, []shard.SplitID{{Shard: 2000, Replicas: []shard.ReplicaID{1, 2, 3}}}), []byte(nil))
	f.Add([]byte(nil), EncodeChange(h, shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{1003}}))
	f.Fuzz(func(t *testing.T, data, change []byte) {
		var shown [2]string
		for i := range shown {
			m := Machine{Desc: wideDesc(), Applied: shard.Applied{Index: startIndex, Term: 2, TruncIndex: 5, TruncTerm: 1}}
			w := new(rawtest.Map)
			res, err := m.Apply(Entry{Index: startIndex + 1, Term: 2, Data: data, Change: change}, w)
			if m.Applied.TruncIndex >= m.Applied.Index || m.Desc.Validate() != nil {
				t.Fatalf("%+v %s", m.Applied, m.Desc)
			}
			shown[i] = fmt.Sprint(err, showResult(res), w, m.Applied, m.Desc)
		}
		if shown[0] != shown[1] {
			t.Fatalf("first %s, then %s", shown[0], shown[1])
		}
		Ops(data, func(call.OpID) bool { return true })
		_, _ = DecodeChange(change)
	})
}
