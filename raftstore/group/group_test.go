package group_test

import (
	"io"
	"log"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/group"
)

// TestNewRefuses: what raft would panic on is an error.
func TestNewRefuses(t *testing.T) {
	storage := func(term, commit, entries uint64, cs *pb.ConfState) raft.Storage {
		ms := raft.NewMemoryStorage()
		must(ms.ApplySnapshot(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(10)), Term: new(uint64(5)), ConfState: cs}}))
		must(ms.SetHardState(&pb.HardState{Term: new(term), Vote: new(uint64(0)), Commit: new(commit)}))
		for i := range entries {
			must(ms.Append([]*pb.Entry{{Index: new(11 + i), Term: new(uint64(6))}}))
		}
		return ms
	}
	voters := &pb.ConfState{Voters: []uint64{1, 2, 3}}
	good := group.Config{Shard: 7, Replica: 1, Store: 1, Applied: 10, Storage: storage(6, 11, 2, voters)}
	for name, c := range map[string]struct {
		edit func(*group.Config)
		want string
	}{
		"good":             {func(*group.Config) {}, ""},
		"no replica":       {func(c *group.Config) { c.Replica = 0 }, "must be named"},
		"settings":         {func(c *group.Config) { c.Settings = &group.Settings{ElectionTicks: 10} }, "not made by NewSettings"},
		"applied > commit": {func(c *group.Config) { c.Applied = 12 }, "contradicts itself"},
		"applied < first":  {func(c *group.Config) { c.Applied = 9 }, "contradicts itself"},
		"commit > last":    {func(c *group.Config) { c.Storage = storage(6, 13, 2, voters) }, "contradicts itself"},
		"term < log":       {func(c *group.Config) { c.Storage = storage(5, 11, 2, voters) }, "contradicts itself"},
		"auto leave": {func(c *group.Config) {
			c.Storage = storage(6, 11, 2, &pb.ConfState{Voters: []uint64{1}, VotersOutgoing: []uint64{2}, AutoLeave: new(true)})
		}, "leaves by itself"},
		"voter twice": {func(c *group.Config) { c.Storage = storage(6, 11, 2, &pb.ConfState{Voters: []uint64{1, 1}}) }, "named twice"},
	} {
		config := good
		c.edit(&config)
		_, err := group.New(config)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: error %v, want %q", name, err, c.want)
		}
	}
}

func TestSettings(t *testing.T) {
	for want, s := range map[string]group.Settings{
		"must exceed":      {ElectionTicks: 2, HeartbeatTicks: 2},
		"must be positive": {TickInterval: -1},
		"max drift":        {MaxDrift: 1},
		"in flight":        {MaxInflightBytes: 1},
	} {
		if _, err := group.NewSettings(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

// TestIdleCost: an idle group costs little memory beyond its RawNode, and asking it costs none.
func TestIdleCost(t *testing.T) {
	if size := unsafe.Sizeof(group.Group{}); size > 384 {
		t.Errorf("a Group is %d bytes", size)
	}
	const groups = 2000
	perGroup := func(mk func() any) uint64 {
		keep := make([]any, groups)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range keep {
			keep[i] = mk()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(keep)
		return (after.HeapAlloc - before.HeapAlloc) / groups
	}
	ms := raft.NewMemoryStorage()
	must(ms.ApplySnapshot(&pb.Snapshot{Metadata: &pb.SnapshotMetadata{Index: new(uint64(10)), Term: new(uint64(5)),
		ConfState: &pb.ConfState{Voters: []uint64{1, 2, 3}}}}))
	must(ms.SetHardState(&pb.HardState{Term: new(uint64(5)), Vote: new(uint64(0)), Commit: new(uint64(10))}))
	config := group.Config{Shard: 7, Replica: 1, Store: 1, Applied: 10, Storage: ms}
	raw := perGroup(func() any {
		rn, err := raft.NewRawNode(&raft.Config{ID: 1, ElectionTick: 10, HeartbeatTick: 2, Storage: ms, Applied: 10,
			AsyncStorageWrites: true, MaxInflightMsgs: 512, Logger: &raft.DefaultLogger{Logger: log.New(io.Discard, "", 0)}})
		must(err)
		return rn
	})
	whole := perGroup(func() any {
		g, err := group.New(config)
		must(err)
		return g
	})
	t.Logf("%d bytes per group, of them %d the RawNode's", whole, raw)
	if whole > raw+512 {
		t.Errorf("an idle group costs %d bytes, a RawNode %d", whole, raw)
	}

	g, err := group.New(config)
	must(err)
	now := group.Instant(0)
	for name, f := range map[string]func(){
		"Ready": func() { g.Ready() },
		"Tick": func() {
			now += tick
			if now < 9*tick {
				g.Tick(now)
			}
		},
		"accessors": func() {
			_, _, _, _, _ = g.Term(), g.Leading(), g.Leader(), g.Committed(), g.Applied()
			_, _, _, _ = g.AppliedOwnTerm(), g.Heard(), g.LeaseUntil(now), g.OutstandingAppends()
			_ = g.CanAcceptSleep(5, 10)
		},
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %.1f times", name, n)
		}
	}
}
