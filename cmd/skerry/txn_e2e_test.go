package main

import (
	"strings"
	"testing"
)

// TestTxnCommands runs transactions, and what administrators see of them, against a cluster.
func TestTxnCommands(t *testing.T) {
	cleanEnv(t)
	p := start(t, "playground", "--addr", "127.0.0.1:0")
	s := &steps{t: t, addr: p.wait(`address +(\S+)\n`)}
	p.wait("Ctrl-C ends it")
	s.run(0, "put a 1\nput b two words\nadd n 3\nscan b\ncommit\n", "txn")
	if got := s.run(0, "get a\nlock b\nget c\n# nothing\nput c 1\n", "txn"); got != "1\ntwo words\n(none)\n" {
		t.Errorf("%q", got)
	}
	if got := s.run(0, "get c\nscan n\n", "txn", "--serializable"); !strings.HasPrefix(got, "(none)\nn\t") {
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
}
