package raftstore

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
)

// FuzzIncarnation: any bytes in the record of a store's incarnation either are refused, or the next life has a larger
// one, which the life after it reads.
func FuzzIncarnation(f *testing.F) {
	f.Add(codec.AppendUvarint(nil, 7))
	f.Add(codec.AppendUvarint(nil, 1<<63))
	e, err := engine.Open("store", engine.Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = e.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := e.SetRecord(incarnationRecord, b); err != nil {
			t.Fatal(err)
		}
		s := &Store{env: env.Real{}, engine: e}
		first, err := newLiveness(s)
		if err != nil {
			return
		}
		second, err := newLiveness(s)
		if err != nil || first.incarnation != 0 && second.incarnation != first.incarnation+1 {
			t.Fatalf("incarnation %d, then %+v: %v", first.incarnation, second, err)
		}
	})
}
