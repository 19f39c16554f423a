package raftstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/shard"
)

// TestScrub: a store reads its tables again and again and counts that; when one is damaged it stops, and says which and why.
func TestScrub(t *testing.T) {
	fs := vfs.NewMem()
	e := openMem(t, fs)
	if err := e.SetRecord("x", []byte("y")); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openMem(t, fs) // which writes what was in the log into a table
	defer func() { _ = e.Close() }()
	broken := make(chan error, 1)
	s, err := Open(Options{Env: env.Real{}, Engine: e, Store: 1, Transport: &sent{}, CheckEvery: 5 * time.Millisecond, OnBroken: func(err error) { broken <- err }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	count := func(name string) uint64 {
		for _, c := range s.Counters() {
			if c.Name == name {
				return c.Value
			}
		}
		t.Fatalf("no counter %s", name)
		return 0
	}
	begun, on := s.Scrubbed()
	for count("scrubs_total") < 3 {
		time.Sleep(time.Millisecond)
	}
	if last, _ := s.Scrubbed(); !on || last <= begun || count("scrubbed_bytes_total") == 0 {
		t.Errorf("on %t, from %d to %d, %d bytes", on, begun, last, count("scrubbed_bytes_total"))
	}
	name := rot(t, fs)
	err = <-broken
	var stopped *shard.BrokenError
	if !errors.As(err, &stopped) || fault.Of(err) != fault.Corrupt || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "check table") {
		t.Errorf("it ends with %v [%s]", err, fault.Of(err))
	}
	if fault.Of(s.Err()) != fault.StoreStopped {
		t.Errorf("callers hear %v", s.Err())
	}
}

// rot changes a byte of every table, and returns the name of the first.
func rot(t *testing.T, fs vfs.FS) string {
	t.Helper()
	const dir = "store/db"
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	first := ""
	for _, n := range names {
		if !strings.HasSuffix(n, ".sst") {
			continue
		}
		if first == "" || n < first {
			first = n
		}
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, n), vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{0xa5}, 10); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if first == "" {
		t.Fatal("there are no tables")
	}
	return first
}
