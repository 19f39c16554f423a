package sim

import "testing"

// TestDiskFaults: whatever is wrong with disks, the stores behind them stop or do not start, for a reason that says so,
// and nothing else happens; and each fault is found at a moment that replays.
func TestDiskFaults(t *testing.T) {
	for name, wants := range map[string][]string{
		"disk-full": {"disk-full"},
		"fail-sync": {"fail-sync: write-ahead log", "fail-sync: staged tables"},
		"corrupt":   {"corrupt: the tables", "corrupt: a record of the log", "refused: corruption"},
	} {
		all := make(map[string]int)
		for seed := uint64(1); seed <= 4; seed++ {
			o := Options{Seed: seed, Set: []string{"nemeses=" + name + "+crash", "faults=12s"}}
			one, two := Run(o), Run(o)
			if one.Err != "" {
				t.Errorf("%s\n%s", o.Command(), one.Err)
			}
			if one.Fingerprint != two.Fingerprint {
				t.Errorf("%s does not replay", o.Command())
			}
			for fault, n := range one.Faults {
				all[fault] += n
			}
		}
		for _, want := range append(wants, "torn-tail") {
			if all[want] == 0 {
				t.Errorf("%s: nobody met %q: %v", name, want, all)
			}
		}
	}
}
