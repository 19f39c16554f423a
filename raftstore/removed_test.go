package raftstore

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
)

// TestRemovedBeforeRestart: a replica that applied its own removal, and whose store lost power before that was followed,
// is destroyed at the next start. Those who remain could not tell it: they know no newer membership.
func TestRemovedBeforeRestart(t *testing.T) {
	e := openEngine(t, vfs.NewMem())
	d := &shard.Descriptor{ID: 7, Range: shard.ModeRange(shard.ModeRaw), Epoch: shard.Epoch{ConfVer: 5, Version: 1},
		Replicas: []shard.Replica{{ID: 21, Store: 2, Role: shard.Voter}, {ID: 31, Store: 3, Role: shard.Voter}, {ID: 41, Store: 4, Role: shard.Voter}}}
	b := e.NewStateBatch()
	b.CreateReplica(InitialState(d, 11))
	if err := b.Commit(true); err != nil {
		t.Fatal(err)
	}
	b.Close()
	s, err := Open(Options{Env: env.Real{}, Engine: e, Store: 1, Transport: &sent{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		next, ok, err := e.Tombstone(7)
		if err != nil {
			t.Fatal(err)
		}
		if states, err := e.Replicas(); ok && next == 12 && err == nil && len(states) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not destroyed: tombstone %d, %v", next, ok)
		}
	}
}
