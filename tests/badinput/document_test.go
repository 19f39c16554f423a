package badinput

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write docs/bad-input.md anew")

const root = "../.."

// TestTable runs every row that runs here, and compares what there is to see with docs/bad-input.md.
func TestTable(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[string]string)
	t.Run("in", func(t *testing.T) {
		for _, name := range worldsInOrder() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := worlds[name](t)
				for _, s := range table {
					for i := range s.Cases {
						c := &s.Cases[i]
						if s.World != name {
							continue
						}
						t.Run(c.Name, func(t *testing.T) {
							text := c.do(t, w)
							mu.Lock()
							defer mu.Unlock()
							seen[c.Name] = text
						})
					}
				}
			})
		}
	})
	if t.Failed() || len(seen) != here() {
		return // not all rows ran
	}
	const file = root + "/docs/bad-input.md"
	want := document(seen)
	if *rewrite {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != want {
		t.Errorf("docs/bad-input.md is not what there is to see (go test ./tests/badinput -rewrite):\n%s", firstDifference(string(have), want))
	}
}

func worldsInOrder() (out []string) {
	for _, s := range table {
		if s.World != "" && !slices.Contains(out, s.World) {
			out = append(out, s.World)
		}
	}
	return out
}

// here is how many rows run here.
func here() (n int) {
	for _, s := range table {
		if s.World != "" {
			n += len(s.Cases)
		}
	}
	return n
}

func firstDifference(have, want string) string {
	h, w := strings.Split(have, "\n"), strings.Split(want, "\n")
	for i := range min(len(h), len(w)) {
		if h[i] != w[i] {
			return "the document: " + h[i] + "\nto see:       " + w[i]
		}
	}
	return "one has more lines"
}

// document is docs/bad-input.md.
func document(seen map[string]string) string {
	var b strings.Builder
	b.WriteString(`# Bad input

What people, machines and networks do wrong, what is to be seen then, and what is not lost by it. The rows are those of one table
in tests/badinput; each is done there, or by the test that stands in its place, and the texts are what came out
(` + "`go test ./tests/badinput -rewrite`" + `). Numbers, addresses and ids differ. The codes are explained in [errors](errors.md), and by
` + "`skerry explain-error`" + `.
`)
	for _, s := range table {
		fmt.Fprintf(&b, "\n## %s\n\n| what is done | what is to be seen | what is safe |\n|---|---|---|\n", s.Title)
		for i := range s.Cases {
			c := &s.Cases[i]
			does, sees, safe := c.Does, c.Sees, c.Safe
			if does == "" {
				does = code("skerry " + c.CLI)
			}
			does += c.given()
			if text := strings.TrimSuffix(seen[c.Name], " ["+string(c.Code)+"]"); text != "" && c.Sees == "" {
				sees = code(text)
				if c.Code != "" {
					sees = string(c.Code) + ": " + sees
				}
			} else if c.Code != "" {
				sees = string(c.Code) + ": " + sees
			}
			if c.Test != "" {
				safe += " (" + c.Test + ")"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", cell(does), cell(sees), cell(safe))
		}
	}
	return b.String()
}

// given is what a command line gets beside its words.
func (c *Case) given() string {
	var out []string
	// in any order: sorted below
	for name, text := range c.Files {
		out = append(out, name+" is "+code(strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "⏎")))
	}
	slices.Sort(out)
	switch {
	case len(c.In) > 1000:
		out = append(out, fmt.Sprintf("%d bytes on standard input", len(c.In)))
	case c.In != "":
		out = append(out, code(strings.ReplaceAll(strings.TrimSuffix(c.In, "\n"), "\n", "⏎"))+" on standard input")
	}
	if len(out) == 0 {
		return ""
	}
	return "; " + strings.Join(out, "; ")
}

// code is a text as it is, which may have backticks.
func code(text string) string {
	if strings.Contains(text, "`") {
		return "`` " + text + " ``"
	}
	return "`" + text + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// TestRows: the table is as large as it should be, names are given once, and every row says what is to be known.
func TestRows(t *testing.T) {
	names := make(map[string]bool)
	all := 0
	for _, s := range table {
		for i := range s.Cases {
			c := &s.Cases[i]
			all++
			if c.Name == "" || names[c.Name] {
				t.Errorf("%q stands twice", c.Name)
			}
			names[c.Name] = true
			if c.Safe == "" || c.Does == "" && c.CLI == "" {
				t.Errorf("%s: it does not say what is done, or what is safe", c.Name)
			}
			ways := 0
			for _, has := range []bool{c.CLI != "", c.Run != nil, c.Test != ""} {
				if has {
					ways++
				}
			}
			if ways != 1 || (c.Test != "") != (s.World == "") {
				t.Errorf("%s: it must be done in one way, here or elsewhere", c.Name)
			}
			if c.Test == "" && c.Code == "" && c.Sees == "" && c.Helps == "" {
				t.Errorf("%s: nothing is to be seen", c.Name)
			}
		}
	}
	if all < 50 || here() < 40 {
		t.Errorf("%d rows, of which %d run here", all, here())
	}
	t.Logf("%d rows, of which %d run here", all, here())
}

// TestElsewhere: the tests that stand in the place of rows exist, and what their rows say is to be seen is in the program.
func TestElsewhere(t *testing.T) {
	texts := product(t)
	for _, s := range table {
		for i := range s.Cases {
			c := &s.Cases[i]
			if c.Test == "" {
				continue
			}
			pkg, name, _ := strings.Cut(c.Test, ".")
			name, row, isRow := strings.Cut(name, "/")
			if !hasTest(t, pkg, name, row, isRow) {
				t.Errorf("%s: there is no test %s", c.Name, c.Test)
			}
			if len(c.Says) == 0 || c.Sees == "" {
				t.Errorf("%s: it does not say what is to be seen", c.Name)
			}
			for _, words := range c.Says {
				if !strings.Contains(texts, words) {
					t.Errorf("%s: nothing in the program says %q", c.Name, words)
				}
			}
		}
	}
}

func hasTest(t *testing.T, pkg, name, row string, isRow bool) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), "\nfunc "+name+"(t *testing.T) {") && (!isRow || strings.Contains(string(b), `"`+row+`"`)) {
			return true
		}
	}
	return false
}

// product is the source of the program.
func product(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range []string{"client", "cmd/node", "cmd/skerry", "engine", "internal", "placement", "raftstore", "rpc", "shard"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go") {
				return err
			}
			text, err := os.ReadFile(p)
			b.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
