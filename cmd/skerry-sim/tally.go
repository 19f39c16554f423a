package main

import (
	"fmt"
	"time"
)

// tally adds up results and prints how it goes.
type tally struct {
	begun, printed        time.Time
	worlds, failed        int
	simulated             time.Duration
	steps, messages       uint64
	operations, ambiguous int
	kinds                 map[string]int
}

func newTally() *tally {
	return &tally{begun: time.Now(), printed: time.Now(), kinds: make(map[string]int)}
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
