package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/skerrydb/skerry/tests/states"
)

// tally adds up results and prints how it goes.
type tally struct {
	begun, printed        time.Time
	worlds, failed        int
	simulated             time.Duration
	steps, messages       uint64
	operations, ambiguous int
	kinds                 map[string]int
	looks                 map[string]int   // as in sim.Result
	rows                  map[string][]int // as in sim.Result
}

func newTally() *tally {
	return &tally{begun: time.Now(), printed: time.Now(), kinds: make(map[string]int), looks: make(map[string]int), rows: make(map[string][]int)}
}

func (t *tally) add(l *line) {
	t.worlds++
	t.simulated += l.Simulated
	t.steps += l.Steps
	t.messages += l.Messages
	t.operations += l.Operations
	t.ambiguous += l.Ambiguous
	if l.Err != "" {
		t.failed++
		t.kinds[l.Kind]++
	}
	for name, n := range l.Looks {
		t.looks[name] += n
	}
	for name, n := range l.Rows {
		sum := t.rows[name]
		for len(sum) < len(n) {
			sum = append(sum, 0)
		}
		for i := range n {
			sum[i] += n[i]
		}
		t.rows[name] = sum
	}
	if time.Since(t.printed) > 10*time.Second {
		t.print(false)
	}
}

func (t *tally) print(final bool) {
	t.printed = time.Now()
	took := time.Since(t.begun)
	what := "so far"
	if final {
		what = "done"
	}
	fmt.Printf("%s: %d worlds, %d failed %v, %.1f simulated hours in %s (%.0f simulated seconds per second), %d operations (%d ambiguous), %d messages, %d steps\n",
		what, t.worlds, t.failed, t.kinds, t.simulated.Hours(), took.Round(time.Second), t.simulated.Seconds()/took.Seconds(), t.operations, t.ambiguous, t.messages, t.steps)
}

// printLooks says how often each monitor had something to look at: one that never had watched nothing.
func (t *tally) printLooks() {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(t.looks)) {
		out = append(out, fmt.Sprintf("%s %d", name, t.looks[name]))
	}
	fmt.Printf("monitors looked: %s\n", strings.Join(out, ", "))
}

// printRows lists the rows of the tables of states that no world took: what nobody saw working.
func (t *tally) printRows() {
	all, missed := 0, []string{}
	for _, c := range states.All() {
		n := t.rows[c.Name]
		for i, r := range c.Rows {
			all++
			if i >= len(n) || n[i] == 0 {
				missed = append(missed, c.Name+": "+r.String())
			}
		}
	}
	fmt.Printf("%d of %d rows of the tables of states were never taken\n", len(missed), all)
	for _, m := range missed {
		fmt.Println("  " + m)
	}
}
