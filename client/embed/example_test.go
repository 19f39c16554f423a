package embed_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/client/embed"
)

// A whole cluster in a test, and the calls that most programs need.
func Example() {
	ctx := context.Background()
	db, err := embed.Open(ctx, embed.SplitKeys("m"), embed.Tick(20*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	if err := db.Put(ctx, []byte("user/42"), []byte("ada")); err != nil {
		log.Fatal(err)
	}
	name, err := db.Get(ctx, []byte("user/42"))
	fmt.Printf("%s %v\n", name, err)

	_, err = db.Get(ctx, []byte("user/43"))
	fmt.Println(errors.Is(err, client.ErrNotFound))

	err = db.CompareAndSwap(ctx, []byte("user/42"), []byte("bob"), []byte("eve"))
	fmt.Println(errors.Is(err, client.ErrConflict))

	_ = db.Put(ctx, []byte("animal/1"), []byte("seal"))
	for kv, err := range db.Scan(ctx, client.Range{}) { // over both shards, in key order
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s=%s\n", kv.Key, kv.Value)
	}
	// Output:
	// ada <nil>
	// true
	// true
	// animal/1=seal
	// user/42=ada
}

// Partitions gives range-partitioned jobs one handle per shard.
func ExampleOpen_partitions() {
	ctx := context.Background()
	db, err := embed.Open(ctx, embed.SplitKeys("g", "p"), embed.Tick(20*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	for c := 'a'; c <= 'z'; c++ {
		if err := db.Put(ctx, []byte(string(c)), []byte("x")); err != nil {
			log.Fatal(err)
		}
	}
	parts, err := db.Partitions(ctx, client.Range{})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range parts {
		n := 0
		for _, err := range p.Scan(ctx, client.KeysOnly()) {
			if err != nil {
				log.Fatal(err)
			}
			n++
		}
		fmt.Println(n)
	}
	// Output:
	// 6
	// 9
	// 11
}
