package raftstore

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/internal/version"
)

// TestEvaluationFollowsTheVersion: a store proposes what the version of the cluster allows and nothing newer, and never goes
// back.
func TestEvaluationFollowsTheVersion(t *testing.T) {
	s := &Store{}
	s.version.Store(uint64(version.First))
	newest := version.Newest()
	for _, c := range []struct{ hear, want version.Number }{
		{0, version.First}, {newest, newest}, {version.First, newest}, {newest + 1, newest + 1},
	} {
		if s.HearVersion(c.hear); s.Version() != c.want || s.evaluation() != c.want.Eval() {
			t.Errorf("after it heard of version %s it goes by %s, evaluation %d", c.hear, s.Version(), s.evaluation())
		}
	}
}

// TestProposalsGoByTheVersion: every entry that this package makes has the evaluation version that the cluster's allows.
func TestProposalsGoByTheVersion(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			if sel, ok := lit.Type.(*ast.SelectorExpr); !ok || sel.Sel.Name != "Header" {
				return true
			}
			found++
			if !goesByVersion(lit) {
				t.Errorf("%s: a header without the store's evaluation()", fset.Position(n.Pos()))
			}
			return true
		})
	}
	if found == 0 {
		t.Error("no headers are found")
	}
}

func goesByVersion(lit *ast.CompositeLit) bool {
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok || kv.Key.(*ast.Ident).Name != "Eval" {
			continue
		}
		call, ok := kv.Value.(*ast.CallExpr)
		if !ok {
			return false
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		return ok && sel.Sel.Name == "evaluation"
	}
	return false
}
