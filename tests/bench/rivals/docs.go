package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// writeDocs puts table and plot into the folder of documents.
func writeDocs(dir string, o options, results []*result) error {
	picture := ""
	counted, _ := parted(results)
	if len(counted) > 0 {
		picture = "\n![ratios](rivals.svg)\n"
	}
	text := fmt.Sprintf("`make bench-rivals`: %d rounds in turns, windows of %s, %d MiB of values on each side before, %s. Medians.\n\n%s%s",
		o.rounds, o.window, o.fill>>20, today(), tables(results), picture)
	if err := writeMarked(dir, "rivals", text); err != nil || len(counted) == 0 {
		return err
	}
	return plotRatios(filepath.Join(dir, "rivals.svg"), counted)
}

// writeCosts puts the cost sheet there.
func writeCosts(dir string, o options, sheets []*sheet) error {
	return writeMarked(dir, "costs", fmt.Sprintf("`make bench-costs`: one window of %s each, %d MiB of values filled in before, %s.\n\n%s",
		o.window, o.fill>>20, today(), sheetTable(sheets)))
}

func today() string { return time.Now().UTC().Format("2006-01-02") }

// writeMarked replaces what lies between two marks of performance.md.
func writeMarked(dir, mark, text string) error {
	path := filepath.Join(dir, "performance.md")
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+mark+": begin -->", "<!-- "+mark+": end -->"
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s lacks the lines %q and %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n\n"+text+"\n"+end+after), 0o644)
}
