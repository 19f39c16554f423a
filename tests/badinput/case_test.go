// Package badinput is one table of what people and machines do wrong: what they see, that it says what to do, and that
// nothing is lost by it. docs/bad-input.md is made from it.
//
// A row runs against a world: a cluster in this process, the directory of a node, a node with certificates, or nothing but
// the command line. The rows of a world share it and run one after the other; after each the world is looked at: is all
// there that was there before? A row that would take long, or a machine of its own, names the test that does it instead.
package badinput

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/fault"
)

// Case is one row.
type Case struct {
	Name string
	// Does is what is done, as the document says it; without it the command line is shown.
	Does string
	// Code is that of the error; empty if the wrong thing is no error, and Sees says what there is to see then.
	Code fault.Code
	Sees string
	// Says are words of the error's text; Helps are those that say what to do.
	Says  []string
	Helps string
	// Safe is what is not lost, as the document says it. Each world checks more than that, see world.intact.
	Safe string

	// One of these: a command line, with its standard input, files and variables; a function; or the name of another test,
	// as "package.TestName", or "package.TestName/row" for one of a table there.
	CLI   string
	In    string
	Files map[string]string
	Env   []string
	Run   func(r *run) error
	Test  string
}

// Section is some rows that run against one world.
type Section struct {
	Title string
	World string // a key of worlds; empty: the rows name other tests
	Cases []Case
}

// worlds are begun once each, by the first of their rows that runs.
var worlds = map[string]func(t *testing.T) world{
	"nothing": inNothing, "cluster": inCluster, "directory": inDirectory, "secure": inSecure,
}

// world is what rows run against.
type world interface {
	// environ is added to the environment of command lines.
	environ() []string
	// before makes what a row needs in its own directory.
	before(r *run)
	// intact fails the test if something is lost that was there before the row.
	intact(r *run)
}

// run is one row under way.
type run struct {
	*testing.T
	c   *Case
	w   world
	dir string // its own; command lines run there
}

// patience bounds one row.
const patience = time.Minute

func (r *run) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.Cleanup(cancel)
	return ctx
}

func contextFor(d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), d)
}

// do runs the row and returns what there is to see, as the document shows it.
func (c *Case) do(t *testing.T, w world) string {
	r := &run{T: t, c: c, w: w, dir: t.TempDir()}
	for name, text := range c.Files {
		r.write(name, text)
	}
	w.before(r)
	var err error
	if c.Run != nil {
		err = c.Run(r)
	} else {
		err = r.command(c.CLI)
	}
	if t.Failed() {
		return ""
	}
	c.check(t, err)
	w.intact(r)
	if err == nil {
		return c.Sees
	}
	if ce := (*client.Error)(nil); errors.As(err, &ce) {
		ce.Reasons = nil // of attempts before; they differ
	}
	return plain(r, err.Error())
}

// check holds an error against the row.
func (c *Case) check(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		if c.Code != "" || c.Sees == "" {
			t.Fatalf("it went well, and should have ended with %s", c.Code)
		}
		return
	}
	t.Log(err)
	if c.Sees != "" {
		t.Fatalf("it should have gone well: %v", err)
	}
	if got := fault.Of(err); got != c.Code {
		t.Errorf("code %q, want %q: %v", got, c.Code, err)
	}
	if _, ok := fault.Find(c.Code); !ok && c.Code != "" {
		t.Errorf("%s is in no table", c.Code)
	}
	text := err.Error()
	for _, want := range append([]string{c.Helps}, c.Says...) {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in: %s", want, text)
		}
	}
	if c.Helps == "" || strings.Contains(text, "\n") {
		t.Errorf("it does not say what to do, or is of several lines: %s", text)
	}
}

// differs is what differs between two runs, and what the document shows instead.
var differs = []struct {
	what *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\b127\.0\.0\.1:\d{4,5}\b`), "127.0.0.1:4400"},
	{regexp.MustCompile(`; before: .*?(; check |; nothing |$)`), "$1"},
	{regexp.MustCompile(`\d+ attempt\(s\) in [0-9.]+[a-zµ]+`), "1 attempt(s) in 2ms"},
	{regexp.MustCompile(`on st\d+, 1 attempt`), "on st1000, 1 attempt"},
	{regexp.MustCompile(`\b\d{17,20}\b`), "470740696116756484"},
	{regexp.MustCompile(`\b[0-9a-f]{14,16}\b`), "4b2b5e1eed4b946f"},
	{regexp.MustCompile(`\bnow \d+ [0-9a-f]+ `), "now 852 3110d17a "},
	{regexp.MustCompile(`\bthen \d+ [0-9a-f]+ `), "then 852 3cee5f94 "},
	{regexp.MustCompile(`\b(st|s|r|o)\d{4,5}\b`), "${1}1000"},
}

// plain is a text without what differs between two runs.
func plain(r *run, text string) string {
	text = strings.ReplaceAll(text, r.dir, "DIR")
	for _, d := range differs {
		text = d.what.ReplaceAllString(text, d.to)
	}
	return text
}
