package fault

import (
	"fmt"
	"strings"
)

// Document is docs/errors.md.
func Document() string {
	var b strings.Builder
	b.WriteString(`# Errors

Errors of the SDK and of the command line end with a code in brackets; ` + "`client.Code(err)`" + ` returns it. A code means the same
for ever. ` + "`skerry explain-error SK2003`" + ` prints a row of these tables, which are made from internal/fault
(` + "`go test ./internal/fault -rewrite`" + `).
`)
	for _, g := range Table() {
		fmt.Fprintf(&b, "\n## %s\n\n| code | means | why | what helps |\n|---|---|---|---|\n", g.Title)
		for _, e := range g.Entries {
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", e.Code, e.Means, e.Cause, e.Remedy)
		}
	}
	return b.String()
}
