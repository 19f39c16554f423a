package node

import (
	"errors"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
)

// TestGarbageIsCollected: without anybody's doing old versions go, reads and transactions from before are told so, and a
// lock that a client left behind does not stop it.
func TestGarbageIsCollected(t *testing.T) {
	t.Parallel()
	p, err := StartPlayground(t.Context(), PlaygroundConfig{Stores: 3, Listen: "127.0.0.1:0", Memory: true, Logger: testLogger(),
		Store: StoreConfig{Tick: testTick}, Placement: PlacementConfig{Tick: testTick, CollectGarbage: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	db, err := client.Open(t.Context(), p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if g, err := db.Admin().GC(t.Context()); err != nil || g.Paused || g.Keep != 10*time.Minute {
		t.Fatalf("%+v %v", g, err)
	}
	put := func(v string) client.Timestamp {
		err := db.Update(t.Context(), func(tx *client.Txn) error { return tx.Put([]byte("k"), []byte(v)) })
		if err != nil {
			t.Fatal(err)
		}
		ts, err := db.Timestamp(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return ts
	}
	old := put("1")
	put("2")
	left, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.Get([]byte("k")); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Admin().SetGCKeep(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		s, err := db.Admin().SafePoints(t.Context())
		if err == nil && s.Collect > left.StartTS() {
			break
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatalf("after %s: %+v %v", time.Since(begun), s, err)
		}
	}
	if _, err := db.At(old).Get(t.Context(), []byte("k")); !errors.Is(err, client.ErrTooOld) {
		t.Errorf("a read from before the safe point: %v", err)
	}
	if err := left.Put([]byte("k"), nil); err != nil {
		t.Error(err)
	}
	if err := left.Commit(); !errors.Is(err, client.ErrTooOld) {
		t.Errorf("a transaction from before the safe point: %v", err)
	}
	if ts := put("3"); ts == 0 {
		t.Error("no timestamp")
	}
	if _, err := db.Admin().PauseGC(t.Context(), true); err != nil {
		t.Fatal(err)
	}
}
