package states

import (
	"flag"
	"os"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write docs/states.md")

// TestDocument: docs/states.md says what the tables say.
func TestDocument(t *testing.T) {
	const name = "../../docs/states.md"
	if *rewrite {
		if err := os.WriteFile(name, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != Markdown() {
		t.Errorf("%s is not what the tables say: run make generate", name)
	}
}

// TestNames: reports of rows name the table, so no two tables share a name.
func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, c := range All() {
		if seen[c.Name] {
			t.Errorf("two tables are called %q", c.Name)
		}
		seen[c.Name] = true
	}
}
