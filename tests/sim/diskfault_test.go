package sim

import (
	"slices"
	"testing"
)

// TestDiskFaults: whatever is wrong with disks, the stores behind them stop or do not start, for a reason that says so,
// and nothing else happens; and each fault is found at a moment that replays.
func TestDiskFaults(t *testing.T) {
	for name, wants := range map[string][]string{
		"disk-full": {"disk-full"},
		"fail-sync": {"fail-sync: write-ahead log", "fail-sync: staged tables"},
		"corrupt":   {"corrupt: the tables", "corrupt: a record of the log", "refused: corruption"},
	} {
		all := make(map[string]int)
		wants = append(wants, "torn-tail")
		missing := func(want string) bool { return all[want] == 0 }
		for seed := uint64(1); seed <= 4 || seed <= 40 && slices.ContainsFunc(wants, missing); seed++ {
			o := Options{Seed: seed, Set: []string{"nemeses=" + name + "+crash", "faults=12s"}}
			one := Run(o)
			if one.Err != "" {
				t.Errorf("%s\n%s", o.Command(), one.Err)
			}
			if seed <= 4 && one.Fingerprint != Run(o).Fingerprint {
				t.Errorf("%s does not replay", o.Command())
			}
			for fault, n := range one.Faults {
				all[fault] += n
			}
		}
		for _, want := range wants {
			if missing(want) {
				t.Errorf("%s: nobody met %q: %v", name, want, all)
			}
		}
	}
}
