// Package still measures for how long a machine stands still: spells in which none of its processors runs anything, whatever its
// priority. On a virtual machine that is its host's doing, which takes the processors away when the machine has used up its share
// of a period, for its disks' requests too; no program on it can be faster than that. What the kernel counts as stolen time is the
// same in sum, but says neither when, nor for how long at a time.
//
// A child process watches: on each processor a thread of the highest kind of priority that sleeps for half a millisecond, and notes
// when it woke too late.
package still

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// watchEnv makes a process the watcher of another one, see Main.
const watchEnv = "SKERRY_WATCH_STILL"

const (
	nap = 500 * time.Microsecond
	// late is how much later than due a thread wakes before it counts.
	late = time.Millisecond
)

// Spell is a time in which nothing ran.
type Spell struct{ From, To time.Time }

// Watch is a watcher's, from Start to Stop.
type Watch struct {
	cmd  *exec.Cmd
	cpus int
	read sync.WaitGroup

	mu    sync.Mutex
	spans [][]Spell // of each processor, in order
}

// Main is for the beginning of a program that calls Start: in the watcher it does not return.
func Main() {
	if os.Getenv(watchEnv) == "" {
		return
	}
	go func() { // nobody says anything: it ends with whoever started it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	fmt.Println(watch(os.Stdout))
	os.Exit(1)
}

// Start starts the watcher. It needs the right to set a real-time priority; without it, and elsewhere than on Linux, the error says so.
func Start() (*Watch, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), watchEnv+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if _, err := cmd.StdinPipe(); err != nil { // closed by Wait, or when this process ends
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	w := &Watch{cmd: cmd}
	in := bufio.NewReader(out)
	line, err := in.ReadString('\n')
	if _, no := fmt.Sscanf(line, "cpus %d", &w.cpus); no != nil || err != nil {
		w.Stop()
		return nil, errors.New("nobody watches whether the machine stands still: " + strings.TrimSpace(line))
	}
	w.spans = make([][]Spell, w.cpus)
	w.read.Go(func() { w.note(in) })
	return w, nil
}

// note keeps what the watcher says until it ends.
func (w *Watch) note(in io.Reader) {
	for {
		var cpu int
		var from, to int64 // ns since 1970
		if _, err := fmt.Fscanln(in, &cpu, &from, &to); err != nil {
			return
		}
		w.mu.Lock()
		w.spans[cpu] = append(w.spans[cpu], Spell{time.Unix(0, from), time.Unix(0, to)})
		w.mu.Unlock()
	}
}

// Stop ends the watcher, and returns when it is gone.
func (w *Watch) Stop() {
	_ = w.cmd.Process.Kill()
	w.read.Wait()
	_ = w.cmd.Wait()
}

// Spells returns all spells so far in which every processor stood still, in order.
func (w *Watch) Spells() []Spell {
	w.mu.Lock()
	defer w.mu.Unlock()
	return common(w.spans)
}

// common is what all lists of spells have in common, each of which is in order.
func common(of [][]Spell) []Spell {
	if len(of) == 0 {
		return nil
	}
	all := slices.Clone(of[0])
	for _, next := range of[1:] {
		var both []Spell
		for i, j := 0, 0; i < len(all) && j < len(next); {
			s := Spell{later(all[i].From, next[j].From), earlier(all[i].To, next[j].To)}
			if s.From.Before(s.To) {
				both = append(both, s)
			}
			if all[i].To.Before(next[j].To) {
				i++
			} else {
				j++
			}
		}
		all = both
	}
	return all
}

// Within is how much of a time the machine stood still, by spells that are in order.
func Within(spells []Spell, from, to time.Time) time.Duration {
	i, _ := slices.BinarySearchFunc(spells, from, func(s Spell, t time.Time) int { return s.To.Compare(t) })
	var sum time.Duration
	for _, s := range spells[i:] {
		if !s.From.Before(to) {
			break
		}
		sum += earlier(s.To, to).Sub(later(s.From, from))
	}
	return sum
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
