package node

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skerrydb/skerry/raftstore"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// TestMain: whatever starts in these tests ends with Close.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testTick makes elections quick; the machines that run the tests are slow, so not too quick.
const testTick = 30 * time.Millisecond

// testCapacity is how much of the machine's disk each store takes for its own, so that it does not matter how full that is.
const testCapacity = 16 << 30

func testLogger() *slog.Logger {
	if testing.Verbose() {
		return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	return slog.New(slog.DiscardHandler)
}

// testContext ends with the test's patience.
func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// baseConfig is a node on a free port, in memory if dir is empty.
func baseConfig(dir string) Config {
	return Config{Listen: "127.0.0.1:0", DataDir: dir, Memory: dir == "", Logger: testLogger()}
}

// serverConfig is a node with both roles: a cluster of one replica.
func serverConfig(dir string) Config {
	c := placementConfig(dir)
	c.Store = &StoreConfig{Tick: testTick, CapacityBytes: testCapacity}
	return c
}

func placementConfig(dir string) Config {
	c := baseConfig(dir)
	c.Placement = &PlacementConfig{ID: 1, Bootstrap: true, Replicas: 1, Tick: testTick}
	return c
}

func storeConfig(dir string, join ...string) Config {
	c := baseConfig(dir)
	c.Store = &StoreConfig{Tick: testTick, CapacityBytes: testCapacity}
	c.Join = join
	return c
}

func startNode(t *testing.T, c Config) *Node {
	t.Helper()
	n, err := Start(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, n) })
	return n
}

// startReady starts a node and waits until it is part of a cluster.
func startReady(t *testing.T, c Config) *Node {
	t.Helper()
	n := startNode(t, c)
	if err := n.Ready(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return n
}

func stop(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Errorf("close %s: %v", n.Addr(), err)
	}
}

// stopAll stops nodes at the same time, as a power cut would.
func stopAll(t *testing.T, nodes ...*Node) {
	t.Helper()
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() { stop(t, n) })
	}
	wg.Wait()
}

// identOf is which store of which cluster the node's directory belongs to.
func identOf(t *testing.T, n *Node) (shard.ClusterID, shard.StoreID) {
	t.Helper()
	i := n.Info()
	if i.Cluster == 0 || len(i.Stores) != 1 {
		t.Fatalf("the node's store has no identity: %+v", i)
	}
	return i.Cluster, i.Stores[0]
}

// leaderOf waits until one of the nodes leads the shard of a user key and serves it. It asks, which wakes who sleeps.
func leaderOf(t *testing.T, key string, nodes ...*Node) (*raftstore.Store, *shard.Descriptor) {
	t.Helper()
	ctx := testContext(t)
	for ; ctx.Err() == nil; time.Sleep(10 * time.Millisecond) {
		for _, n := range nodes {
			for _, s := range n.stores() {
				if d := leads(ctx, s, shard.RawKey([]byte(key))); d != nil {
					return s, d
				}
			}
		}
	}
	t.Fatalf("nobody leads the shard of %q", key)
	return nil, nil
}

// leads returns the shard of a key if the store leads it.
func leads(ctx context.Context, s *raftstore.Store, key shard.Key) *shard.Descriptor {
	infos, err := s.Status(ctx, 0)
	if err != nil {
		return nil
	}
	for _, i := range infos {
		if i.Desc == nil || !i.Desc.Range.Contains(key) {
			continue
		}
		rep := s.Do(ctx, &call.Request{Kind: call.Refresh, Shard: i.Desc.ID, Epoch: i.Desc.Epoch, Timeout: time.Second})
		if rep.Err == nil {
			return i.Desc
		}
	}
	return nil
}

// put writes a key at its leader.
func put(t *testing.T, key, value string, nodes ...*Node) {
	t.Helper()
	s, d := leaderOf(t, key, nodes...)
	ref := s.Do(testContext(t), &call.Request{Kind: call.Refresh, Shard: d.ID, Epoch: d.Epoch})
	if ref.Err != nil {
		t.Fatal(ref.Err)
	}
	cmd := raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: shard.RawKey([]byte(key)), Value: []byte(value)}}}
	rep := s.Do(testContext(t), &call.Request{Kind: call.Write, Shard: d.ID, Epoch: d.Epoch, Timeout: 10 * time.Second,
		Op: call.OpID{Client: 1, Seq: uint64(time.Now().UnixNano())}, Term: ref.Term, Since: ref.Applied, Body: cmd.Append(nil)})
	if rep.Err != nil {
		t.Fatalf("put %q: %v", key, rep.Err)
	}
}

// get reads a key at its leader, linearizably.
func get(t *testing.T, key string, nodes ...*Node) string {
	t.Helper()
	s, d := leaderOf(t, key, nodes...)
	q := raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte(key))}}
	rep := s.Do(testContext(t), &call.Request{Kind: call.Read, Shard: d.ID, Epoch: d.Epoch, Timeout: 10 * time.Second, Body: q.Append(nil)})
	if rep.Err != nil {
		t.Fatalf("get %q: %v", key, rep.Err)
	}
	a, err := raw.DecodeAnswer(rep.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(a.Rows[0].Value)
}

// waitDone waits until the node stopped by itself and returns why.
func waitDone(t *testing.T, n *Node) error {
	t.Helper()
	select {
	case <-n.Done():
		return n.Err()
	case <-testContext(t).Done():
		t.Fatal("the node goes on")
		return nil
	}
}
