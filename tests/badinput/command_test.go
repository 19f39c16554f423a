package badinput

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/fault"
)

// scratch is a directory of this process, removed by TestMain.
var scratch string

func TestMain(m *testing.M) {
	code := func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "badinput"); err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(scratch) }()
		return m.Run()
	}()
	os.Exit(code)
}

// binary is the real program, built once.
var binary = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(scratch, "skerry")
	out, err := exec.Command("go", "build", "-o", bin, "github.com/skerrydb/skerry/cmd/skerry").CombinedOutput()
	if err != nil {
		return "", &cliError{text: string(out)}
	}
	return bin, nil
})

// cliError is what a command said that ended with another exit code than 0.
type cliError struct {
	text string
	code fault.Code
}

func (e *cliError) Error() string         { return e.text }
func (e *cliError) FaultCode() fault.Code { return e.code }

var codeAtEnd = regexp.MustCompile(` \[(SK\d{4})\]$`)

// cliPatience bounds a command; none of these should run for long.
const cliPatience = 40 * time.Second

// command runs a command line of the program in the row's directory, by a shell's rules for words, and returns what it says
// if it fails. Whatever it says else is in the test's log.
func (r *run) command(line string, more ...string) error {
	r.Helper()
	bin, err := binary()
	if err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), cliPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec skerry "+line)
	cmd.Dir = r.dir
	for _, e := range os.Environ() {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(bin)+":"+path)
		} else if !strings.HasPrefix(e, "SKERRY_") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(append(append(cmd.Env, r.w.environ()...), r.c.Env...), more...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(r.c.In), &out, &errs
	err = cmd.Run()
	r.Logf("skerry %s: %s%s", line, out.String(), errs.String())
	if ctx.Err() != nil {
		r.Fatalf("skerry %s: it goes on: %s", line, errs.String())
	}
	if err == nil {
		return nil
	}
	var e *cliError
	for l := range strings.Lines(errs.String()) {
		if text, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), "skerry: "); ok {
			e = &cliError{text: text}
		}
	}
	if e == nil {
		r.Fatalf("skerry %s: %v, and it says nothing", line, err)
	}
	if m := codeAtEnd.FindStringSubmatch(e.text); m != nil {
		e.code, e.text = fault.Code(m[1]), strings.TrimSuffix(e.text, m[0])
	}
	return e
}

// write makes a file in the row's directory.
func (r *run) write(name, text string) string {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
	return path
}
