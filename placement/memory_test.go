package placement

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
)

// TestMemory measures what placement's leader keeps in memory: every shard with its descriptor, route, rates and what it
// adds to its stores, as it comes with full heartbeats, then one round of the schedulers over all of it. SKERRY_PLACEMENTSIM
// makes it a million shards of three replicas on a thousand stores, and writes the result to docs/placement.md; the bar is
// 4 GiB.
func TestMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("it would measure the race detector")
	}
	stores, shards, keyBytes := 100, 20_000, 32
	big := os.Getenv("SKERRY_PLACEMENTSIM") != ""
	if big {
		stores, shards = 1000, 1_000_000
	}
	before := heapInUse()
	v := newView(env.Real{}, nil)
	for i := range stores {
		v.loadStore(storeRecord{id: shard.StoreID(1001 + i), addr: fmt.Sprintf("10.0.%d.%d:4400", i/250, i%250)})
	}
	key := func(i int) shard.Key {
		k := make(shard.Key, keyBytes)
		k[0] = byte(shard.ModeRaw)
		binary.BigEndian.PutUint64(k[1:], uint64(i))
		return k
	}
	// Each store reports what it leads, in key order of its own.
	for st := range stores {
		r := &beat.Report{Versions: version.Ours(), Store: shard.StoreID(1001 + st), Full: true, Addr: fmt.Sprintf("10.0.%d.%d:4400", st/250, st%250), Capacity: 1 << 40, Free: 1 << 39}
		for i := st; i < shards; i += stores {
			d := &shard.Descriptor{ID: shard.ID(1<<20 + i), Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
			if i > 0 {
				d.Range.Start = key(i)
			}
			if i < shards-1 {
				d.Range.End = key(i + 1)
			}
			for j := range 3 {
				d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(1<<32 + 3*i + j), Store: shard.StoreID(1001 + (st+j*7)%stores), Role: shard.Voter})
			}
			r.Led = append(r.Led, beat.Led{Desc: d, Leader: d.Replicas[0].ID, Term: 7, Applied: 1000, Bytes: 96 << 20})
			r.Rates = append(r.Rates, beat.Rate{Shard: d.ID, Term: 7, Rates: beat.Rates{Reads: 10, Writes: 20, WriteBytes: 4096}})
		}
		v.observe(r)
	}
	v.takeUnsaved(shards)
	v.takeTouched()
	sched := schedule.New(1, schedule.Limits{})
	pic := v.picture(schedule.Rules{Replicas: 3})
	for range shards/4096 + 1 {
		sched.Propose(pic, maxProposals)
	}
	after := heapInUse()
	if n := v.shards.Len(); n != shards || len(v.routes) != shards || len(v.counted) != shards {
		t.Fatalf("%d shards, %d routes, %d counted", n, len(v.routes), len(v.counted))
	}
	per := (after - before) / uint64(shards)
	text := fmt.Sprintf("%d bytes for a shard of three replicas with keys of %d bytes, %.2f GiB for a million", per, keyBytes, float64(per)*1e6/(1<<30))
	t.Log(text)
	if per > 4<<30/1_000_000 {
		t.Errorf("%s; the bar is 4 GiB", text)
	}
	runtime.KeepAlive(sched)
	runtime.KeepAlive(pic)
	if big {
		rewriteMemory(t, text)
	}
}

func heapInUse() uint64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func rewriteMemory(t *testing.T, text string) {
	const path, begin, end = "../docs/placement.md", "<!-- placementsim memory -->\n", "\n<!-- end -->"
	doc, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("docs/placement.md has no mark for the memory")
	}
	if err := os.WriteFile(path, []byte(before+begin+text+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
