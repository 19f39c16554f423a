//go:build bugs

package mvcc_test

import (
	"flag"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/internal/bug"
)

// failing takes the failure of a check that is expected to fail.
type failing struct {
	*testing.T
	why string
}

func (f *failing) Errorf(format string, _ ...any) { f.why = format }
func (f *failing) Fatalf(format string, _ ...any) { f.why = format }
func (f *failing) Error(...any)                   { f.why = "error" }
func (f *failing) Fatal(...any)                   { f.why = "fatal" }
func (f *failing) FailNow()                       { f.why = "fail now" }
func (f *failing) Fail()                          { f.why = "fail" }
func (f *failing) Failed() bool                   { return f.why != "" }
func (f *failing) Log(...any)                     {}
func (f *failing) Logf(string, ...any)            {}

// TestModelFindsBugs: the model's watcher misses changes, or is told of them twice, where a planted bug lets it, and a replica
// that remembers too little overlooks what was written.
func TestModelFindsBugs(t *testing.T) {
	if err := flag.Set("rapid.checks", "1000"); err != nil { // it stops at the first failure
		t.Fatal(err)
	}
	defer func() { _ = flag.Set("rapid.checks", "100") }()
	for _, name := range []string{"resolved-past-locks", "page-cuts-commit", "ring-from-its-begin", "written-from-its-begin"} {
		b, ok := bug.Find(name)
		if !ok {
			t.Fatalf("no bug is called %s", name)
		}
		f := &failing{T: t}
		bug.Plant(b)
		rapid.Check(f, checkModel)
		bug.Plant(bug.None)
		if f.why == "" {
			t.Errorf("%s is not found", name)
		}
	}
}
