package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/spf13/pflag"

	"github.com/skerrydb/skerry/cmd/node"
)

// TestNodeConfig: "server", "store" and "placement" take flags as their input and print what would run, or the error.
func TestNodeConfig(t *testing.T) {
	cleanEnv(t)
	datadriven.RunTest(t, "testdata/nodeconfig.txt", func(t *testing.T, d *datadriven.TestData) string {
		t.Chdir(t.TempDir())
		if err := os.WriteFile("keys.txt", []byte("m\n\\x80\r\n\nb,c\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := settings()
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		r.AddFlags(fs, r.Keys()...)
		if err := fs.Parse(strings.Fields(d.Input)); err != nil {
			return "error: " + err.Error() + "\n"
		}
		v, err := r.Load(fs, "", nil)
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		c, err := nodeConfig(role(d.Cmd), v)
		if err != nil {
			return "error: " + err.Error() + "\n"
		}
		var b strings.Builder
		fmt.Fprintf(&b, "listen %q advertise %q data %q memory %v join %q\n", c.Listen, c.Advertise, c.DataDir, c.Memory, c.Join)
		if p := c.Placement; p != nil && p.Join {
			fmt.Fprintf(&b, "placement: a new member, in the place of %d\n", p.Replace)
		} else if p != nil {
			fmt.Fprintf(&b, "placement: member %d of %v, bootstrap %v, replicas %d, stores %d, split keys %q\n", p.ID, p.Members, p.Bootstrap, p.Replicas, p.Stores, p.SplitKeys)
		}
		if s := c.Store; s != nil {
			cache := fmt.Sprint(s.CacheBytes)
			if s.CacheBytes == node.DefaultCacheBytes() {
				cache = "of this machine"
			}
			fmt.Fprintf(&b, "store: cache %s, mem-table %d, snapshots %d/s, split from %d or %d/s\n", cache, s.MemTableBytes, s.SnapshotBytesPerSecond, s.SplitBytes, s.SplitWork)
			if v.Given(keyCheckEvery) {
				fmt.Fprintf(&b, "store: checked every %s, %d/s\n", s.CheckEvery, s.CheckBytesPerSecond)
			}
		}
		if p := c.Placement; p != nil && v.Given(keyCheckEvery) {
			fmt.Fprintf(&b, "placement: checked every %s, %d/s\n", p.CheckEvery, p.CheckBytesPerSecond)
		}
		return b.String()
	})
}
