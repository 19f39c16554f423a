package placement

import (
	"testing"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// TestSplitInRoutes: the report of left's leader shows both sides of a split at once; a leader of the right side that is
// known is not forgotten by a report that knows none, and nobody's old descriptor comes back.
func TestSplitInRoutes(t *testing.T) {
	whole := &shard.Descriptor{ID: 1001, Epoch: shard.Epoch{ConfVer: 1, Version: 1}, Replicas: []shard.Replica{
		{ID: 1002, Store: 1, Role: shard.Voter}, {ID: 1003, Store: 2, Role: shard.Voter}}}
	parts, err := whole.Split([]shard.Key{shard.Key("rm")}, []shard.SplitID{{Shard: 1010, Replicas: []shard.ReplicaID{1011, 1012}}})
	if err != nil {
		t.Fatal(err)
	}
	left, right := parts[0], parts[1]
	v := newView(env.Real{}, nil)
	for _, id := range []shard.StoreID{1, 2} {
		v.loadStore(storeRecord{id: id})
	}
	v.loadShard(whole)
	v.observe(&beat.Report{Versions: version.Ours(), Store: 1, Full: true, Led: []beat.Led{{Desc: whole, Leader: 1002, Term: 6}}})
	check := func(when string, leader shard.ReplicaID) {
		t.Helper()
		routes := v.locate(nil, 10)
		if len(routes) != 2 || routes[0].Desc != left || routes[1].Desc != right || routes[0].Leader != 1002 || routes[1].Leader != leader {
			t.Fatalf("%s: %+v", when, routes)
		}
	}
	both := &beat.Report{Versions: version.Ours(), Store: 1, Led: []beat.Led{{Desc: left, Leader: 1002, Term: 6, Bytes: 7}, {Desc: right}}}
	v.observe(both)
	check("after left's report", 0)
	v.observe(&beat.Report{Versions: version.Ours(), Store: 2, Full: true, Led: []beat.Led{{Desc: right, Leader: 1012, Term: 6}}})
	check("after right's report", 1012)
	v.observe(both)
	check("after left's report came again", 1012)
	v.observe(&beat.Report{Versions: version.Ours(), Store: 2, Led: []beat.Led{{Desc: whole, Leader: 1003, Term: 5}}})
	check("after a late word of the whole", 1012)
	if b := v.locate(nil, 1)[0].Bytes; b != 7 {
		t.Fatalf("%d bytes", b)
	}
}
