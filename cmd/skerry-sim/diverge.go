package main

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"strconv"
)

// firstDifference runs a world twice more, side by side, and compares the traces with all steps line by line. Two runs
// that happen to be equal have none: line is 0.
func firstDifference(ctx context.Context, self string, seed uint64) (line int, a, b string) {
	ctx, cancel := context.WithTimeout(ctx, worldTimeout)
	defer cancel()
	start := func() (*bufio.Scanner, func()) {
		cmd := exec.CommandContext(ctx, self, "run", "--seed", strconv.FormatUint(seed, 10), "--steps")
		out, err := cmd.StdoutPipe()
		if err != nil || cmd.Start() != nil {
			return bufio.NewScanner(io.LimitReader(nil, 0)), func() {}
		}
		s := bufio.NewScanner(out)
		s.Buffer(nil, 16<<20)
		return s, func() {
			_, _ = io.Copy(io.Discard, out)
			_ = cmd.Wait()
		}
	}
	one, endOne := start()
	two, endTwo := start()
	defer endOne()
	defer endTwo()
	for n := 1; ; n++ {
		more, more2 := one.Scan(), two.Scan()
		if !more && !more2 {
			return 0, "", ""
		}
		if one.Text() != two.Text() {
			return n, one.Text(), two.Text()
		}
	}
}
