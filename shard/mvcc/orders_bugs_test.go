//go:build bugs

package mvcc_test

import (
	"testing"

	"github.com/skerrydb/skerry/internal/bug"
)

// TestOrdersFindBugs: what breaks the protocol is found among all orders, at once.
func TestOrdersFindBugs(t *testing.T) {
	for _, name := range []string{"reader-passes-lock", "no-rollback-record", "min-commit-not-pushed", "conflict-unchecked",
		"commit-after-rollback", "heartbeat-revives", "async-rolled-back", "asked-not-buried"} {
		b, ok := bug.Find(name)
		if !ok {
			t.Fatalf("no bug is called %s", name)
		}
		bug.Plant(b)
		found, states := "", 0
		for _, s := range scenarios {
			n, err := s.search(100_000)
			states += n
			if err != nil {
				found = s.name + ": " + err.Error()
				break
			}
		}
		bug.Plant(bug.None)
		if found == "" {
			t.Errorf("%s is not found in %d states", name, states)
			continue
		}
		t.Logf("%s is found after %d states: %s", name, states, found)
	}
}
