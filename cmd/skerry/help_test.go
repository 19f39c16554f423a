package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/spf13/cobra"

	"github.com/skerrydb/skerry/internal/cli/config"
)

// cleanEnv hides settings of whoever runs the tests.
func cleanEnv(t *testing.T) {
	t.Helper()
	for _, e := range os.Environ() {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, config.EnvPrefix) {
			t.Setenv(name, value) // so that it comes back
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// command runs one command line and returns its outputs and exit code.
func command(t *testing.T, in string, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{name: "skerry", in: strings.NewReader(in), out: &o, err: &e, registry: settings()}
	code = a.run(t.Context(), args)
	return o.String(), e.String(), code
}

// TestHelp keeps the help text of every command reviewable.
func TestHelp(t *testing.T) {
	cleanEnv(t)
	datadriven.RunTest(t, "testdata/help.txt", func(t *testing.T, d *datadriven.TestData) string {
		out, errs, code := command(t, "", append(strings.Fields(d.Input), "--help")...)
		if code != 0 || errs != "" {
			t.Fatalf("exit %d: %s", code, errs)
		}
		var b strings.Builder
		for line := range strings.Lines(out) {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
		return strings.ReplaceAll(b.String(), "\n\n", "\n.\n")
	})
}

// TestHelpIsComplete: every command is in testdata/help.txt, has a short description, and its texts end as they should.
func TestHelpIsComplete(t *testing.T) {
	golden, err := os.ReadFile("testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{registry: settings()}
	var walk func(cmd *cobra.Command, path string)
	walk = func(cmd *cobra.Command, path string) {
		if !strings.HasPrefix(path, "completion") && !strings.Contains(string(golden), "\nhelp\n"+path+"\n----") && path != "" {
			t.Errorf("%q is not in testdata/help.txt", path)
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") && !strings.HasPrefix(path, "completion") {
			t.Errorf("%q: short description %q", path, cmd.Short)
		}
		for _, c := range cmd.Commands() {
			walk(c, strings.TrimSpace(path+" "+c.Name()))
		}
	}
	walk(a.root(), "")
}

// TestErrors keeps what people see when they type something wrong.
func TestErrors(t *testing.T) {
	cleanEnv(t)
	t.Chdir(t.TempDir())
	for _, c := range []struct{ args, want string }{
		{"gett", "there is no command \"gett\"; did you mean `skerry get`?"},
		{"ctl shard lst", "did you mean `skerry ctl shard list`?"},
		{"frobnicate", "there is no command \"frobnicate\"; see `skerry --help`"},
		{"get", "accepts 1 arg(s), received 0; usage: skerry get KEY"},
		{"get x --adr y", "unknown flag: --adr; see `skerry get --help`"},
		{"get x --addr nowhere", `"nowhere" is not an address; write it like host:4400`},
		{`get \xzz --addr 127.0.0.1:1`, `bad escape at byte 0`},
		{"get zz --hex --addr 127.0.0.1:1", "is not hexadecimal"},
		{"get x --raw --ttl", "raw"},
		{"get x --addr 127.0.0.1:1", "nobody listens at 127.0.0.1:1 (connection refused); start a node there"},
		{"del", "name keys to delete, or --prefix"},
		{"del --prefix x", "say --yes if it is meant"},
		{"scan a --prefix b", "--prefix and START exclude each other"},
		{"bench", "name one workload"},
		{"bench fly", `unknown workload "fly"`},
		{"bench put --prefix= --cleanup", "would delete all keys"},
		{"put a b --output json", "unknown flag"},
		{"server --cache x", `"x" is not a size`},
		{"server --members 1", `"1" is not a member; write it like 1=host:4400`},
		{"server --memory --data x", "exclude each other"},
		{"store", "name its placement members with --join"},
		{"store --bootstrap", "unknown flag"},
		{"playground --stores 2 --replicas 3", "3 replicas need as many stores"},
		{"playground --addr a:1,b:2", "listens from one address"},
		{"config check --config missing.toml", "missing.toml"},
		{"ctl store remove x", `"x" is not a store; write its number, such as st1001`},
	} {
		out, errs, code := command(t, "", strings.Fields(c.args)...)
		if code != exitError || out != "" || !strings.HasPrefix(errs, "skerry: ") || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("skerry %s: exit %d, output %q, error %q; want %q", c.args, code, out, errs, c.want)
		}
	}
}
