package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/rpc"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/tests/ports"
)

// startMembers starts a placement of several members, each a node of its own, and waits for the cluster.
func startMembers(t *testing.T, count int) []*Node {
	t.Helper()
	members := make(map[uint64]string)
	for i, addr := range ports.Free(t, count) {
		members[uint64(i+1)] = addr
	}
	var nodes []*Node
	for i := range count {
		c := placementConfig("")
		c.Placement.ID, c.Placement.Members = uint64(i+1), members
		c.Listen = members[c.Placement.ID]
		c.Placement.Tick = 2 * testTick // the last must be there before the first two have elected
		nodes = append(nodes, startNode(t, c))
	}
	for _, n := range nodes {
		if err := n.Ready(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// follower is a node whose placement member does not lead.
func follower(t *testing.T, nodes []*Node) *Node {
	t.Helper()
	for ctx := testContext(t); ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		for i, n := range nodes {
			if n.Placement().Cluster() != 0 {
				return nodes[(i+1)%len(nodes)]
			}
		}
	}
	t.Fatal("no placement member leads")
	return nil
}

// TestJoinByOneAddress: a store finds the leader from the address of any node: a placement member that follows, or
// another store.
func TestJoinByOneAddress(t *testing.T) {
	t.Parallel()
	members := startMembers(t, 3)
	one := startReady(t, storeConfig("", follower(t, members).Addr()))
	two := startReady(t, storeConfig("", one.Addr()))
	_, a := identOf(t, one)
	_, b := identOf(t, two)
	if a == b {
		t.Fatalf("two stores are %s", a)
	}
	put(t, "k", "v", one, two)
}

// TestAsk: whom a search asks and how it ends.
func TestAsk(t *testing.T) {
	t.Parallel()
	wire := newGRPCWire(env.Real{})
	defer func() { _ = wire.Close() }()
	addrs := ports.Free(t, 3)
	wrong := &shard.WrongClusterError{Want: 1, Have: 2}
	notLeader := &shard.NotLeaderError{Shard: shard.MetaID}
	away := fmt.Errorf("dial: %w", shard.ErrUnavailable)
	for _, c := range []struct {
		name    string
		answers []error // of each member asked, in turn
		asked   int
		check   func(err error) bool
	}{
		{"the first leads", []error{nil}, 1, func(err error) bool { return err == nil }},
		{"the last leads", []error{away, notLeader, nil}, 3, func(err error) bool { return err == nil }},
		{"a reused address does not end the search", []error{wrong, nil}, 2, func(err error) bool { return err == nil }},
		{"nobody leads: not final", []error{wrong, notLeader, away}, 3, func(err error) bool { _, is := wrongCluster(err); return !is && !invalid(err) }},
		{"only others answer: final", []error{away, wrong, away}, 3, func(err error) bool { _, is := wrongCluster(err); return is }},
		{"nobody answers", []error{away, away, away}, 3, func(err error) bool {
			return strings.Count(err.Error(), "; ") == 2 && !strings.Contains(err.Error(), "\n")
		}},
		{"a refusal ends it", []error{&shard.InvalidError{Why: "no"}}, 1, invalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, asked := newDirectory(env.Real{}, wire, addrs), 0
			err := d.ask(testContext(t), func(context.Context, rpc.Placement) error {
				asked++
				return c.answers[asked-1]
			})
			if asked != c.asked || !c.check(err) {
				t.Fatalf("asked %d of %d: %v", asked, c.asked, err)
			}
		})
	}
}

// stepEnv has a clock that the test moves.
type stepEnv struct {
	env.Real
	now env.Time
}

func (e *stepEnv) Now() env.Time { return e.now }

// TestSparseLog: a state that lasts is told after a while, and then now and again.
func TestSparseLog(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	e := &stepEnv{}
	l := newSparseLog(e, slog.New(slog.NewTextHandler(&out, nil)))
	var lines []int
	for range 300 { // 30 s
		l.info("waits", "err", errors.New("why"))
		lines = append(lines, strings.Count(out.String(), "\n"))
		e.now = e.now.Add(agentPoll)
	}
	if lines[19] != 0 || lines[20] != 1 || lines[119] != 1 || lines[120] != 2 || lines[299] != 3 {
		t.Fatalf("lines at 2, 12 and 30 s: %d %d, %d %d, %d", lines[19], lines[20], lines[119], lines[120], lines[299])
	}
	if !strings.Contains(out.String(), "err=why") {
		t.Fatal(out.String())
	}
}

// TestRegisterAtOnce: stores that register in the same moment get ids of their own.
func TestRegisterAtOnce(t *testing.T) {
	t.Parallel()
	p := startReady(t, placementConfig(""))
	var stores []*Node
	for range 4 {
		stores = append(stores, startNode(t, storeConfig("", p.Addr())))
	}
	ids := make(map[shard.StoreID]bool)
	for _, n := range stores {
		if err := n.Ready(testContext(t)); err != nil {
			t.Fatal(err)
		}
		_, id := identOf(t, n)
		ids[id] = true
	}
	if len(ids) != len(stores) {
		t.Fatalf("%d stores have ids %v", len(stores), ids)
	}
}

// TestKilledWhileRegistering: a node that dies between its registration and its first heartbeat. Before it wrote down
// who it is, its id is lost and nobody waits for it; afterwards it comes back as the same store.
func TestKilledWhileRegistering(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	p := startReady(t, placementConfig(""))
	lost, err := p.wire.Placement(p.Addr()).Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	written, err := p.wire.Placement(p.Addr()).Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	fresh := startReady(t, storeConfig("", p.Addr()))
	if _, id := identOf(t, fresh); id == lost.Store || id == written.Store {
		t.Fatalf("id %s was given twice", id)
	}
	_, d := leaderOf(t, "a", fresh) // the first shard does not wait for stores that were never heard
	if d.Replicas[0].Store == lost.Store {
		t.Fatalf("%v is on a store that never was", d)
	}
	dir := t.TempDir()
	setIdent(t, dir, engine.Ident{Cluster: written.Cluster, Store: written.Store, Format: engine.FormatVersion})
	back := startReady(t, storeConfig(dir, p.Addr()))
	if _, id := identOf(t, back); id != written.Store {
		t.Fatalf("%s came back as %s", written.Store, id)
	}
}

// TestRemovedStore: a removed store stops, says so, and does so again when it is started again.
func TestRemovedStore(t *testing.T) {
	t.Parallel()
	p := startReady(t, placementConfig(""))
	keeps := startReady(t, storeConfig("", p.Addr()))
	leaderOf(t, "a", keeps)
	dir := t.TempDir()
	goes := startReady(t, storeConfig(dir, p.Addr()))
	_, id := identOf(t, goes)
	if err := p.Placement().RemoveStore(testContext(t), id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := waitDone(t, goes)
		if !strings.Contains(err.Error(), id.String()+" was removed from the cluster") {
			t.Fatal(err)
		}
		stop(t, goes)
		goes = startNode(t, storeConfig(dir, p.Addr()))
	}
	put(t, "a", "1", keeps)
}

// TestCloseWhileRegistering: Close in any moment of a start ends everything that the start began.
func TestCloseWhileRegistering(t *testing.T) {
	t.Parallel()
	p := startReady(t, placementConfig(""))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			n, err := Start(context.Background(), storeConfig("", p.Addr()))
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(time.Duration(i) * 10 * time.Millisecond)
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
