package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/setting"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// leveled gives a node a log level that can be changed; it was told warn.
func leveled(c Config) Config {
	c.LogLevel = &slog.LevelVar{}
	c.LogLevel.Set(slog.LevelWarn)
	return c
}

// TestSettingsReachEveryNode: what is set for the cluster holds, without a restart, on a node with a member only, one with a
// store only, and one that joins later; after a reset each goes by what it was told.
func TestSettingsReachEveryNode(t *testing.T) {
	t.Parallel()
	p := startNode(t, leveled(placementConfig("")))
	conf := leveled(storeConfig("", p.Addr()))
	conf.Store.SplitBytes = 7 << 20
	first := startReady(t, conf)
	nodes := []*Node{p, first}
	order := func(o beat.SettingsOrder) {
		t.Helper()
		ctx := testContext(t)
		for {
			_, err := p.Placement().Administer(ctx, &beat.Order{Settings: &o})
			var nl *shard.NotLeaderError
			if errors.As(err, &nl) && ctx.Err() == nil {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	expect := func(when string, level slog.Level, split uint64, slow time.Duration) {
		t.Helper()
		for ctx := testContext(t); ; time.Sleep(10 * time.Millisecond) {
			missing := ""
			for _, n := range nodes {
				if have := n.cfg.LogLevel.Level(); have != level {
					missing = n.Addr() + " logs at " + have.String()
				}
				for _, s := range n.stores() {
					if s.Bounds().SplitBytes != split {
						missing = n.Addr() + " splits by another size"
					}
					if s.Bounds().SlowOperation != slow {
						missing = n.Addr() + " logs other operations as slow"
					}
				}
			}
			if missing == "" {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("%s: %s", when, missing)
			}
		}
	}
	expect("at first", slog.LevelWarn, 7<<20, DefaultSlowOperation)
	order(beat.SettingsOrder{Set: []setting.Made{{Key: setting.LogLevel, Value: "error"}, {Key: setting.SplitSize, Value: "9MiB"},
		{Key: setting.SlowOperation, Value: "0"}}})
	expect("set", slog.LevelError, 9<<20, 0)
	nodes = append(nodes, startReady(t, leveled(storeConfig("", first.Addr()))))
	expect("with a node that joined later", slog.LevelError, 9<<20, 0)
	nodes = nodes[:2]
	order(beat.SettingsOrder{Reset: []string{setting.LogLevel, setting.SplitSize, setting.SlowOperation}})
	expect("reset", slog.LevelWarn, 7<<20, DefaultSlowOperation)
}

// TestVersionIsKnownAlone: a cluster begins with the newest version, and each directory says so before anybody answers; one
// of a newer version is refused by code, before anything in it is changed.
func TestVersionIsKnownAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := startReady(t, serverConfig(dir))
	for ctx := testContext(t); n.member.engine.Version() != version.Newest() || n.store.engine.Version() != version.Newest(); time.Sleep(10 * time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatalf("the member goes by version %s, the store by %s", n.member.engine.Version(), n.store.engine.Version())
		}
	}
	stop(t, n)
	again := startNode(t, serverConfig(dir)) // not asked whether it is ready
	if v := again.Info().Active; v != version.Newest() {
		t.Errorf("started again, it goes by version %s", v)
	}
	stop(t, again)
}

// strange is a placement in a cluster of a version that nobody here knows.
type strange struct{ rpc.Placement }

func (strange) Register(context.Context, beat.Newcomer) (beat.Registration, error) {
	return beat.Registration{}, &shard.VersionError{Cluster: 9, Oldest: 1, Newest: 2}
}

func (strange) JoinMember(context.Context, beat.Candidate) (beat.Admission, error) {
	return beat.Admission{}, &shard.VersionError{Cluster: 9, Oldest: 1, Newest: 2}
}

// TestVersionRefused: a new store, and a new member, that cannot take part in the cluster end with the reason.
func TestVersionRefused(t *testing.T) {
	t.Parallel()
	s, err := newGRPCWire(env.Real{}).Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.ServePlacement(strange{})
	go func() { _ = s.Serve() }()
	t.Cleanup(s.Stop)
	joins := baseConfig("")
	joins.Join, joins.Placement = []string{s.Addr()}, &PlacementConfig{Join: true, Tick: testTick}
	for _, c := range []Config{storeConfig("", s.Addr()), joins} {
		n := startNode(t, c)
		if err := waitDone(t, n); fault.Of(err) != fault.ProgramOld || !strings.Contains(err.Error(), "version 9") {
			t.Errorf("it ends with %v", err)
		}
	}
}
