package main

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var rewriteDocs = flag.Bool("rewrite-docs", false, "put what the commands of the documents print into the documents")

// notRun is how many blocks of commands each document shows that nobody runs here. The document gives the reason of each, in
// a comment before the block.
var notRun = map[string]int{
	"README.md":           1,
	"docs/operations.md":  3,
	"docs/performance.md": 3,
	"docs/reliability.md": 1,
	"docs/simulator.md":   1,
	"docs/upgrades.md":    1,
}

// TestDocuments runs the commands of all documents in a shell, and compares what they print with what the documents say
// that they print. Each section has a shell, a directory and ports of its own, and sections run side by side.
//
// Every block between fences is commands, unless its language says otherwise (text, go, ...). In one, a line with a $ is a
// command, and a block without any is all commands. "# exit code 3" behind a command is what it ends with; else it is 0. A
// line of three dots stands for any lines. What may differ otherwise stands in doccompare_test.go. Two comments say more:
//
//	<!-- not run: needs systemd -->   before a block that cannot be run here; notRun counts them
//	<!-- run first                    commands that a section needs and a reader does not
//	...
//	-->
func TestDocuments(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append([]string{"../../README.md"}, files...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := parseDocument(strings.TrimPrefix(filepath.ToSlash(file), "../../"), string(text))
		if err != nil {
			t.Error(err)
			continue
		}
		var reasons []string
		for _, s := range d.sections {
			for _, b := range s.blocks {
				if b.notRun != "" {
					reasons = append(reasons, b.notRun)
				}
			}
		}
		if len(reasons) != notRun[d.name] {
			t.Errorf("%s has %d blocks of commands that are not run, and %d are known: %q", d.name, len(reasons), notRun[d.name], reasons)
		}
		if d.runs() {
			t.Run(d.name, func(t *testing.T) { d.check(t, file) })
		}
	}
}

// check runs the sections of a document, and rewrites it if that is asked for.
func (d *document) check(t *testing.T, file string) {
	t.Parallel()
	var mu sync.Mutex
	printed := make(map[*block][]string)
	t.Cleanup(func() { // when all sections have ended
		if !*rewriteDocs {
			return
		}
		if err := os.WriteFile(file, []byte(d.with(printed)), 0o644); err != nil {
			t.Error(err)
		}
	})
	for _, s := range d.sections {
		if !s.runs() {
			continue
		}
		t.Run(s.title, func(t *testing.T) {
			t.Parallel()
			got := newShell(t).section(s)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(printed, got)
		})
	}
}

// TestDocumentsShowCommandsThatExist: commands in the text of documents, between backquotes, and in blocks that are not run
// have names and flags that the program knows.
func TestDocumentsShowCommandsThatExist(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, file := range append([]string{"../../README.md"}, files...) {
		if filepath.Base(file) == "bad-input.md" { // it shows what is wrong
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commandsShown(string(text)) {
			seen++
			if err := knows(c); err != nil {
				t.Errorf("%s: %s: %v", file, strings.Join(c, " "), err)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d commands were found", seen)
	}
}

// runs reports whether there is anything to run.
func (d *document) runs() bool { return slices.ContainsFunc(d.sections, (*section).runs) }

func (s *section) runs() bool {
	return slices.ContainsFunc(s.blocks, func(b *block) bool { return b.notRun == "" && !b.hidden })
}
