package node

import (
	"fmt"
	"testing"
)

// TestClusterRestart: a whole cluster comes back from its disks with its data, on other ports.
func TestClusterRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start := func() *Playground {
		p, err := StartPlayground(testContext(t), PlaygroundConfig{DataDir: dir, Listen: "127.0.0.1:0", SplitKeys: []string{"k"},
			Logger: testLogger(), Store: StoreConfig{Tick: testTick}, Placement: PlacementConfig{Tick: testTick}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
		if err := p.Ready(testContext(t)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := start()
	put(t, "a", "1", first.Nodes...)
	put(t, "z", "2", first.Nodes...)
	cluster := first.Nodes[0].Info().Cluster
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	again := start()
	if got := again.Nodes[0].Info().Cluster; got != cluster {
		t.Fatalf("cluster %s came back as %s", cluster, got)
	}
	if a, z := get(t, "a", again.Nodes...), get(t, "z", again.Nodes...); a != "1" || z != "2" {
		t.Fatalf("a = %q, z = %q", a, z)
	}
}

// TestStoresWithoutPlacement: stores that start while placement is away find each other at the addresses that they
// remember, and serve. Nobody needs placement's address any more either, once it is back.
func TestStoresWithoutPlacement(t *testing.T) {
	t.Parallel()
	pdir := t.TempDir()
	pc := placementConfig(pdir)
	pc.Placement.Replicas = 3
	p := startReady(t, pc)
	var stores []*Node
	var dirs []string
	for range 3 {
		dirs = append(dirs, t.TempDir())
		stores = append(stores, startReady(t, storeConfig(dirs[len(dirs)-1], p.Addr())))
	}
	put(t, "a", "1", stores...)
	stopAll(t, append(stores, p)...)

	var again []*Node
	for i, n := range stores {
		c := storeConfig(dirs[i], "127.0.0.1:1") // of no use: they remember
		c.Listen = n.Addr()
		again = append(again, startNode(t, c))
	}
	if got := get(t, "a", again...); got != "1" {
		t.Fatalf("a = %q without placement", got)
	}
	put(t, "b", "2", again...)
	for _, n := range again {
		if n.ready() {
			t.Fatal("a store is ready that placement did not hear")
		}
	}
	pc.Listen = p.Addr()
	startReady(t, pc)
	for i, n := range again {
		if err := n.Ready(testContext(t)); err != nil {
			t.Fatalf("%s: %v", fmt.Sprint("store ", i), err)
		}
	}
}
