package layout

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestScenarios: everything that docs/scenarios.md names exists: tests and fuzz targets, transcripts, the faults of the
// simulator and the harms of the nemesis. A row that names nothing says why in words.
func TestScenarios(t *testing.T) {
	text, err := os.ReadFile("../../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	known := scenarioNames(t)
	names := regexp.MustCompile("`([^`]+)`")
	forms := regexp.MustCompile(`^(\w+\.(Test|Fuzz)\w+|\w+:.+)$`)
	checked, rows := 0, 0
	for i, line := range strings.Split(string(text), "\n") {
		for _, m := range names.FindAllStringSubmatch(line, -1) {
			name := m[1]
			if !forms.MatchString(name) || strings.HasSuffix(name, ":x") || strings.HasSuffix(name, ":x.txt") || strings.HasSuffix(name, ".TestX") {
				continue
			}
			checked++
			if !known[name] {
				t.Errorf("line %d: there is no %s", i+1, name)
			}
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if strings.HasPrefix(line, "| ") {
			rows++
			if len(cells) != 2 || strings.TrimSpace(cells[1]) == "" {
				t.Errorf("line %d: a row must have a scenario and what is ours: %s", i+1, line)
			}
		}
	}
	if checked < 150 || rows < 90 {
		t.Fatalf("only %d names in %d rows: the page was not read right", checked, rows)
	}
}

// scenarioNames are all names that the page may use.
func scenarioNames(t *testing.T) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		dir := filepath.Dir(path)
		switch {
		case strings.HasSuffix(path, "_test.go"):
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err != nil {
				return err
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
					known[filepath.Base(dir)+"."+f.Name.Name] = true
				}
			}
		case strings.HasSuffix(path, ".txt") && strings.Contains(path, "/testdata/"):
			owner, _, _ := strings.Cut(path, "/testdata/")
			known[filepath.Base(owner)+":"+filepath.Base(path)] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	firstStrings(t, "../sim/nemesis.go", "nemesis", known, "sim:")
	firstStrings(t, "../sim/churn.go", "nemesis", known, "sim:")
	firstStrings(t, "../e2e/nemesis_lanes_test.go", "harm", known, "e2e:")
	return known
}

// firstStrings notes the first string of every element of the lists of structs of one type in a file: the name of each.
func firstStrings(t *testing.T, path, typ string, known map[string]bool, prefix string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	note := func(e ast.Expr) {
		c, ok := e.(*ast.CompositeLit)
		if !ok || len(c.Elts) == 0 {
			return
		}
		if s, ok := c.Elts[0].(*ast.BasicLit); ok && s.Kind == token.STRING {
			known[prefix+strings.Trim(s.Value, `"`)] = true
			found++
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		c, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		switch at := c.Type.(type) {
		case *ast.ArrayType:
			if id, ok := at.Elt.(*ast.Ident); ok && id.Name == typ {
				for _, e := range c.Elts {
					note(e)
				}
			}
		case *ast.Ident:
			if at.Name == typ {
				note(c)
			}
		}
		return true
	})
	if found < 3 {
		t.Fatalf("%s: only %d names of type %s", path, found, typ)
	}
}
