package journal

import "testing"

// FuzzRecord feeds arbitrary payloads, in records that are whole, to what reads them: nothing but an error comes of those that
// make no sense, and no span of the others lies outside of its record.
func FuzzRecord(f *testing.F) {
	var b Batch
	appendTo(&b, 1, Life{Replica: 11, Index: 5, Term: 5}, 6, 3, "5", 20)
	b.forget(2)
	f.Add(append([]byte(nil), b.buf[headerLen:]...))
	f.Add([]byte{itemAppend, 1, 1, 5, 5, 6, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, payload []byte) {
		rec := append(make([]byte, headerLen), payload...)
		sealRecord(rec, header{seq: 7, oldest: 3})
		h, p, ok := readRecord(rec)
		if !ok || h.seq != 7 || h.oldest != 3 || len(p) != len(payload) {
			t.Fatalf("a record of %d bytes: %t, %+v", len(payload), ok, h)
		}
		var b Batch
		if b.decode(p) != nil {
			return
		}
		for _, s := range b.spans {
			if int(s.off)+int(s.n) > len(rec) || s.off < headerLen {
				t.Fatalf("a value at %d, %d bytes, of a record of %d", s.off, s.n, len(rec))
			}
		}
		for _, it := range b.items {
			if it.from > it.to || it.to > len(b.spans) {
				t.Fatalf("item %+v of %d values", it, len(b.spans))
			}
		}
		for i := range rec { // a flipped byte is found
			rec[i] ^= 1
			if _, _, ok := readRecord(rec); ok {
				t.Fatalf("byte %d of a record is wrong, and it is whole", i)
			}
			rec[i] ^= 1
		}
	})
}
