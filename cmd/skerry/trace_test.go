package main

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
)

// traces runs commands with --trace and holds what they tell against what went on: the steps go to standard error, in words or
// in JSON, also of a command that fails, and each answer of a store says where the time went there.
func (s *steps) traces(t *testing.T) {
	t.Helper()
	const line = `(?m)^ +[\d.]+ms  `
	for _, c := range []struct {
		in, out string
		code    int
		want    []string // patterns of standard error
		args    []string
	}{
		{"", "", 0, []string{line + `put: the route is s\d+, led by st\d+$`,
			line + `put: write to s\d+, st\d+ at [\d.:]+, answered in [\d.]+ms$`,
			`(?m)^ +in the store: .*fsync [\d.]+ms, .*apply [\d.]+ms; on the way: [\d.]+ms$`, line + `done$`}, []string{"put", "traced", "v"}},
		{"", "v\n", 0, []string{line + `get: read to .* answered`, `in the store: .*read`}, []string{"get", "traced"}},
		{"", "traced\n", 0, []string{line + `scan: read to .* answered`}, []string{"scan", "--keys-only", "--prefix", "traced"}},
		{"put traced 1\ncommit\n", "", 0, []string{`placement was asked for a timestamp`, `transaction: commit: write to .* answered`}, []string{"txn"}},
		{"", "", 0, []string{line + `delete: write to .* answered`}, []string{"del", "traced"}},
		{"", "", exitNotFound, []string{line + `get: read to .* answered`, line + `failed$`, `\[SK2001\]`}, []string{"get", "traced"}},
	} {
		out, errs, code := command(t, c.in, append(c.args, "--trace", "--addr", s.addr)...)
		if code != c.code || out != c.out {
			t.Errorf("skerry %q --trace: exit %d, %q\n%s", c.args, code, out, errs)
		}
		for _, want := range c.want {
			if !regexp.MustCompile(want).MatchString(errs) {
				t.Errorf("skerry %q --trace tells\n%swithout %s", c.args, errs, want)
			}
		}
	}
	out, errs, _ := command(t, "", "scan", "--trace", "-o", "json", "--addr", s.addr)
	var told struct {
		Schema int         `json:"schema_version"`
		Took   float64     `json:"took_ms"`
		Steps  []traceStep `json:"steps"`
	}
	if err := json.Unmarshal([]byte(errs), &told); err != nil || told.Schema == 0 || told.Took <= 0 || len(told.Steps) < 2 {
		t.Fatalf("%v of\n%s", err, errs)
	}
	if last := told.Steps[len(told.Steps)-1]; last.Kind != "attempt" || last.Request != "read" || last.Store == 0 || last.OnTheWay <= 0 || last.Took > told.Took {
		t.Errorf("%+v", last)
	}
	if _, errs, _ := command(t, "", "scan", "--addr", s.addr); errs != "" || strings.Contains(out, "steps") {
		t.Errorf("without --trace: %s", errs)
	}
}
