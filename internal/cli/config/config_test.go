package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/spf13/pflag"
	"pgregory.net/rapid"
)

func testRegistry() *Registry {
	return New(
		Setting{Key: "listen", Kind: Text, Default: "127.0.0.1:4400"},
		Setting{Key: "split-keys", Kind: List, Default: "k"},
		Setting{Key: "cache", Kind: Size, Default: "64MiB"},
		Setting{Key: "timeout", Kind: Duration, Default: "3s"},
		Setting{Key: "replicas", Kind: Number},
		Setting{Key: "bootstrap", Kind: Bool},
		Setting{Key: "level", Kind: Text, Default: "info", Check: func(s string) error {
			if s != "info" && s != "debug" {
				return fmt.Errorf("%q is no level", s)
			}
			return nil
		}},
	)
}

// TestLoad: "load" takes a file of settings as its input (file=x.toml), and variables and flags as arguments; it prints
// every value that is not a default and its origin, or the error.
func TestLoad(t *testing.T) {
	for _, e := range os.Environ() {
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, EnvPrefix) {
			t.Setenv(name, "")
			_ = os.Unsetenv(name)
		}
	}
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Chdir(t.TempDir())
			var file string
			var environ, args []string
			plain := strings.NewReplacer(";", ",", "_b", " b", "_y", " y") // datadriven keeps commas and spaces for itself
			for _, a := range d.CmdArgs {
				switch a.Key {
				case "file":
					file = a.Vals[0]
					if err := os.WriteFile(file, []byte(d.Input), 0o600); err != nil {
						t.Fatal(err)
					}
				case "env":
					for _, v := range a.Vals {
						environ = append(environ, plain.Replace(v))
					}
				case "flags":
					for _, v := range a.Vals {
						args = append(args, plain.Replace(v))
					}
				}
			}
			for _, e := range environ {
				name, value, _ := strings.Cut(e, "=")
				if err := os.Setenv(name, value); err != nil {
					t.Fatal(err)
				}
				defer os.Unsetenv(name)
			}
			return load(file, environ, args)
		})
	})
}

func load(file string, environ, args []string) string {
	r := testRegistry()
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	r.AddFlags(fs, r.Keys()...)
	if err := fs.Parse(args); err != nil {
		return "error: " + err.Error() + "\n"
	}
	v, err := r.Load(fs, file, environ)
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	for _, row := range v.Rows() {
		if row.Source != FromDefault {
			fmt.Fprintf(&b, "%s  # %s\n", row.TOML(), v.Origin(row.Key))
		}
	}
	fmt.Fprintf(&b, "cache %d timeout %s replicas %d bootstrap %v\n", v.Size("cache"), v.Duration("timeout"), v.Number("replicas"), v.Bool("bootstrap"))
	return b.String()
}

// TestPrecedence sets one setting at random places, each to another value, and compares with the order that is promised.
func TestPrecedence(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		r := testRegistry()
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		r.AddFlags(fs, "listen")
		want, file, environ := Origin{FromDefault, ""}, "", []string(nil)
		wantText := "127.0.0.1:4400"
		if rapid.Bool().Draw(rt, "file") {
			file = filepath.Join(dir, "a.yaml")
			if err := os.WriteFile(file, []byte("listen: file\n"), 0o600); err != nil {
				rt.Fatal(err)
			}
			want, wantText = Origin{FromFile, file}, "file"
		}
		if rapid.Bool().Draw(rt, "env") {
			t.Setenv("SKERRY_LISTEN", "env")
			defer os.Unsetenv("SKERRY_LISTEN")
			environ = []string{"SKERRY_LISTEN=env"}
			want, wantText = Origin{FromEnv, "SKERRY_LISTEN"}, "env"
		}
		if rapid.Bool().Draw(rt, "flag") {
			if err := fs.Parse([]string{"--listen=flag"}); err != nil {
				rt.Fatal(err)
			}
			want, wantText = Origin{FromFlag, "--listen"}, "flag"
		}
		v, err := r.Load(fs, file, environ)
		if err != nil {
			rt.Fatal(err)
		}
		if v.Text("listen") != wantText || v.Origin("listen") != want {
			rt.Fatalf("listen = %q from %v, want %q from %v", v.Text("listen"), v.Origin("listen"), wantText, want)
		}
	})
}

// TestPrintedFileReadsBack: what Rows prints as TOML means the same when it is read as a file.
func TestPrintedFileReadsBack(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringMatching(`[ -~äß\\'"]{1,12}`)
		r := testRegistry()
		list := rapid.SliceOfN(text, 0, 3).Draw(rt, "list")
		row := Row{Key: "split-keys", Value: append([]string{}, list...)}
		listen := text.Draw(rt, "listen")
		file := filepath.Join(dir, "b.toml")
		content := row.TOML() + "\n" + Row{Key: "listen", Value: listen}.TOML() + "\n"
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			rt.Fatal(err)
		}
		v, err := r.Load(pflag.NewFlagSet("", pflag.ContinueOnError), file, nil)
		if err != nil {
			rt.Fatalf("%v in\n%s", err, content)
		}
		if v.Text("listen") != listen || !slices.Equal(v.List("split-keys"), list) {
			rt.Fatalf("got %q and %q from\n%s", v.Text("listen"), v.List("split-keys"), content)
		}
	})
}
