package embed_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/client/embed"
)

// A transaction moves money between two accounts, wherever they lie, and counts the transfers.
func Example_transactions() {
	ctx := context.Background()
	db, err := embed.Open(ctx, embed.Tick(20*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	err = db.Update(ctx, func(tx *client.Txn) error {
		if err := tx.Put([]byte("account/ada"), []byte("100")); err != nil {
			return err
		}
		return tx.Put([]byte("account/bob"), []byte("0"))
	})
	if err != nil {
		log.Fatal(err)
	}
	before, err := db.Timestamp(ctx)
	if err != nil {
		log.Fatal(err)
	}

	err = db.Update(ctx, func(tx *client.Txn) error {
		ada, err := tx.GetForUpdate([]byte("account/ada"))
		if err != nil {
			return err
		}
		if string(ada) != "100" {
			return errors.New("not enough")
		}
		if err := tx.Put([]byte("account/ada"), []byte("70")); err != nil {
			return err
		}
		if err := tx.Put([]byte("account/bob"), []byte("30")); err != nil {
			return err
		}
		return tx.Add([]byte("transfers"), 1)
	})
	if err != nil {
		log.Fatal(err)
	}

	err = db.View(ctx, func(tx *client.Txn) error {
		for kv, err := range tx.Scan(client.Prefix("account/")) {
			if err != nil {
				return err
			}
			fmt.Printf("%s=%s\n", kv.Key, kv.Value)
		}
		n, err := tx.Get([]byte("transfers"))
		if err == nil {
			fmt.Println("transfers:", binary.BigEndian.Uint64(n))
		}
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	ada, err := db.At(before).Get(ctx, []byte("account/ada"))
	fmt.Printf("before: %s %v\n", ada, err)
	// Output:
	// account/ada=70
	// account/bob=30
	// transfers: 1
	// before: 100 <nil>
}
