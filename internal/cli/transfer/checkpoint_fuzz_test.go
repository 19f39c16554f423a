package transfer

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzCheckpoint: any file either is refused, or is a checkpoint of this very import that is read again as it was saved.
func FuzzCheckpoint(f *testing.F) {
	want := Checkpoint{Cluster: "c1", Source: "/a.csv", Prefix: []byte("p/")}
	path := filepath.Join(f.TempDir(), "seed")
	c, err := OpenCheckpoint(path, want)
	if err == nil {
		err = c.save("b\xff", 7)
	}
	if err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "checkpoint")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := OpenCheckpoint(path, want)
		if err != nil {
			return
		}
		have := c.State()
		if have.Cluster != want.Cluster || have.Source != want.Source || !bytes.Equal(have.Prefix, want.Prefix) {
			t.Fatalf("a checkpoint of another import was accepted: %+v", have)
		}
		if err := c.save(string(have.Pos), have.Keys); err != nil {
			t.Fatal(err)
		}
		again, err := OpenCheckpoint(path, want)
		if err != nil || !bytes.Equal(again.State().Pos, have.Pos) || again.State().Keys != have.Keys {
			t.Fatalf("%+v reads back as %+v, %v", have, again, err)
		}
	})
}
