package sim

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/tests/sim/world"
)

// TestDecisions: a world whose decisions were written down is the same again when they are taken from the file, whole or
// cut anywhere; one that was changed by hand is another world, and says where it stops to fit.
func TestDecisions(t *testing.T) {
	var file bytes.Buffer
	set := []string{"faults=3s", "nemeses=crash+pause+disk-full", "strategy=mix"}
	want := Run(Options{Seed: 7, Set: set, Record: &file})
	if want.Err != "" {
		t.Fatal(want.Err)
	}
	replayed := func(text string) (*Result, *Recording) {
		t.Helper()
		rec, err := ReadRecording(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		return Replay(rec, Options{}), rec
	}
	text := file.String()
	r, rec := replayed(text)
	if n, of := rec.Decisions.Taken(); r.Fingerprint != want.Fingerprint || n != of || of < 5000 || rec.Decisions.Misfit() != nil || !rec.SameBuild {
		t.Errorf("replayed: fingerprint %x, want %x; %d of %d decisions, %v", r.Fingerprint, want.Fingerprint, n, of, rec.Decisions.Misfit())
	}
	r, rec = replayed(text[:len(text)/3])
	if n, of := rec.Decisions.Taken(); r.Fingerprint != want.Fingerprint || n != of {
		t.Errorf("the first third: fingerprint %x, want %x; %d of %d decisions, %v", r.Fingerprint, want.Fingerprint, n, of, rec.Decisions.Misfit())
	}

	// The other of two tasks runs. Where the two do not touch each other all that follows may fit still, so another place is taken.
	lines := strings.Split(text, "\n")
	at, tried, before := len(lines)/3, 0, ""
	var m *world.Misfit
	for m == nil && tried < 10 {
		if tried++; tried > 1 {
			lines[at] = before
			at += len(lines) / 30
		}
		for !strings.HasPrefix(lines[at], "t 0/2 ") {
			at++
		}
		before, lines[at] = lines[at], "t 1/2"
		r, rec = replayed(strings.Join(lines, "\n"))
		m = rec.Decisions.Misfit()
	}
	if r.Err != "" || r.Fingerprint == want.Fingerprint || r.Operations < 10 {
		t.Errorf("changed at line %d: fingerprint %x, %d operations, %s", at+1, r.Fingerprint, r.Operations, r.Err)
	}
	if m == nil || m.Line <= at+1 || m.Step == 0 {
		t.Errorf("changed at line %d, the %d. place: fits up to %v", at+1, tried, m)
	}
	again, _ := replayed(strings.Join(lines, "\n"))
	if again.Fingerprint != r.Fingerprint {
		t.Error("a changed file gives two worlds")
	}

	// A task that is not there is found at once.
	lines[at] = "t 1/2 1"
	_, rec = replayed(strings.Join(lines, "\n"))
	if m := rec.Decisions.Misfit(); m == nil || m.Line != at+1 || !strings.Contains(m.Why, "in the run ") {
		t.Errorf("a wrong label at line %d: %v", at+1, m)
	}
}

// TestBadDecisions: what is no file of decisions is refused, by line; one of other knobs is not run.
func TestBadDecisions(t *testing.T) {
	var file bytes.Buffer
	k := draw(3)
	if err := writeDecisionsHeader(&file, &Options{Seed: 3}, k); err != nil {
		t.Fatal(err)
	}
	head := file.String()
	lines := strings.Count(head, "\n")
	for bad, want := range map[string]string{
		"":                      "line 1: the header",
		"hello\n":               "line 1: this is no file",
		head[:len(head)/2]:      "ends too early",
		head + "t 2/2 \n":       "2 is not below 2",
		head + "i 1\n":          "is no decision",
		head + "f 1.5\n":        "a fraction is",
		head + "x 1/2\n":        "no kind is called x",
		head + "u zz\n":         "is no decision",
		head + "t 0/2 9\n":      "no task is called 9",
		head + "u 1\nt 0 0 0\n": fmt.Sprintf("line %d", lines+2),
		strings.Replace(head, "seed 3\n", "sneed 3\n", 1): "no such line",
	} {
		if _, err := ReadRecording(strings.NewReader(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", bad, err, want)
		}
	}
	rec, err := ReadRecording(strings.NewReader(strings.Replace(head, "seed 3\n", "seed 4\n", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if r := Replay(rec, Options{}); r.Kind != "usage" || !strings.Contains(r.Err, "other knobs") {
		t.Errorf("other knobs: %+v", r)
	}
}
