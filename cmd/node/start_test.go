package node

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/tests/ports"
)

// TestBadStart: what cannot work is refused with an error that says what to do, and leaves nothing behind: afterwards a
// start with the right arguments works, on the same port and in the same directory.
func TestBadStart(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		bad  func(t *testing.T, c *Config)
		want string
	}{
		{"no role", func(t *testing.T, c *Config) { c.Placement, c.Store = nil, nil }, "a node needs a role"},
		{"no directory", func(t *testing.T, c *Config) { c.DataDir = "" }, "--data"},
		{"nowhere to join", func(t *testing.T, c *Config) { c.Placement = nil }, "--join"},
		{"member id", func(t *testing.T, c *Config) { c.Placement.ID = 6 }, "member id 6: it must be 1 to 5"},
		{"not a member", func(t *testing.T, c *Config) { c.Placement.Members = map[uint64]string{2: "a:1"} }, "member id 1 is not among the members [2]"},
		{"two members", func(t *testing.T, c *Config) { c.Placement.Members = map[uint64]string{1: "a:1", 2: "b:1"} }, "use 1, 3 or 5"},
		{"split keys fall", func(t *testing.T, c *Config) { c.Placement.SplitKeys = []string{"b", "a"} }, `split key "a" after "b"`},
		{"split keys twice", func(t *testing.T, c *Config) { c.Placement.SplitKeys = []string{"b", "b"} }, "must ascend"},
		{"split key empty", func(t *testing.T, c *Config) { c.Placement.SplitKeys = []string{""} }, "not be empty"},
		{"no such address", func(t *testing.T, c *Config) { c.Listen = "127.0.0.1:x" }, "listen on 127.0.0.1:x"},
		{"empty placement directory", func(t *testing.T, c *Config) { c.Placement.Bootstrap = false }, "start with --bootstrap"},
		{"port in use", func(t *testing.T, c *Config) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = l.Close() })
			c.Listen = l.Addr().String()
		}, "is another node running there?"},
		{"store directory of another cluster", func(t *testing.T, c *Config) {
			setIdent(t, c.DataDir, engine.Ident{Cluster: 0xabc, Store: 1000, Format: engine.FormatVersion})
		}, "belongs to cluster abc as st1000: this node must not begin another cluster"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := serverConfig(t.TempDir())
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			cfg.Listen = l.Addr().String()
			_ = l.Close()
			good := cfg
			placement := *cfg.Placement
			good.Placement = &placement
			c.bad(t, &cfg)
			n, err := Start(context.Background(), cfg)
			if err == nil {
				stop(t, n)
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got  %v\nwant %s", err, c.want)
			}
			switch {
			case cfg.check() != nil: // nothing was opened
			case strings.Contains(c.name, "another cluster"):
				good.DataDir = t.TempDir()
				startReady(t, good)
			default:
				startReady(t, good)
			}
		})
	}
}

// setIdent makes a store directory that belongs to somebody.
func setIdent(t *testing.T, dir string, i engine.Ident) {
	t.Helper()
	onEngine(t, filepath.Join(dir, partStore), func(e *engine.Engine) error { return e.SetIdent(i) })
}

// onEngine does something to the directory of a part whose node is down.
func onEngine(t *testing.T, dir string, f func(e *engine.Engine) error) {
	t.Helper()
	e, err := engine.Open(dir, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := f(e); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDirectoryInUse: a second node is refused, and the first one does not notice.
func TestDirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startReady(t, serverConfig(dir))
	put(t, "a", "1", first)
	_, err := Start(context.Background(), serverConfig(dir))
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second node in %s: %v", dir, err)
	}
	t.Log(err)
	if got := get(t, "a", first); got != "1" {
		t.Fatalf("a = %q", got)
	}
	// Only one of the two directories is shared: the other is let go again.
	c := storeConfig("", first.Addr())
	c.Memory, c.DataDir = false, dir
	if _, err := Start(context.Background(), c); err == nil {
		t.Fatal("a store was started in a directory that is in use")
	}
}

// TestMemberDirectoryOfAnother: a member does not start with another member's directory, whose votes are not its own.
func TestMemberDirectoryOfAnother(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop(t, startReady(t, placementConfig(dir)))
	c := placementConfig(dir)
	c.Placement.ID = 2
	_, err := Start(context.Background(), c)
	if err == nil || !strings.Contains(err.Error(), "belongs to member 1, not to member 2 (--member-id)") {
		t.Fatalf("started as member 2: %v", err)
	}
	startReady(t, placementConfig(dir))
}

// TestDirectoriesOfTwoClusters: placement and store of one node must be of one cluster.
func TestDirectoriesOfTwoClusters(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stop(t, startReady(t, placementConfig(dir)))
	setIdent(t, dir, engine.Ident{Cluster: 0xabc, Store: 1000, Format: engine.FormatVersion})
	_, err := Start(context.Background(), serverConfig(dir))
	if err == nil || !strings.Contains(err.Error(), "the store directory belongs to cluster abc as st1000, the placement directory beside it to cluster") {
		t.Fatalf("started: %v", err)
	}
	startReady(t, placementConfig(dir))
}

// TestLostMemberDirectory: a member that lost its directory does not begin a second cluster while the first is there.
func TestLostMemberDirectory(t *testing.T) {
	t.Parallel()
	nodes := startMembers(t, 3)
	members := nodes[0].cfg.Placement.Members
	stop(t, nodes[2])
	c := placementConfig("")
	c.Listen, c.Placement.ID, c.Placement.Members = members[3], 3, members
	_, err := Start(context.Background(), c)
	if err == nil || !strings.Contains(err.Error(), "has taken part in this cluster before") {
		t.Fatalf("member 3 began again: %v", err)
	}
}

// TestForeignStore: a store that is pointed at another cluster's placement stops, and says what belongs to what.
func TestForeignStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own := startReady(t, serverConfig(dir))
	cluster, id := identOf(t, own)
	put(t, "a", "1", own)
	stop(t, own)

	other := startReady(t, serverConfig(""))
	otherCluster, _ := identOf(t, other)
	lost := startNode(t, storeConfig(dir, other.Addr()))
	err := waitDone(t, lost)
	for _, want := range []string{cluster.String(), id.String(), otherCluster.String(), "--join", "--data"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	stop(t, lost)

	back := startReady(t, serverConfig(dir))
	if got := get(t, "a", back); got != "1" {
		t.Fatalf("a = %q after the visit", got)
	}
}

// TestLateMember: a member whose first start comes when the others have elected already joins their cluster, and only
// once.
func TestLateMember(t *testing.T) {
	t.Parallel()
	members := make(map[uint64]string)
	for i, addr := range ports.Free(t, 3) {
		members[uint64(i+1)] = addr
	}
	config := func(id uint64) Config {
		c := placementConfig("")
		c.Listen, c.Placement.ID, c.Placement.Members = members[id], id, members
		return c
	}
	ctx := testContext(t)
	lead := startNode(t, config(1))
	for _, n := range []*Node{lead, startNode(t, config(2))} {
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	// It has asked before, and died before it heard the answer or wrote anything else.
	late, token := config(3), uint64(0)
	late.DataDir, late.Memory = t.TempDir(), false
	onEngine(t, filepath.Join(late.DataDir, partPlacement), func(e *engine.Engine) (err error) {
		token, err = tokenOf(env.Real{}, e)
		return err
	})
	if err := lead.dir.ask(ctx, func(ctx context.Context, p rpc.Placement) error {
		_, err := p.JoinMember(ctx, beat.Candidate{Versions: version.Ours(), Member: 3, Token: token})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	first := startNode(t, late)
	if err := first.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for first.member.knownCluster() == 0 {
		if err := first.env.Sleep(ctx, agentPoll); err != nil {
			t.Fatal("the late member has not caught up")
		}
	}
	stop(t, first)
	if _, err := Start(ctx, config(3)); err == nil || !strings.Contains(err.Error(), "has taken part in this cluster before") {
		t.Fatalf("member 3 began a second time: %v", err)
	}
}

// TestLateMemberBesideStore: the store of a node registers while its member still waits to be let in; if the process ends
// then, the next one goes on. A member that has taken part, and lost its directory, is refused, also beside its store.
func TestLateMemberBesideStore(t *testing.T) {
	t.Parallel()
	members := make(map[uint64]string)
	for i, addr := range ports.Free(t, 3) {
		members[uint64(i+1)] = addr
	}
	config := func(id uint64) Config {
		c := placementConfig("")
		c.Listen, c.Placement.ID, c.Placement.Members = members[id], id, members
		return c
	}
	ctx := testContext(t)
	for _, n := range []*Node{startNode(t, config(1)), startNode(t, config(2))} {
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	late := config(3)
	late.DataDir, late.Memory, late.Store = t.TempDir(), false, &StoreConfig{Tick: testTick, CapacityBytes: testCapacity}
	alone := late // the store of that node, as it is after the member did not get so far
	alone.Placement, alone.Join = nil, []string{members[1]}
	n := startReady(t, alone)
	_, id := identOf(t, n)
	stop(t, n)
	n = startReady(t, late)
	for n.member.knownCluster() == 0 {
		if err := n.env.Sleep(ctx, agentPoll); err != nil {
			t.Fatal("the late member has not caught up")
		}
	}
	if _, again := identOf(t, n); again != id {
		t.Fatalf("the store was %s and is %s", id, again)
	}
	stop(t, n)
	if err := os.RemoveAll(filepath.Join(late.DataDir, partPlacement)); err != nil {
		t.Fatal(err)
	}
	if n, err := Start(ctx, late); err == nil || !strings.Contains(err.Error(), "has taken part in this cluster before") {
		if n != nil {
			stop(t, n)
		}
		t.Fatalf("member 3 began a second time: %v", err)
	}
}
