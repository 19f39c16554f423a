package sim

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/bug"
)

// TestWorlds: a few worlds hold, and leave no goroutine behind. `make sim` runs many.
func TestWorlds(t *testing.T) {
	Run(Options{Seed: 1, Set: []string{"nemeses=crash"}}) // what libraries start once stays
	before := runtime.NumGoroutine()
	for seed := uint64(2); seed <= 9; seed++ {
		r := Run(Options{Seed: seed, Set: []string{"nemeses=" + strings.Join(closable(draw(seed).Nemeses), "+")}})
		if r.Err != "" {
			t.Errorf("%s\n%s", r.Knobs, r.Err)
		}
		if r.Operations < 10 {
			t.Errorf("seed %d: only %d operations", seed, r.Operations)
		}
	}
	var now int
	for range 100 { // engines that were closed end their goroutines a moment later
		if now = runtime.NumGoroutine(); now <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, %d after:\n%s", before, now, buf[:runtime.Stack(buf, true)])
}

// closable leaves out the faults after which an engine cannot be closed: the end of its process would take it away.
func closable(nemeses []string) []string {
	return slices.DeleteFunc(slices.Clone(nemeses), func(n string) bool { return n == "disk-full" || n == "fail-sync" || n == "corrupt" })
}

// TestSameSeedSameWorld: a seed gives the same world, event for event; a salt gives another one.
func TestSameSeedSameWorld(t *testing.T) {
	for _, seed := range []uint64{11, 12} {
		var a, b strings.Builder
		one, two := Run(Options{Seed: seed, Trace: &a, Steps: true}), Run(Options{Seed: seed, Trace: &b, Steps: true})
		if one.Fingerprint != two.Fingerprint || a.String() != b.String() {
			la, lb := strings.Split(a.String(), "\n"), strings.Split(b.String(), "\n")
			for i := range min(len(la), len(lb)) {
				if la[i] != lb[i] {
					t.Errorf("seed %d parts at line %d:\n%s\n%s", seed, i, la[i], lb[i])
					break
				}
			}
		}
		if salted := Run(Options{Seed: seed, Salt: 1}); salted.Fingerprint == one.Fingerprint {
			t.Errorf("seed %d: a salt changes nothing", seed)
		}
	}
}

// TestPlantedBugs: the worlds find what they should, in a build that has it.
func TestPlantedBugs(t *testing.T) {
	if !bug.Built {
		t.Skip("this build has no planted bugs: go test -tags bugs ./tests/sim")
	}
	for _, name := range []string{"response-before-sync", "applied-later", "follower-reads-alone", "send-again"} {
		found := false
		for seed := uint64(1); seed <= 40 && !found; seed++ {
			found = Run(Options{Seed: seed, Bug: name}).Err != ""
		}
		if !found {
			t.Errorf("%s was not found in 40 worlds", name)
		}
	}
}

// TestOverrides: knobs are set by name, and nonsense is refused.
func TestOverrides(t *testing.T) {
	k := draw(1)
	if err := k.set([]string{"stores=3", "nemeses=crash+pause", "loss=0.5", "faults=3s", "strategy=pct"}); err != nil {
		t.Fatal(err)
	}
	if k.Stores != 3 || len(k.Nemeses) != 2 || k.Net.Loss != 0.5 || k.Faults != 3*time.Second || k.Strategy != "pct" {
		t.Errorf("%s", k)
	}
	for _, bad := range []string{"stores=99", "what=1", "stores", "nemeses=love", "faults=x", "strategy=none"} {
		if k.set([]string{bad}) == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

// TestShrink: of a failure that needs one kind of fault only that one is left, and the fewest of the rest.
func TestShrink(t *testing.T) {
	k := draw(1)
	k.Nemeses = []string{"crash", "pause", "hang"}
	fails := func(o Options) string {
		k := *k
		if err := k.set(o.Set); err != nil {
			t.Fatal(err)
		}
		for _, n := range k.Nemeses {
			if n == "pause" && k.Clients >= 2 && o.Salt%2 == 1 {
				return "history: bad"
			}
		}
		return "liveness: other"
	}
	small := Shrink(Options{Seed: 1}, k, "history: bad", fails, func(Options, bool) {})
	got := *k
	if err := got.set(small.Set); err != nil {
		t.Fatal(err)
	}
	if len(got.Nemeses) != 1 || got.Nemeses[0] != "pause" || got.Stores != 3 || got.Clients < 2 || got.Clients > 3 || fails(small) != "history: bad" {
		t.Errorf("shrunk to %s", small.Command())
	}
}
