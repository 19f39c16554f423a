package embed_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"strconv"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/client/embed"
)

// example starts a cluster that its example closes.
func example(ctx context.Context) *embed.Cluster {
	db, err := embed.Open(ctx, embed.Tick(20*time.Millisecond))
	if err != nil {
		log.Fatal(err)
	}
	return db
}

// Update moves money from one account to another, all or nothing. It runs the closure again if another transaction wrote
// one of the accounts meanwhile.
func ExampleOpen_update() {
	ctx := context.Background()
	db := example(ctx)
	defer db.Close()

	balance := func(tx *client.Txn, account string) (int, error) {
		v, err := tx.Get([]byte(account))
		if errors.Is(err, client.ErrNotFound) {
			return 100, nil
		}
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(string(v))
	}
	move := func(from, to string, sum int) error {
		return db.Update(ctx, func(tx *client.Txn) error {
			x, err := balance(tx, from)
			if err != nil {
				return err
			}
			y, err := balance(tx, to)
			if err != nil {
				return err
			}
			if x < sum {
				return fmt.Errorf("%s has only %d", from, x) // rolls back, and is returned
			}
			if err := tx.Put([]byte(from), []byte(strconv.Itoa(x-sum))); err != nil {
				return err
			}
			return tx.Put([]byte(to), []byte(strconv.Itoa(y+sum)))
		})
	}
	fmt.Println(move("ada", "bob", 30))
	fmt.Println(move("ada", "bob", 90))
	// Output:
	// <nil>
	// ada has only 70
}

// View reads many keys as of one moment. It takes no locks and never conflicts.
func ExampleOpen_view() {
	ctx := context.Background()
	db := example(ctx)
	defer db.Close()

	err := db.Update(ctx, func(tx *client.Txn) error {
		for i, name := range []string{"gannet", "puffin", "seal"} {
			if err := tx.Put([]byte("seen/"+name), []byte(strconv.Itoa(i+1))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	err = db.View(ctx, func(tx *client.Txn) error {
		for kv, err := range tx.Scan(client.Prefix("seen/")) {
			if err != nil {
				return err
			}
			fmt.Printf("%s %s\n", kv.Key, kv.Value)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// seen/gannet 1
	// seen/puffin 2
	// seen/seal 3
	// <nil>
}

// Add counts without reading: additions to one key never conflict with each other.
func ExampleOpen_add() {
	ctx := context.Background()
	db := example(ctx)
	defer db.Close()

	done := make(chan error)
	for range 20 {
		go func() {
			done <- db.Update(ctx, func(tx *client.Txn) error { return tx.Add([]byte("visits"), 1) })
		}()
	}
	for range 20 {
		if err := <-done; err != nil {
			log.Fatal(err)
		}
	}
	_ = db.View(ctx, func(tx *client.Txn) error {
		v, err := tx.Get([]byte("visits"))
		fmt.Println(binary.BigEndian.Uint64(v), err)
		return nil
	})
	// Output:
	// 20 <nil>
}

// GetForUpdate locks what it reads, so that many clients which read and write one key take turns, in the order in which
// they came, instead of running their closures again.
func ExampleOpen_getForUpdate() {
	ctx := context.Background()
	db := example(ctx)
	defer db.Close()

	runs := make(chan int)
	for range 10 {
		go func() {
			n := 0
			err := db.Update(ctx, func(tx *client.Txn) error {
				n++
				v, err := tx.GetForUpdate([]byte("ticket"))
				if err != nil && !errors.Is(err, client.ErrNotFound) {
					return err
				}
				last, _ := strconv.Atoi(string(v))
				return tx.Put([]byte("ticket"), []byte(strconv.Itoa(last+1)))
			})
			if err != nil {
				log.Fatal(err)
			}
			runs <- n
		}()
	}
	again := 0
	for range 10 {
		again += <-runs - 1
	}
	ts, _ := db.Timestamp(ctx)
	v, _ := db.At(ts).Get(ctx, []byte("ticket"))
	fmt.Printf("%s tickets, %d closures ran again\n", v, again)
	// Output:
	// 10 tickets, 0 closures ran again
}

// At reads the past, down to the safe point.
func ExampleOpen_at() {
	ctx := context.Background()
	db := example(ctx)
	defer db.Close()

	put := func(v string) {
		if err := db.Update(ctx, func(tx *client.Txn) error { return tx.Put([]byte("news"), []byte(v)) }); err != nil {
			log.Fatal(err)
		}
	}
	put("a storm is coming")
	before, err := db.Timestamp(ctx)
	if err != nil {
		log.Fatal(err)
	}
	put("the storm is over")
	now, _ := db.Timestamp(ctx)
	for _, ts := range []client.Timestamp{before, now} {
		v, err := db.At(ts).Get(ctx, []byte("news"))
		fmt.Printf("%s %v\n", v, err)
	}
	time.Sleep(10 * time.Millisecond)
	if _, err := db.Admin().CollectGarbage(ctx, 5*time.Millisecond); err != nil { // clusters do that by themselves, 10 minutes back
		log.Fatal(err)
	}
	_, err = db.At(before).Get(ctx, []byte("news"))
	fmt.Println(errors.Is(err, client.ErrTooOld))
	// Output:
	// a storm is coming <nil>
	// the storm is over <nil>
	// true
}
