package node

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
)

// addrBook is a transport that only remembers addresses.
type addrBook struct {
	Transport
	addrs map[shard.StoreID]string
}

func (a *addrBook) SetAddr(id shard.StoreID, addr string) { a.addrs[id] = addr }

// FuzzAddresses: any bytes in a store's record of addresses either are refused, or everybody learns the same from them.
func FuzzAddresses(f *testing.F) {
	b := codec.AppendUvarint([]byte{1}, 2)
	for i, addr := range []string{"127.0.0.1:4400", "127.0.0.1:4401"} {
		b = codec.AppendString(codec.AppendUvarint(b, uint64(1001+i)), addr)
	}
	b = codec.AppendString(codec.AppendUvarint(b, 1), "127.0.0.1:4500")
	f.Add(b)
	f.Add([]byte{1, 0, 0})
	e, err := engine.Open("store", engine.Options{FS: vfs.NewMem(), CacheBytes: 1 << 20, MemTableBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = e.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := e.SetRecord(addrsRecord, b); err != nil {
			t.Fatal(err)
		}
		n := &Node{dir: newDirectory(env.Real{}, nil, nil)}
		a := &storeAgent{n: n, engine: e, known: make(map[shard.StoreID]string)}
		book := &addrBook{addrs: make(map[shard.StoreID]string)}
		if a.loadAddrs(book) != nil {
			return
		}
		if len(book.addrs) != len(a.known) {
			t.Fatalf("the transport knows %v, the agent %v", book.addrs, a.known)
		}
		for id, addr := range a.known {
			if book.addrs[id] != addr {
				t.Fatalf("the transport knows %q for %s, the agent %q", book.addrs[id], id, addr)
			}
		}
	})
}
