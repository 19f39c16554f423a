package engine

import (
	"bytes"
	"errors"
	"testing"

	"github.com/skerrydb/skerry/engine/keys"
	"github.com/skerrydb/skerry/shard"
	pb "go.etcd.io/raft/v3/raftpb"
)

// FuzzLogValue: any bytes either are refused as corruption, or decode to what encodes to the same.
func FuzzLogValue(f *testing.F) {
	k := keys.Log(1001, 7)
	v := make([]byte, logValueLen(300, 5, 4))
	putLogValue(v, k, logHeader{commit: 300, term: 5, typ: pb.EntryConfChangeV2}, []byte("data"))
	f.Add(v, false)
	f.Add([]byte{logVersion, 0x80, 0x00, 1, 0}, true)
	f.Add([]byte{}, true)
	f.Fuzz(func(t *testing.T, v []byte, reseal bool) {
		if reseal { // past the checksum
			v = seal(k, bytes.Clone(v))
		}
		h, data, err := decodeLogValue(k, v)
		if err != nil {
			if !errors.Is(err, ErrCorruption) {
				t.Fatal(err)
			}
			return
		}
		again := make([]byte, logValueLen(h.commit, h.term, len(data)))
		putLogValue(again, k, h, data)
		h2, data2, err := decodeLogValue(k, again)
		if err != nil || h2 != h || !bytes.Equal(data, data2) || len(again) > len(v) {
			t.Fatalf("%+v %q becomes %+v %q: %v", h, data, h2, data2, err)
		}
		if _, _, err := decodeLogValue(keys.Log(1001, 8), again); err == nil {
			t.Fatal("the value of one entry was taken for another's")
		}
	})
}

// FuzzRecords: the same for every state record.
func FuzzRecords(f *testing.F) {
	d := desc(1001, rng("a", "m"), 11)
	k := keys.State(1001, keys.StateHard)
	cut := func(v []byte) []byte { return v[:len(v)-crcLen] }
	f.Add(cut(hardRecord{replica: 3, hard: HardState{Term: 1, Vote: 2, Commit: 300}, base: position{5, 5}}.encode(k)))
	f.Add(cut(encodeApplied(k, shard.Applied{Index: 9, Term: 3})))
	f.Add(cut(encodeDescriptor(k, d)))
	f.Add(cut(encodeTombstone(k, 77)))
	f.Add(cut(encodeMarks(k, []shard.Range{rng("a", "b"), {}})))
	f.Add(cut(encodeRecord(k, Ident{Cluster: 1, Store: 2, Format: 3}.encode())))
	f.Fuzz(func(t *testing.T, payload []byte) {
		v := seal(k, bytes.Clone(payload))
		check := func(err error, again func() []byte, same func(v []byte) bool) {
			if err != nil {
				if !errors.Is(err, ErrCorruption) {
					t.Fatal(err)
				}
				return
			}
			if !same(again()) {
				t.Fatalf("%x does not survive", payload)
			}
		}
		h, err := decodeHard(k, v)
		check(err, func() []byte { return h.encode(k) }, func(v []byte) bool { x, err := decodeHard(k, v); return err == nil && x == h })
		a, err := decodeApplied(k, v)
		check(err, func() []byte { return encodeApplied(k, a) }, func(v []byte) bool { x, err := decodeApplied(k, v); return err == nil && x == a })
		d, err := decodeDescriptor(k, v)
		check(err, func() []byte { return encodeDescriptor(k, d) }, func(v []byte) bool {
			x, err := decodeDescriptor(k, v)
			return err == nil && x.String() == d.String()
		})
		n, err := decodeTombstone(k, v)
		check(err, func() []byte { return encodeTombstone(k, n) }, func(v []byte) bool { x, err := decodeTombstone(k, v); return err == nil && x == n })
		m, err := decodeMarks(k, v)
		check(err, func() []byte { return encodeMarks(k, m) }, func(v []byte) bool { x, err := decodeMarks(k, v); return err == nil && len(x) == len(m) })
		r, err := decodeRecord(k, v)
		check(err, func() []byte { return encodeRecord(k, r) }, func(v []byte) bool { x, err := decodeRecord(k, v); return err == nil && bytes.Equal(x, r) })
		i, err := decodeIdent(payload)
		check(err, func() []byte { return i.encode() }, func(v []byte) bool { x, err := decodeIdent(v); return err == nil && x == i })
	})
}

// FuzzChunk: any bytes either are refused or are a chunk that says the same when it is written again.
func FuzzChunk(f *testing.F) {
	f.Add(cutChunk(emptyChunk()))
	f.Add(cutChunk(pairs("a", "b")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := readChunk(b); err != nil && !errors.Is(err, ErrCorruption) {
			t.Fatal(err)
		}
		w := chunkWriter{b: append([]byte(nil), b...)}
		if len(w.b) < 2 {
			return
		}
		r, err := readChunk(w.finish(w.b[1]&chunkLastFlag != 0))
		if err != nil {
			return
		}
		var again chunkWriter
		again.begin(r.number, 0)
		n := 0
		for {
			k, v, ok, err := r.next()
			if err != nil {
				return
			}
			if !ok {
				break
			}
			n++
			again.add(k, v)
		}
		r2, err := readChunk(again.finish(r.last))
		if err != nil || r2.number != r.number || r2.last != r.last {
			t.Fatalf("number %d last %t: %v", r2.number, r2.last, err)
		}
		for ; n > 0; n-- {
			if _, _, ok, err := r2.next(); !ok || err != nil {
				t.Fatal(ok, err)
			}
		}
	})
}

func cutChunk(b []byte) []byte { return b[:len(b)-crcLen] }
