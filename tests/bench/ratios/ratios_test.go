package main

import (
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestRatios shows the table that comes of a run.
func TestRatios(t *testing.T) {
	datadriven.RunTest(t, "testdata/ratios.txt", func(t *testing.T, td *datadriven.TestData) string {
		if td.Cmd != "table" {
			t.Fatalf("unknown command %s", td.Cmd)
		}
		all, err := parse(strings.NewReader(td.Input))
		if err != nil {
			return err.Error() + "\n"
		}
		return table(pairs(all))
	})
}
