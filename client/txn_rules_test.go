package client_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
)

// TestReadBeforeLock: a lock watches its key only from when it was taken. A serializable transaction that read the key
// before, at its start, does not commit if somebody wrote it in between.
func TestReadBeforeLock(t *testing.T) {
	db := newTxnFixture(t).open()
	for name, lock := range map[string]func(tx *client.Txn, k []byte) error{
		"read for update": func(tx *client.Txn, k []byte) error { _, err := tx.GetForUpdate(k); return err },
		"lock":            func(tx *client.Txn, k []byte) error { return tx.Lock(k) },
	} {
		for _, meanwhile := range []bool{false, true} {
			k := fmt.Appendf(nil, "k-%s-%v", name, meanwhile)
			put := func(v string) {
				if err := db.Update(t.Context(), func(tx *client.Txn) error { return tx.Put(k, []byte(v)) }); err != nil {
					t.Fatal(err)
				}
			}
			put("old")
			tx, err := db.Begin(t.Context(), client.Serializable(), client.Pessimistic())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tx.GetMany([][]byte{k}); err != nil {
				t.Fatal(err)
			}
			if meanwhile {
				put("new")
			}
			if err := lock(tx, k); err != nil {
				t.Fatal(err)
			}
			if err := tx.Put(k, []byte("mine")); err != nil {
				t.Fatal(err)
			}
			if err := tx.Commit(); errors.Is(err, client.ErrConflict) != meanwhile || !meanwhile && err != nil {
				t.Errorf("%s, written meanwhile %v: %v", name, meanwhile, err)
			}
		}
	}
}

// TestWriteSkew: two transactions read both keys and write one each. Under snapshot isolation both commit; under Serializable
// one loses.
func TestWriteSkew(t *testing.T) {
	f := newTxnFixture(t)
	db := f.open()
	for name, scan := range map[string]bool{"points": false, "scan": true} {
		for _, serializable := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, serializable %v", name, serializable), func(t *testing.T) {
				var opts []client.TxnOption
				if serializable {
					opts = append(opts, client.Serializable())
				}
				x, y := []byte(fmt.Sprintf("a-%v-%s", serializable, name)), []byte(fmt.Sprintf("q-%v-%s", serializable, name))
				begin := func(write []byte) *client.Txn {
					tx, err := db.Begin(t.Context(), opts...)
					if err != nil {
						t.Fatal(err)
					}
					if scan {
						for _, err := range tx.Scan(client.Range{}) {
							if err != nil {
								t.Fatal(err)
							}
						}
					} else if _, err := tx.GetMany([][]byte{x, y}); err != nil {
						t.Fatal(err)
					}
					if err := tx.Put(write, []byte("mine")); err != nil {
						t.Fatal(err)
					}
					return tx
				}
				one, two := begin(x), begin(y)
				if err := one.Commit(); err != nil {
					t.Fatal(err)
				}
				err := two.Commit()
				if serializable != errors.Is(err, client.ErrConflict) || !serializable && err != nil {
					t.Errorf("the second: %v", err)
				}
			})
		}
	}
}

// TestConflictNames: a lost update is a conflict that names the key and the winner.
func TestConflictNames(t *testing.T) {
	f := newTxnFixture(t)
	db := f.open()
	for _, keys := range [][]string{{"a"}, {"a", "q"}} {
		begin := func() *client.Txn {
			tx, err := db.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range keys {
				_, _ = tx.Get([]byte(k))
				if err := tx.Put([]byte(k), []byte("v")); err != nil {
					t.Fatal(err)
				}
			}
			return tx
		}
		one, two := begin(), begin()
		if err := one.Commit(); err != nil {
			t.Fatal(err)
		}
		err := two.Commit()
		var c *client.TxnConflictError
		if !errors.Is(err, client.ErrConflict) || !errors.As(err, &c) || c.Other != one.StartTS() || !slices.Contains(keys, string(c.Key)) || // of two parts at once, either may be refused first
			c.CommitTS != one.CommitTS() {
			t.Errorf("%v, the winner began at %d", err, one.StartTS())
		}
		if err := two.Put([]byte("a"), nil); !errors.Is(err, client.ErrTxnDone) {
			t.Errorf("put after commit: %v", err)
		}
	}
}

// TestBounds: what a transaction may hold, and what a view may not do.
func TestBounds(t *testing.T) {
	f := newTxnFixture(t)
	db := f.open()
	err := db.Update(t.Context(), func(tx *client.Txn) error { return tx.Put([]byte("a"), make([]byte, 1000)) }, client.TxnBytes(900))
	if !errors.Is(err, client.ErrTxnTooLarge) {
		t.Errorf("too large: %v", err)
	}
	err = db.View(t.Context(), func(tx *client.Txn) error { return tx.Put([]byte("a"), nil) })
	if !errors.Is(err, client.ErrReadOnly) {
		t.Errorf("put in a view: %v", err)
	}
	err = db.Update(t.Context(), func(tx *client.Txn) error {
		for i := range 3000 {
			if err := tx.Put([]byte(fmt.Sprintf("%c%04d", 'a'+i%26, i)), make([]byte, 1000)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = db.View(t.Context(), func(tx *client.Txn) error {
		n = 0
		for _, err := range tx.Scan(client.Range{}, client.KeysOnly()) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil || n != 3000 {
		t.Errorf("%d keys, %v", n, err)
	}
}

// TestNoDeadlock: two transactions lock two keys in opposite order. The younger gives up at once, the older goes on.
func TestNoDeadlock(t *testing.T) {
	f := newTxnFixture(t)
	older, younger := f.open(), f.open()
	begin := func(db *client.DB, first string) *client.Txn {
		tx, err := db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.GetForUpdate([]byte(first)); !errors.Is(err, client.ErrNotFound) {
			t.Fatal(err)
		}
		return tx
	}
	one, two := begin(older, "a"), begin(younger, "q")
	done := make(chan error)
	go func() {
		_, err := one.GetForUpdate([]byte("q"))
		done <- err
	}()
	time.Sleep(20 * time.Millisecond)
	began := time.Now()
	_, err := two.GetForUpdate([]byte("a"))
	if !errors.Is(err, client.ErrConflict) || time.Since(began) > time.Second {
		t.Errorf("the younger waited %s: %v", time.Since(began), err)
	}
	if err := two.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, client.ErrNotFound) {
		t.Errorf("the older: %v", err)
	}
	if err := one.Commit(); err != nil {
		t.Error(err)
	}
}

// TestLongTransaction: the locks of a living transaction are kept alive beyond their time to live.
func TestLongTransaction(t *testing.T) {
	t.Parallel()
	f := newTxnFixture(t)
	db, other := f.open(), f.open()
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.GetForUpdate([]byte("a")); !errors.Is(err, client.ErrNotFound) {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4500*time.Millisecond)
	defer cancel()
	err = other.Update(ctx, func(tx *client.Txn) error { return tx.Put([]byte("a"), []byte("other")) })
	if err == nil {
		t.Fatal("a lock of a living transaction was taken away")
	}
	if err := tx.Put([]byte("a"), []byte("mine")); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
}
