package layout

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// replayed are the packages that run in simulated worlds, where a seed decides everything. Go walks a map in another order
// each time, which no seed decides.
var replayed = []string{"shard", "engine", "raftstore", "placement", "client", "cmd/node", "tests/sim"}

// anyOrder is what a comment beside a walk over a map says, followed by the reason, if its order cannot be seen.
const anyOrder = "in any order:"

// TestMapOrder: nothing that is replayed depends on the order of a map. A walk over one is sorted first, or a comment on its
// line or the one before says why any order will do.
func TestMapOrder(t *testing.T) {
	exports := exportData(t)
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		f, ok := exports[path]
		if !ok {
			return nil, errors.New("no export data of " + path)
		}
		return os.Open(f)
	})
	for _, p := range list(t, "./...") {
		pkg := strings.TrimPrefix(p.ImportPath, module+"/")
		if !slices.ContainsFunc(replayed, func(r string) bool { return within(pkg, r) }) {
			continue
		}
		var files []*ast.File
		for _, f := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, f), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		info := &types.Info{Types: make(map[ast.Expr]types.TypeAndValue)}
		if _, err := (&types.Config{Importer: imp}).Check(p.ImportPath, fset, files, info); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			checkMapOrder(t, fset, info, f)
		}
	}
}

// exportData says where the compiler keeps what it knows of each package.
func exportData(t *testing.T) map[string]string {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		found[p.ImportPath] = p.Export
	}
}

func checkMapOrder(t *testing.T, fset *token.FileSet, info *types.Info, file *ast.File) {
	said := make(map[int]bool)
	for _, g := range file.Comments {
		for _, c := range g.List {
			if strings.Contains(c.Text, anyOrder) {
				line := fset.Position(c.Pos()).Line
				said[line], said[line+1] = true, true
			}
		}
	}
	complain := func(n ast.Node, what string) {
		if at := fset.Position(n.Pos()); !said[at.Line] {
			t.Errorf("%s: %s, whose order is another one in each run: sort it, or say `// %s` why", at, what, anyOrder)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.RangeStmt:
			if _, ok := info.TypeOf(n.X).Underlying().(*types.Map); ok && (n.Key != nil || n.Value != nil) {
				complain(n, "range over a map")
			}
		case *ast.CallExpr:
			if isCall(n, "slices", "Sorted", "SortedFunc", "SortedStableFunc") {
				return false
			}
			if isCall(n, "maps", "Keys", "Values", "All") {
				complain(n, "a walk over a map")
			}
		}
		return true
	})
}

// isCall says whether n calls pkg.name, for one of the names.
func isCall(n *ast.CallExpr, pkg string, names ...string) bool {
	sel, ok := n.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	x, ok := sel.X.(*ast.Ident)
	return ok && x.Name == pkg && slices.Contains(names, sel.Sel.Name)
}
