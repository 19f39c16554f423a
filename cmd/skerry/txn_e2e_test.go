package main

import (
	"regexp"
	"strings"
	"testing"
)

// TestTxnCommands runs transactions, and what administrators see of them, against a cluster; and commands that tell their steps.
func TestTxnCommands(t *testing.T) {
	cleanEnv(t)
	p := start(t, "playground", "--addr", "127.0.0.1:0")
	s := &steps{t: t, addr: p.wait(`address +(\S+)\n`)}
	p.wait("Ctrl-C ends it")
	before := strings.TrimSpace(s.run(0, "", "ctl", "ts"))
	s.run(0, "put a 1\nput b two words\nadd n 3\nscan b\ncommit\n", "txn")
	if got := s.run(0, "get a\nlock b\nget c\n# nothing\nput c 1\n", "txn"); got != "1\ntwo words\n(none)\n" {
		t.Errorf("%q", got)
	}
	if got := s.run(0, "get c\nscan n\n", "txn", "--serializable"); !strings.HasPrefix(got, "(none)\nn\t") {
		t.Errorf("%q", got)
	}
	s.run(0, "put b 3\ndel a\ncommit\n", "txn")
	told := regexp.MustCompile(`\d{10,}`).ReplaceAllString(s.run(0, "", "watch", "--from", before, "--previous", "--catch-up", "a", "c"), "TS")
	if want := "TS\tput\ta\t1\nTS\tput\tb\ttwo words\nTS\tdel\ta\twas\t1\nTS\tput\tb\t3\twas\ttwo words\n"; told != want {
		t.Errorf("%q", told)
	}
	if got := s.run(0, "", "watch", "--list", "--prefix", "b", "--catch-up", "-o", "json"); !strings.Contains(got, `"what":"list","key":"b","value":"3"}`) {
		t.Errorf("%q", got)
	}
	s.run(exitError, "put a\n", "txn")
	s.run(0, "", "ctl", "lock", "resolve") // of the one that was rolled back, if its locks still stand
	if got := s.run(0, "", "ctl", "lock", "list"); strings.Count(got, "\n") != 1 {
		t.Errorf("%q", got)
	}
	ts := strings.TrimSpace(s.run(0, "", "ctl", "ts"))
	if got := s.run(0, "", "ctl", "gc", "set", ts); !strings.Contains(got, ts) {
		t.Errorf("%q", got)
	}
	s.run(exitError, "", "ctl", "gc", "set", ts+"0")
	if got := s.run(0, "", "ctl", "gc", "run", "--keep", "0s"); strings.Contains(got, "never") {
		t.Errorf("%q", got)
	}
	s.run(0, "", "ctl", "gc", "status", "-o", "json")
	s.run(exitError, "", "watch", "--from", before, "--catch-up") // compacted
	s.traces(t)
}
