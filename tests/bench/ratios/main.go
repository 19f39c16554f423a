// Command ratios reads the output of Go benchmarks and prints, for each part that has a raw counterpart in the same run, what
// both take and the ratio, as a Markdown table:
//
//	make -s bench-parts | go run ./tests/bench/ratios
package main

import (
	"fmt"
	"os"
)

func main() {
	all, err := parse(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "ratios:", err)
		os.Exit(1)
	}
	fmt.Print(table(pairs(all)))
}
