// Package layout holds the rules of the house as tests: who may import whom, which heavy library has which door, and
// which packages are pure.
package layout

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/skerrydb/skerry"

// rule says what a package, named by its path below the module, may import of ours. A package may always import its
// own satellites (packages below it that are listed here for it).
type rule struct {
	pkg  string
	may  []string
	pure bool
}

var rules = []rule{
	{pkg: "internal/env"},
	{pkg: "internal/bug"},
	{pkg: "internal/budget", may: []string{"internal/invariant"}},
	{pkg: "internal/buffer"},
	{pkg: "internal/rate", pure: true},
	{pkg: "internal/codec", pure: true},
	{pkg: "internal/invariant", pure: true},
	{pkg: "internal/fsm", pure: true},
	{pkg: "internal/fault", pure: true},
	{pkg: "internal/version", pure: true},
	{pkg: "internal/setting", may: []string{"internal/version"}, pure: true},
	{pkg: "shard", may: []string{"internal/bug", "internal/fault", "internal/codec", "internal/invariant"}, pure: true},
	{pkg: "shard/call", may: []string{"internal/fault", "shard", "internal/codec"}, pure: true},
	{pkg: "shard/raw", may: []string{"shard", "internal/codec"}, pure: true},
	{pkg: "shard/mvcc", may: []string{"internal/bug", "internal/fault", "shard", "internal/codec"}, pure: true},
	{pkg: "shard/mvcc/mvcctest", may: []string{"shard", "shard/mvcc", "engine/keys"}},
	{pkg: "shard/raw/rawtest", may: []string{"shard", "shard/raw", "shard/mvcc", "shard/mvcc/mvcctest"}},
	{pkg: "shard/beat", may: []string{"shard", "internal/version", "internal/setting"}, pure: true},
	{pkg: "engine/keys", may: []string{"shard", "internal/codec"}, pure: true},
	{pkg: "engine/journal", may: []string{"internal/bug", "internal/fault", "internal/buffer", "internal/codec"}},
	{pkg: "engine", may: []string{"internal/bug", "internal/fault", "internal/version", "shard", "shard/mvcc", "engine/keys", "engine/journal", "internal/buffer", "internal/codec", "internal/env", "internal/invariant"}},
	{pkg: "raftstore/group", may: []string{"internal/bug", "shard", "internal/codec", "internal/invariant"}, pure: true},
	{pkg: "raftstore/apply", may: []string{"internal/bug", "internal/version", "shard", "shard/call", "shard/raw", "shard/mvcc", "internal/codec"}, pure: true},
	{pkg: "raftstore/load", may: []string{"shard", "shard/beat"}, pure: true},
	{pkg: "raftstore", may: []string{"internal/bug", "internal/fsm", "internal/version", "shard", "shard/call", "shard/raw", "shard/mvcc", "shard/beat", "engine", "raftstore/group", "raftstore/apply", "raftstore/load", "internal/budget", "internal/buffer", "internal/rate", "internal/env", "internal/codec", "internal/invariant"}},
	{pkg: "placement/tso", pure: true},
	{pkg: "placement/operator", may: []string{"internal/bug", "internal/fsm", "shard"}, pure: true},
	{pkg: "placement/schedule", may: []string{"shard", "placement/operator"}, pure: true},
	{pkg: "placement", may: []string{"internal/bug", "internal/fsm", "internal/version", "internal/setting", "shard", "shard/raw", "shard/beat", "placement/operator", "placement/schedule", "placement/tso", "internal/env", "internal/codec"}},
	{pkg: "rpc", may: []string{"internal/fault", "internal/version", "internal/setting", "shard", "shard/call", "shard/beat", "proto", "internal/budget", "internal/buffer", "internal/env", "internal/codec"}},
	{pkg: "client", may: []string{"internal/bug", "internal/buffer", "internal/fault", "internal/setting", "internal/fsm", "shard", "shard/call", "shard/raw", "shard/mvcc", "shard/beat", "rpc", "proto", "internal/env", "internal/rate", "internal/codec"}},
}

// doors names the packages through which a heavy library may be reached.
var doors = map[string][]string{
	"google.golang.org/grpc":         {"rpc", "proto", "cmd", "client"},
	"github.com/cockroachdb/pebble":  {"engine", "engine/journal", "cmd/node", "client/embed"}, // the latter two name vfs only
	"go.etcd.io/raft":                {"raftstore", "raftstore/group", "engine"},
	"github.com/spf13":               {"cmd", "internal/cli"},
	"github.com/prometheus":          {"cmd", "internal/cli"},
	"google.golang.org/protobuf":     {"rpc", "proto", "raftstore/group"},
	"go.etcd.io/etcd/client/pkg":     {"engine", "cmd"},
	"github.com/vbauerster/mpb":      {"cmd", "internal/cli"},
	"github.com/HdrHistogram":        {"cmd", "internal"},
	"github.com/anishathalye/porcup": {"tests"},
}

// impure are imports that a pure package has no use for: clocks, the system, concurrency, randomness.
var impure = []string{"os", "net", "sync", "sync/atomic", "context", "log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "runtime", "syscall", "unsafe"}

type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Dir,GoFiles,Imports,Deps"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func within(pkg, dir string) bool { return pkg == dir || strings.HasPrefix(pkg, dir+"/") }

// TestFloors: imports go down only.
func TestFloors(t *testing.T) {
	known := make(map[string]rule)
	for _, r := range rules {
		known[r.pkg] = r
	}
	for _, p := range list(t, "./...") {
		pkg := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if within(pkg, "cmd") || within(pkg, "tests") || within(pkg, "proto") || within(pkg, "client/embed") || within(pkg, "internal/cli") || within(pkg, "internal/bench") {
			continue // the uppermost floors, and generated code
		}
		r, ok := known[pkg]
		if !ok {
			t.Errorf("package %s has no floor: give it one in this table", pkg)
			continue
		}
		for _, imp := range p.Imports {
			if !strings.HasPrefix(imp, module+"/") {
				continue
			}
			imp = strings.TrimPrefix(imp, module+"/")
			if !slices.ContainsFunc(r.may, func(m string) bool { return imp == m || m == "proto" && within(imp, "proto") }) {
				t.Errorf("%s must not import %s", pkg, imp)
			}
		}
	}
}

// TestDoors: each heavy library is reached through few packages.
func TestDoors(t *testing.T) {
	for _, p := range list(t, "./...") {
		pkg := strings.TrimPrefix(p.ImportPath, module+"/")
		for lib, allowed := range doors {
			for _, imp := range p.Imports {
				if strings.HasPrefix(imp, lib) && !within(pkg, "tests") && !slices.ContainsFunc(allowed, func(d string) bool {
					return pkg == d || d != "engine" && d != "raftstore" && d != "client" && within(pkg, d)
				}) {
					t.Errorf("%s imports %s, which is reached only through %v", pkg, imp, allowed)
				}
			}
		}
	}
}

// TestPure: no clock, system, concurrency or randomness in the packages that decide.
func TestPure(t *testing.T) {
	byPath := make(map[string]listed)
	for _, p := range list(t, "./...") {
		byPath[strings.TrimPrefix(p.ImportPath, module+"/")] = p
	}
	for _, r := range rules {
		p, ok := byPath[r.pkg]
		if !r.pure || !ok {
			continue
		}
		for _, imp := range p.Imports {
			if slices.Contains(impure, imp) {
				t.Errorf("%s is pure and imports %s", r.pkg, imp)
			}
		}
		for _, f := range p.GoFiles {
			checkPureFile(t, r.pkg, filepath.Join(p.Dir, f))
		}
	}
}

// checkPureFile finds goroutines, channels, and reads of the clock.
func checkPureFile(t *testing.T, pkg, path string) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		bad := ""
		switch n := n.(type) {
		case *ast.GoStmt:
			bad = "a go statement"
		case *ast.ChanType, *ast.SelectStmt:
			bad = "a channel"
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker", "AfterFunc", "Tick"}, n.Sel.Name) {
				bad = "time." + n.Sel.Name
			}
		}
		if bad != "" {
			t.Errorf("%s is pure: %s at %s", pkg, bad, fset.Position(n.Pos()))
		}
		return true
	})
}

// TestClientIsLight: what users link beside their program holds no store.
func TestClientIsLight(t *testing.T) {
	for _, p := range list(t, "./client") {
		for _, dep := range p.Deps {
			for _, heavy := range []string{"go.etcd.io/raft", "github.com/cockroachdb/pebble", "github.com/spf13/viper", "github.com/spf13/cobra", "github.com/prometheus"} {
				if strings.HasPrefix(dep, heavy) {
					t.Errorf("client depends on %s", dep)
				}
			}
		}
	}
}
