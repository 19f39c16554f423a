package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestErrorsHaveCodes: no command makes an error of its own without a code. Errors that wrap another one have that one's, and
// the texts of checks of settings, which Load and the flags wrap, are apart.
func TestErrorsHaveCodes(t *testing.T) {
	apart := map[string]string{
		"settings.go":  "checks of settings, which internal/cli/config gives codes",
		"ctl_rules.go": "parts of a file of rules, whose reader gives the code",
		"ctl.go":       "a line of the picture that `ctl status` shows",
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || apart[name] != "" {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if what, text := made(call); what == "errors.New" || what == "fmt.Errorf" && !strings.Contains(text, "%w") {
				t.Errorf("%s: %s(%q) has no code; see faults.go", set.Position(call.Pos()), what, text)
			}
			return true
		})
	}
}

// made is the function that a call names with its package, and its first argument if that is a text.
func made(call *ast.CallExpr) (what, text string) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if pkg, ok := sel.X.(*ast.Ident); ok {
		what = pkg.Name + "." + sel.Sel.Name
	}
	if len(call.Args) > 0 {
		if lit, ok := call.Args[0].(*ast.BasicLit); ok {
			text, _ = strconv.Unquote(lit.Value)
		}
	}
	return what, text
}
