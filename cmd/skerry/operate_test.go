package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// What differs between two runs of a transcript: addresses, times, numbers of operators, sizes of a disk, who leads.
var transcriptForms = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDR"},
	{regexp.MustCompile(`\bo[1-9]\d+\b`), "oN"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ms|µs|s)\b`), "TIME"},
	{regexp.MustCompile(`"(age_seconds|took_seconds)": [\d.e-]+`), `"$1": TIME`},
	{regexp.MustCompile(`"id": \d+`), `"id": N`},
	{regexp.MustCompile(`"(seen_seconds_ago|used_bytes|free_bytes|capacity_bytes|leaders|leaders_after)": [\d.e-]+`), `"$1": N`},
	{regexp.MustCompile(`\b[\d.]+ [KMGT]iB\b`), "BYTES"},
	{regexp.MustCompile(`(?m)^[a-z]+( st?\d+)?: \d+ of \d+ [a-z]+(, TIME left)?\n`), ""}, // how far it is, where a machine is slow
	{regexp.MustCompile(`[ ]+`), " "},
	{regexp.MustCompile(`(?m)^(st\d+ ADDR [a-z]+ TIME \d+) \d+ `), "$1 N "},             // leaders are where elections put them
	{regexp.MustCompile(`(?m)^(st\d+ (\d+ -> )?\d+) (\d+ -> )?\d+ (\d+ B)`), "$1 N $4"}, // in plans as well
	{regexp.MustCompile(`(?m) $`), ""},
}

// TestOperate is how an administrator works on a cluster of four stores: every command line with what it prints, where
// it goes right and where it cannot. Nothing is scheduled by itself meanwhile, so that only what is asked for happens.
func TestOperate(t *testing.T) {
	cleanEnv(t)
	p := start(t, "playground", "--addr", "127.0.0.1:0", "--stores", "4", "--split-keys", "g,p")
	s := &steps{t: t, addr: p.wait(`address +(\S+)\n`)}
	p.wait("Ctrl-C ends it")
	dir := t.TempDir()
	s.run(0, "", "ctl", "pause-scheduling", "--for", "1h")
	datadriven.RunTest(t, "testdata/operate.txt", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "file":
			if err := os.WriteFile(filepath.Join(dir, d.CmdArgs[0].Key), []byte(d.Input), 0o600); err != nil {
				t.Fatal(err)
			}
			return ""
		}
		var b strings.Builder
		for line := range strings.Lines(d.Input) {
			args := strings.Fields(strings.ReplaceAll(line, "DIR/", dir+"/"))
			out, errs, code := command(t, "", append(args, "--addr", s.addr)...)
			fmt.Fprintf(&b, "%s%s", errs, out)
			if code != 0 {
				fmt.Fprintf(&b, "exit %d\n", code)
			}
		}
		text := strings.ReplaceAll(b.String(), dir, "DIR")
		for _, f := range transcriptForms {
			text = f.re.ReplaceAllString(text, f.with)
		}
		return strings.ReplaceAll(text, "\n\n", "\n.\n")
	})
	if code := p.end(); code != 0 {
		t.Errorf("exit %d: %s", code, p.text.String())
	}
}
