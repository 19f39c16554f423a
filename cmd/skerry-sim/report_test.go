package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/tests/sim"
)

// results writes a file of results.
func results(t *testing.T, lines ...line) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "sim.jsonl")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if err := json.NewEncoder(f).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestReport: what the tables say is what the files hold, and a document keeps what is written by hand.
func TestReport(t *testing.T) {
	good := line{Result: &sim.Result{Seed: 7, Simulated: 2 * time.Hour, Elapsed: time.Minute, Operations: 40, Ambiguous: 2, Messages: 900, Steps: 5000,
		Rows: map[string][]int{"replica": {1, 0, 3}}}, Faults: map[string]int{"crash": 3}}
	bad := line{Result: &sim.Result{Seed: 9, Simulated: time.Hour, Elapsed: time.Minute, Err: "lease: broken", Kind: "lease"}, Faults: map[string]int{"crash": 1, "disk-full": 2}}
	name := results(t, good, bad)
	text, err := report([]string{name}, "abc123")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| abc123 | 7..9 (2 of them) | 2 | **1 lease** | 3.0 | 90 | 40 | 2 | 900 | 5000 |", "| crash | 4 |\n| disk-full | 2 |",
		"$ skerry-sim run --seeds 7..9 --state sim.jsonl"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, t.TempDir()) {
		t.Error("a directory of this machine is in the report")
	}

	doc := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(doc, []byte("by hand\n"+reportBegin+"\nold\n"+reportEnd+"\nmore by hand\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := writeBetween(doc, reportBegin, reportEnd, text); err != nil {
			t.Fatal(err)
		}
	}
	b, _ := os.ReadFile(doc)
	if want := "by hand\n" + reportBegin + "\n" + text + reportEnd + "\nmore by hand\n"; string(b) != want {
		t.Errorf("got\n%s\nwant\n%s", b, want)
	}
}

// TestBadReports: what cannot be added up is refused.
func TestBadReports(t *testing.T) {
	one := line{Result: &sim.Result{Seed: 7}}
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("{\"Seed\":1}\nnonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, want string }{
		{results(t, one, one), "line 2: no result, or the second of its seed"},
		{results(t), "holds no results"},
		{broken, "line 2"},
		{broken + "x", "no such file"},
	} {
		if _, err := report([]string{c.file}, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if err := writeBetween(broken, reportBegin, reportEnd, ""); err == nil || !strings.Contains(err.Error(), "no place for this") {
		t.Errorf("a document without marks: %v", err)
	}
}
