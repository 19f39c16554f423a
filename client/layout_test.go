package client

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestBlocksOnlyInEnv: the core runs in the simulator, so it starts tasks, waits, reads clocks and draws numbers only by
// way of internal/env.
func TestBlocksOnlyInEnv(t *testing.T) {
	forbidden := map[string][]string{
		"time":    {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
		"context": {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause", "AfterFunc"},
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	files := 0
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		files++
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, e.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range f.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); slices.Contains([]string{"math/rand", "math/rand/v2", "crypto/rand", "net", "os"}, path) {
				t.Errorf("%s imports %s", fset.Position(imp.Pos()), path)
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			what := ""
			switch n := n.(type) {
			case *ast.GoStmt:
				what = "go"
			case *ast.SelectStmt:
				what = "select"
			case *ast.ChanType:
				what = "chan"
			case *ast.SendStmt:
				what = "a send"
			case *ast.UnaryExpr:
				if n.Op == token.ARROW {
					what = "a receive"
				}
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok && slices.Contains(forbidden[pkg.Name], n.Sel.Name) {
					what = pkg.Name + "." + n.Sel.Name
				}
			}
			if what != "" {
				t.Errorf("%s: %s stands outside internal/env", fset.Position(n.Pos()), what)
			}
			return true
		})
	}
	if files < 10 {
		t.Errorf("only %d files were looked at", files)
	}
}

// TestLightImports: who links the SDK links no server.
func TestLightImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Skipf("go list: %v", err)
	}
	for _, dep := range strings.Fields(string(out)) {
		for _, heavy := range []string{"go.etcd.io/raft", "cockroachdb/pebble", "spf13/", "prometheus", "skerry/engine", "skerry/raftstore", "skerry/placement"} {
			if strings.Contains(dep, heavy) && !strings.Contains(dep, "skerry/proto/") {
				t.Errorf("client reaches %s", dep)
			}
		}
	}
}
