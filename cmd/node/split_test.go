package node_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
)

// TestShardsSplitBySize: what is written to one shard spreads over many, with nobody's help, and all of it stays there.
func TestShardsSplitBySize(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p, err := node.StartPlayground(ctx, node.PlaygroundConfig{Stores: 3, Listen: "127.0.0.1:0", Memory: true,
		Store: node.StoreConfig{Tick: 20 * time.Millisecond, SplitBytes: 256 << 10}, Placement: node.PlacementConfig{Tick: 20 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	db, err := client.Open(ctx, p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const keys = 400
	value := make([]byte, 8<<10)
	shards := func() (n int, bytes uint64) {
		for s, err := range db.Admin().Shards(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			n, bytes = n+1, bytes+s.Bytes
		}
		return n, bytes
	}
	for i := 0; ; i++ {
		if err := db.Put(ctx, fmt.Appendf(nil, "key/%04d", i*7%keys), value); err != nil {
			t.Fatal(err)
		}
		// 3.2 MiB in shards of 144 to 288 KiB; overwriting goes on until all of them are found and measured.
		if n, bytes := shards(); i >= keys && n >= 10 && bytes > 2<<20 {
			break
		}
	}
	n := 0
	for _, err := range db.Scan(ctx, client.Prefix("key/")) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != keys {
		t.Fatalf("%d of %d keys", n, keys)
	}
}
