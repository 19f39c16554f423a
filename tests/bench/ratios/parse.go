package main

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// benchmark is all runs of one benchmark.
type benchmark struct {
	pkg  string   // the last element of its path
	path []string // of its name, without "Benchmark" and the number of processors
	runs map[string][]float64
}

// The units that are compared.
const (
	unitTime   = "ns/op"
	unitAllocs = "allocs/op"
)

// procs is what Go appends to the name of a benchmark.
var procs = regexp.MustCompile(`-\d+$`)

// parse reads the benchmarks of a run, in the order in which they come. A test that failed is an error: its run has no table.
func parse(r io.Reader) ([]*benchmark, error) {
	var all []*benchmark
	pkg := ""
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		fields := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "FAIL"), strings.HasPrefix(line, "--- FAIL"):
			return nil, fmt.Errorf("the run failed: %s", line)
		case strings.HasPrefix(line, "pkg: "):
			pkg = line[strings.LastIndexByte(line, '/')+1:]
		case strings.HasPrefix(line, "Benchmark") && len(fields) >= 4:
			name := procs.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
			b := of(&all, pkg, strings.Split(name, "/"))
			if err := b.add(fields[2:]); err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
		}
	}
	return all, lines.Err()
}

// of finds a benchmark, or begins it.
func of(all *[]*benchmark, pkg string, path []string) *benchmark {
	for _, b := range *all {
		if b.pkg == pkg && slices.Equal(b.path, path) {
			return b
		}
	}
	b := &benchmark{pkg: pkg, path: path, runs: make(map[string][]float64)}
	*all = append(*all, b)
	return b
}

// add takes the values of one run, each of which is followed by its unit.
func (b *benchmark) add(fields []string) error {
	for i := 0; i+1 < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		b.runs[fields[i+1]] = append(b.runs[fields[i+1]], v)
	}
	return nil
}

// median of the runs in a unit; of an even number of runs it is the mean of the two in the middle.
func (b *benchmark) median(unit string) (v float64, ok bool) {
	runs := slices.Sorted(slices.Values(b.runs[unit]))
	n := len(runs)
	if n == 0 {
		return 0, false
	}
	return (runs[(n-1)/2] + runs[n/2]) / 2, true
}
