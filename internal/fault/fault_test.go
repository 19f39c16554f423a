package fault_test

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/internal/fault"
)

var rewrite = flag.Bool("rewrite", false, "write docs/errors.md anew")

// TestTable: every constant stands in the table, each code once and in one group with its neighbours, and says what helps.
func TestTable(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := make(map[fault.Code]string)
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok {
				code, _ := strconv.Unquote(lit.Value)
				if other := declared[fault.Code(code)]; other != "" {
					t.Errorf("%s and %s are both %s", other, v.Names[0].Name, code)
				}
				declared[fault.Code(code)] = v.Names[0].Name
			}
		}
		return true
	})
	said := make(map[fault.Code]bool)
	for _, g := range fault.Table() {
		last := fault.Code("")
		for _, e := range g.Entries {
			if declared[e.Code] == "" || said[e.Code] || e.Code <= last {
				t.Errorf("%s stands in the wrong place, twice, or is no constant", e.Code)
			}
			if last != "" && last[:3] != e.Code[:3] {
				t.Errorf("%s and %s stand in one group", last, e.Code)
			}
			last, said[e.Code] = e.Code, true
			if e.Means == "" || e.Remedy == "" || strings.ContainsAny(e.Means+e.Cause+e.Remedy, "|\n") {
				t.Errorf("%s: %+v", e.Code, e)
			}
		}
	}
	for code, name := range declared {
		if !said[code] {
			t.Errorf("%s (%s) is in no table", name, code)
		}
	}
}

// TestDocument: docs/errors.md is what the table says.
func TestDocument(t *testing.T) {
	const file = "../../docs/errors.md"
	want := fault.Document()
	if *rewrite {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != want {
		t.Errorf("docs/errors.md is not what the table says (%v): go test ./internal/fault -rewrite", err)
	}
}

// TestOf: the outermost code counts, With keeps one that is there, Errorf sets its own.
func TestOf(t *testing.T) {
	inner := fault.New(fault.Corrupt, "x")
	for _, c := range []struct {
		err  error
		want fault.Code
	}{
		{nil, ""}, {errors.New("x"), ""}, {inner, fault.Corrupt}, {fmt.Errorf("a: %w", inner), fault.Corrupt},
		{errors.Join(errors.New("x"), inner), fault.Corrupt},
		{fault.With(fault.DiskFailed, inner), fault.Corrupt}, {fault.With(fault.DiskFailed, errors.New("x")), fault.DiskFailed},
		{fault.Errorf(fault.DiskFailed, "a: %w", inner), fault.DiskFailed}, {fault.With(fault.DiskFailed, nil), ""},
	} {
		if got := fault.Of(c.err); got != c.want {
			t.Errorf("%v has code %q, want %q", c.err, got, c.want)
		}
	}
	if !errors.Is(fault.Errorf(fault.DiskFailed, "a: %w", inner), inner) {
		t.Error("the sentinel is lost")
	}
}
