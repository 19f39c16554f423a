package embed_test

import (
	"errors"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/client/embed"
)

// TestCollectGarbage: the safe point moves over shards that were split, a lock below it is resolved, reads below it are
// refused, and what is read now stays.
func TestCollectGarbage(t *testing.T) {
	ctx := t.Context()
	db, err := embed.Open(ctx, embed.Tick(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	put := func(v string) {
		t.Helper()
		if err := db.Update(ctx, func(tx *client.Txn) error {
			if err := tx.Put([]byte("a"), []byte(v)); err != nil {
				return err
			}
			return tx.Put([]byte("q"), []byte(v))
		}); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	var last client.ShardInfo
	for s, err := range db.Admin().Shards(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		last = s
	}
	if _, err := db.Admin().SplitTxn(ctx, last.ID, []byte("m")); err != nil {
		t.Fatal(err)
	}
	old, err := db.Timestamp(ctx)
	if err != nil {
		t.Fatal(err)
	}
	put("new")
	if _, err := db.At(old + 1<<40).Get(ctx, []byte("a")); !errors.Is(err, client.ErrInvalid) {
		t.Errorf("read in the future: %v", err)
	}
	p, err := db.Admin().CollectGarbage(ctx, 0)
	if err != nil || p.Collect != p.Safe || p.Safe <= old {
		t.Fatalf("%+v, %v", p, err)
	}
	for _, k := range []string{"a", "q"} {
		if _, err := db.At(old).Get(ctx, []byte(k)); !errors.Is(err, client.ErrTooOld) {
			t.Errorf("read below the safe point: %v", err)
		}
		if v, err := db.At(p.Safe).Get(ctx, []byte(k)); err != nil || string(v) != "new" {
			t.Errorf("%q, %v", v, err)
		}
	}
	for l, err := range db.Admin().Locks(ctx, client.Range{}, p.Safe) {
		t.Errorf("%+v, %v", l, err)
	}
}
