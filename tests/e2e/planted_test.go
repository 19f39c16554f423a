package e2e

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/bug"
)

// TestNemesisFindsPlantedBugs proves that TestNemesis sees what it should: with one of these bugs in every node, one of
// its workloads does. It needs a build that holds them: go test -tags bugs ./tests/e2e -run TestNemesisFinds
func TestNemesisFindsPlantedBugs(t *testing.T) {
	if !bug.Built {
		t.Skip("this build has no planted bugs")
	}
	seed := setting(t, "SKERRY_NEMESIS_SEED", uint64(time.Now().UnixNano()))
	t.Logf("SKERRY_NEMESIS_SEED=%d", seed)
	for _, name := range []string{"follower-reads-alone", "response-before-sync"} {
		t.Run(name, func(t *testing.T) {
			if _, ok := bug.Find(name); !ok {
				t.Fatal("there is no such bug")
			}
			c := New(t, Options{Lossy: true, Hurtful: true, MemTableBytes: 1 << 20, Bug: name,
				SplitKeys: []string{"g04", "g08", "g12", "l/", "s/", "s/8", "t"}})
			s := newSoak(c, seed, false)
			err := s.begin()
			if err == nil {
				err = s.run(t, time.Minute, 10*time.Second)
			}
			if err == nil {
				err = s.judge(t)
			}
			if err == nil {
				t.Fatal("nobody noticed")
			}
			t.Logf("found: %.500v", err)
		})
	}
}
