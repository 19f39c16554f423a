// Package states gathers the tables of states of all packages: for docs/states.md, which is made from them, and for the
// simulator, which counts their rows.
package states

import (
	"strings"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/placement"
	"github.com/skerrydb/skerry/raftstore"
)

// All are the tables of the program.
func All() []fsm.Chart {
	var out []fsm.Chart
	out = append(out, raftstore.Charts()...)
	out = append(out, placement.Charts()...)
	return append(out, client.Charts()...)
}

const head = `# States

What lives in Skerry goes through explicit states. Each machine is a table in the code (` + "`internal/fsm`" + `): a pair of a
state and an event is a row, is ignored, or is illegal. An illegal one is a bug: a store or a placement member that meets
it stops and says so, a client reports the write as ambiguous. The simulator counts the rows (` + "`skerry-sim run`" + ` prints those
that no world took).

This file is made from the tables by ` + "`make generate`" + `; a test keeps them equal.
`

// Markdown is docs/states.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(head)
	for _, c := range All() {
		b.WriteString("\n" + c.Markdown())
	}
	return b.String()
}
