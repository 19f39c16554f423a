package e2e

import (
	"context"
	"testing"
	"time"
)

// TestRollingRestart stops and starts all three nodes one after the other, each with a store and a placement member, under
// a steady load of puts. No put may fail; how the latency is meanwhile is told beside that of before.
//
// Leaderships are handed over, so that no shard waits for an election: the longest put is asserted to be well below what a
// killed store costs (an election timeout and more), which a test on a loaded machine can only do generously.
func TestRollingRestart(t *testing.T) {
	const shards, rate = 12, 200
	c := New(t, Options{SplitKeys: splitKeys(shards)})
	l := startSteady(c, shards, rate)
	time.Sleep(time.Second)
	l.take()
	time.Sleep(3 * time.Second)
	calm := l.take()
	for _, p := range c.Nodes {
		led := len(ledBy(context.Background(), t, c, p.Addr()))
		took := p.Stop()
		t.Logf("node %d stopped in %s, with %d leaderships to give away", p.Index+1, took.Round(time.Millisecond), led)
		p.Start()
		settle(t, c)
	}
	rolling := l.take()
	l.stop()
	t.Logf("before:         %d puts, p50 %s, p99 %s, longest %s", len(calm), quantile(calm, 0.5), quantile(calm, 0.99), quantile(calm, 1))
	t.Logf("while it rolls: %d puts, p50 %s, p99 %s, longest %s", len(rolling), quantile(rolling, 0.5), quantile(rolling, 0.99), quantile(rolling, 1))
	if err := l.failed(); err != nil {
		t.Fatal(err)
	}
	sameOnAllReplicas(t, c)
}
