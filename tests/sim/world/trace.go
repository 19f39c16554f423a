package world

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"time"
)

// Trace is everything that happened, as a running hash and, if somebody wants to read it, as lines.
//
// A fingerprint covers every step of every task and every line. Two runs of a seed are equal if their fingerprints are;
// if not, the checkpoints (one every checkpointSteps) say where they part.
type Trace struct {
	hash  uint64
	count uint64
	out   *bufio.Writer
	steps bool // also the steps, one line each
	// checkpoints are the hashes after every checkpointSteps items.
	checkpoints []uint64
}

const checkpointSteps = 4096

func newTrace() *Trace { return &Trace{hash: 14695981039346656037} }

// Print writes lines to out from now on, with steps also one for every step of a task.
func (t *Trace) Print(out io.Writer, steps bool) { t.out, t.steps = bufio.NewWriter(out), steps }

// Flush writes what is buffered.
func (t *Trace) Flush() {
	if t.out != nil {
		_ = t.out.Flush()
	}
}

// Fingerprint is the hash of everything so far.
func (t *Trace) Fingerprint() uint64 { return t.hash }

// Count is how many items the fingerprint covers.
func (t *Trace) Count() uint64 { return t.count }

// Checkpoints are the fingerprints after every 4096 items.
func (t *Trace) Checkpoints() []uint64 { return t.checkpoints }

func (t *Trace) mix(v uint64) {
	for range 8 {
		t.hash = (t.hash ^ v&0xff) * 1099511628211
		v >>= 8
	}
}

func (t *Trace) item() {
	t.count++
	if t.count%checkpointSteps == 0 {
		t.checkpoints = append(t.checkpoints, t.hash)
	}
}

func (t *Trace) step(now time.Duration, task *Task) {
	t.mix(uint64(now))
	t.mix(task.id)
	t.item()
	if t.steps && t.out != nil {
		fmt.Fprintf(t.out, "%11.6f %-8s  step %s#%d\n", now.Seconds(), task.machine.name, task.name, task.id)
	}
}

// Note adds two numbers to the hash, and a line if steps are printed. It is for what happens often.
func (m *Machine) Note(what string, a, b uint64) {
	w := m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.Trace
	t.mix(a)
	t.mix(b)
	t.item()
	if t.steps && t.out != nil {
		fmt.Fprintf(t.out, "%11.6f %-8s  %s %d %x\n", w.now.Seconds(), m.name, what, a, b)
	}
}

// Event adds something that happened to the hash and, if it is printed, as a line. The arguments are formatted in any
// case, because the hash covers the text.
func (t *Trace) line(now time.Duration, machine, text string) {
	h := fnv.New64a()
	_, _ = io.WriteString(h, text)
	t.mix(uint64(now))
	t.mix(h.Sum64())
	t.item()
	if t.out != nil {
		fmt.Fprintf(t.out, "%11.6f %-8s  %s\n", now.Seconds(), machine, text)
	}
}

// Log adds a line to the trace.
func (m *Machine) Log(format string, args ...any) {
	w := m.w
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Trace.line(w.now, m.name, fmt.Sprintf(format, args...))
}
