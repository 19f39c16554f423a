package placement

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// FuzzRecords: any bytes of a record of shard 1 either are refused, or decode to what encodes to the same.
func FuzzRecords(f *testing.F) {
	d := &shard.Descriptor{ID: 1001, Range: shard.Range{Start: shard.Key("ra"), End: shard.Key("rb")}, Epoch: shard.Epoch{ConfVer: 1, Version: 2},
		Replicas: []shard.Replica{{ID: 1002, Store: 1003, Role: shard.Voter}, {ID: 1004, Store: 1005, Role: shard.Learner}}}
	f.Add(encodeNumber(1 << 40))
	f.Add(storeRecord{id: 1003, addr: "127.0.0.1:4400", removed: true}.encode())
	f.Add(storeRecord{id: 1003, addr: "a", draining: true, labels: []beat.Label{{Key: "zone", Value: "a"}, {Key: "disk"}}, token: 1 << 63}.encode())
	f.Add([]byte("\x01\xeb\x07\x01a\x00")) // version 1
	f.Add(encodeShards([]*shard.Descriptor{d, d}))
	f.Add(encodeShards(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n, err := decodeNumber(b); err == nil && b != nil {
			if again, err := decodeNumber(encodeNumber(n)); err != nil || again != n {
				t.Fatalf("number %d reads back as %d, %v", n, again, err)
			}
		}
		if r, err := decodeStore(b); err == nil {
			if again, err := decodeStore(r.encode()); err != nil || !reflect.DeepEqual(again, r) {
				t.Fatalf("store %+v reads back as %+v, %v", r, again, err)
			}
		}
		if ds, err := decodeShards(b); err == nil {
			once := encodeShards(ds)
			again, err := decodeShards(once)
			if err != nil || len(again) != len(ds) || !bytes.Equal(encodeShards(again), once) {
				t.Fatalf("shards %v read back as %v, %v", ds, again, err)
			}
		}
	})
}
