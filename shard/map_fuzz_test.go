package shard

import (
	"testing"

	"github.com/skerrydb/skerry/internal/codec"
)

// FuzzMap puts whatever descriptors the bytes hold into a Map, as a store, a client and placement do with what they
// hear, and takes some out again: no two that it holds ever overlap, both of its indexes agree, the newest of a shard
// stands, and a refused one changes nothing.
func FuzzMap(f *testing.F) {
	var seed []byte
	add := func(id ID, start, end string, conf, version uint64) {
		d := &Descriptor{ID: id, Range: Range{Start: Key(start), End: Key(end)}, Epoch: Epoch{conf, version}, Replicas: []Replica{{1, 1, Voter}}}
		seed = codec.AppendBytes(seed, d.Append(nil))
	}
	add(10, "r", "s", 1, 1)
	add(10, "r", "rm", 1, 2)
	add(11, "rm", "s", 1, 2)
	f.Add(seed)
	add(10, "r", "s", 2, 1) // of before the split
	add(12, "rg", "rm", 1, 3)
	add(11, "r", "", 5, 9)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		m := NewMap()
		for d := (codec.Decoder{B: b}); len(d.B) > 0 && d.Err() == nil; {
			in := d.Bytes()
			desc, err := DecodeDescriptor(in)
			if err != nil || desc.Validate() != nil {
				if len(in) > 0 {
					m.Delete(ID(in[0]))
					checkMap(t, m)
				}
				continue
			}
			insertChecked(t, m, desc)
		}
	})
}

// insertChecked inserts, and compares what happened with what Insert promises.
func insertChecked(t *testing.T, m *Map, d *Descriptor) {
	t.Helper()
	before := m.Copy()
	own, known := before.Get(d.ID)
	kept, evicted := m.Insert(d)
	checkMap(t, m)
	now, ok := m.Get(d.ID)
	switch {
	case kept && (!ok || now.Epoch != d.Epoch):
		t.Fatalf("%s was kept, and %v stands", d, now)
	case kept && known && own.Epoch.Newer(d.Epoch):
		t.Fatalf("%s was kept over %s", d, own)
	case !kept && (len(evicted) > 0 || showMap(m) != showMap(before)):
		t.Fatalf("%s was refused, and changed the map from\n%s to\n%s", d, showMap(before), showMap(m))
	}
	for _, e := range evicted {
		if !e.Range.Overlaps(d.Range) || e.Epoch.Version >= d.Epoch.Version {
			t.Fatalf("%s evicted %s", d, e)
		}
		if _, still := m.Get(e.ID); still {
			t.Fatalf("%s was evicted and is there", e)
		}
	}
}
