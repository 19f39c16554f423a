package e2e

import (
	"math/rand/v2"
	"testing"
	"time"
)

// gcKeep is how long versions are kept in TestNemesisTxn.
const gcKeep = 10 * time.Second

// TestNemesisTxn is TestNemesis with transactions over several shards: appends to lists, judged by the cycles that no
// isolation allows, and money that moves between accounts. Beside the nodes' deaths, pauses and partitions, shards are
// split and moved under them.
//
// SKERRY_TXN_MINUTES makes it longer, SKERRY_NEMESIS_NODES wider, SKERRY_NEMESIS_SEED repeats what is tried, and
// SKERRY_NEMESIS_DISK=real keeps what is not synced through a kill.
func TestNemesisTxn(t *testing.T) {
	t.Parallel()
	length, every := 6*time.Second, 5*time.Second
	minutes := setting(t, "SKERRY_TXN_MINUTES", 0)
	if minutes > 0 {
		length, every = time.Duration(minutes)*time.Minute, 10*time.Second
	}
	seed := setting(t, "SKERRY_NEMESIS_SEED", rand.Uint64())
	nodes := int(setting(t, "SKERRY_NEMESIS_NODES", 3))
	lossy := textSetting("SKERRY_NEMESIS_DISK", "lossy") == "lossy"
	t.Logf("SKERRY_NEMESIS_SEED=%d SKERRY_NEMESIS_NODES=%d lossy disks: %v", seed, nodes, lossy)
	c := New(t, Options{Nodes: nodes, Lossy: lossy, Hurtful: true, MemTableBytes: 1 << 20})
	s := &soak{c: c, trial: newTrial(c.DB), seed: seed, least: 20}
	if minutes > 0 {
		s.least = 200
	}
	s.nemesis = newNemesis(c, s.trial, seed, minutes > 1)
	// Versions are collected under it by themselves; transactions are over sooner than that.
	if _, err := c.DB.Admin().SetGCKeep(t.Context(), gcKeep); err != nil {
		t.Fatal(err)
	}
	s.add(newTxnLists(s.trial), 6)
	s.add(newTxnBank(s.trial), 5)
	if err := s.begin(); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t, length, every); err != nil {
		t.Fatal(err)
	}
	if err := s.judge(t); err != nil {
		t.Fatal(err)
	}
	if p, err := c.DB.Admin().SafePoints(t.Context()); minutes > 0 && (err != nil || p.Collect == 0) {
		t.Errorf("nothing was collected: %+v, %v", p, err)
	}
	s.checkUse(t, minutes >= 5)
}
