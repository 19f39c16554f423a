package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/tests/states"
)

// The marks between which report writes in a document that is written by hand otherwise.
const (
	reportBegin = "<!-- skerry-sim report: begin -->"
	reportEnd   = "<!-- skerry-sim report: end -->"
)

// reportCommand makes tables of files of results.
func reportCommand() *cobra.Command {
	var files []string
	var out, commit string
	c := &cobra.Command{Use: "report", Short: "Make tables of files of results (run --state)", Args: cobra.NoArgs,
		Example: "  skerry-sim run --seeds 1..2000 --state sim.jsonl\n  skerry-sim report --state sim.jsonl --commit $(git rev-parse --short HEAD) --out docs/reliability.md",
		RunE: func(*cobra.Command, []string) error {
			text, err := report(files, commit)
			if err != nil {
				return err
			}
			if out == "" {
				fmt.Print(text)
				return nil
			}
			return writeBetween(out, reportBegin, reportEnd, text)
		}}
	c.Flags().StringArrayVar(&files, "state", nil, "file of results; again for more")
	c.Flags().StringVar(&commit, "commit", "", "the commit that they are of")
	c.Flags().StringVar(&out, "out", "", "write the tables into this document, between its marks")
	return c
}

// writeBetween puts text between the marks of a document.
func writeBetween(name, begin, end, text string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	head, rest, ok := strings.Cut(string(b), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for this: it needs the lines %q and %q", name, begin, end)
	}
	return os.WriteFile(name, []byte(head+begin+"\n"+text+end+tail), 0o644)
}

// runs are the results of one file, added up.
type runs struct {
	file        string
	first, last uint64
	seeds       map[uint64]bool
	elapsed     time.Duration // of all worlds, one after the other
	faults      map[string]int
	*tally
}

// readRuns reads a file of results.
func readRuns(name string) (*runs, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	r := &runs{file: name, seeds: make(map[uint64]bool), faults: make(map[string]int), tally: newTally()}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 16<<20)
	for n := 1; s.Scan(); n++ {
		l := &line{}
		if err := json.Unmarshal(s.Bytes(), l); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		if l.Result == nil || r.seeds[l.Seed] {
			return nil, fmt.Errorf("%s, line %d: no result, or the second of its seed", name, n)
		}
		r.take(l)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(r.seeds) == 0 {
		return nil, fmt.Errorf("%s holds no results", name)
	}
	return r, nil
}

func (r *runs) take(l *line) {
	if len(r.seeds) == 0 || l.Seed < r.first {
		r.first = l.Seed
	}
	r.last = max(r.last, l.Seed)
	r.seeds[l.Seed] = true
	r.elapsed += l.Elapsed
	for fault, n := range l.Faults {
		r.faults[fault] += n
	}
	r.printed = time.Now() // nothing to print on the way
	r.add(l)
}

// taken counts the rows of the tables of states that were taken.
func (r *runs) taken() (n, of int) {
	for _, c := range states.All() {
		counts := r.rows[c.Name]
		for i := range c.Rows {
			of++
			if i < len(counts) && counts[i] > 0 {
				n++
			}
		}
	}
	return n, of
}

// span is the seeds as somebody would name them on the command line.
func (r *runs) span() string {
	s := fmt.Sprintf("%d..%d", r.first, r.last)
	if n := int(r.last - r.first + 1); n != len(r.seeds) {
		s += fmt.Sprintf(" (%d of them)", len(r.seeds))
	}
	return s
}

// violations names what failed, by kind.
func (r *runs) violations() string {
	if r.failed == 0 {
		return "0"
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(r.kinds)) {
		out = append(out, fmt.Sprintf("%d %s", r.kinds[k], k))
	}
	return "**" + strings.Join(out, ", ") + "**"
}

func report(files []string, commit string) (string, error) {
	if len(files) == 0 {
		return "", errors.New("say of which results: --state FILE")
	}
	if commit == "" {
		commit = "unknown"
	}
	var b strings.Builder
	b.WriteString("| commit | seeds | worlds | violations | simulated hours | simulated s per s and core | operations | of unknown outcome | messages | steps | rows of states taken |\n|---|---|---|---|---|---|---|---|---|---|---|\n")
	faults := make(map[string]int)
	var commands []string
	for _, name := range files {
		r, err := readRuns(name)
		if err != nil {
			return "", err
		}
		n, of := r.taken()
		fmt.Fprintf(&b, "| %s | %s | %d | %s | %.1f | %.0f | %d | %d | %d | %d | %d of %d |\n", commit, r.span(), r.worlds, r.violations(), r.simulated.Hours(),
			r.simulated.Seconds()/max(r.elapsed.Seconds(), 1e-9), r.operations, r.ambiguous, r.messages, r.steps, n, of)
		for fault, n := range r.faults {
			faults[fault] += n
		}
		commands = append(commands, fmt.Sprintf("skerry-sim run --seeds %d..%d --state %s", r.first, r.last, base(name)))
	}
	b.WriteString("\nFaults, by what the world did (counts of tries; a fault that finds nobody to harm is a try as well) or of what came of it:\n\n| fault | times |\n|---|---|\n")
	for _, fault := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(&b, "| %s | %d |\n", fault, faults[fault])
	}
	b.WriteString("\nMade by:\n\n<!-- not run: worlds for hours -->\n```console\n")
	state := ""
	for i, c := range commands {
		fmt.Fprintf(&b, "$ %s\n", c)
		state += " --state " + base(files[i])
	}
	fmt.Fprintf(&b, "$ skerry-sim report%s --commit %s --out docs/reliability.md\n```\n", state, commit)
	return b.String(), nil
}

// base is a file's name without its directory, which is of the machine.
func base(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
