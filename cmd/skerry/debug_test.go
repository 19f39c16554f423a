package main

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/cmd/node"
)

// TestDebug: the directory of a stopped node tells what is in it, damage is found by the check and refused by the start, and
// a directory in use is not touched.
func TestDebug(t *testing.T) {
	cleanEnv(t)
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cfg := node.Config{Listen: "127.0.0.1:0", DataDir: dir, Version: "test", Placement: &node.PlacementConfig{ID: 1, Bootstrap: true, Replicas: 1}, Store: &node.StoreConfig{}}
	n, err := node.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	db, err := client.Open(ctx, n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"a", "b", "c"} {
		if err := db.Put(ctx, []byte(k), []byte("value of "+k)); err != nil {
			t.Fatal(err)
		}
	}
	_ = db.Close()
	if _, errs, code := command(t, "", "debug", "check", dir); code != 1 || !strings.Contains(errs, "in use by another process") || !strings.Contains(errs, "[SK4001]") {
		t.Errorf("a directory in use: exit %d, %s", code, errs)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	says := func(want string, args ...string) {
		t.Helper()
		out, errs, code := command(t, "", append([]string{"debug"}, args...)...)
		if !regexp.MustCompile(want).MatchString(out) || code != 0 || errs != "" {
			t.Errorf("debug %v: exit %d, %s%s", args, code, out, errs)
		}
	}
	says(`(?s)placement: 0 tables, 1 replicas.*store: 0 tables, 1 replicas, \d+ log entries, 3 keys; it was stopped in order.*ok`, "check", dir)
	says(`(?s)st\d+ +s\d+ +r\d+ +\["", inf\)`, "shard", filepath.Join(dir, "store"))
	says(`(?m)^ra\t\d+\nrb\t\d+\nrc\t\d+\n`, "keys", filepath.Join(dir, "store"))
	out, _, _ := command(t, "", "debug", "shard", filepath.Join(dir, "store"))
	id := regexp.MustCompile(`s\d\d+`).FindString(out)
	says(`(?s)KIND.*empty.*data`, "log", filepath.Join(dir, "store"), id)
	says(`^r\w\t`, "keys", dir, id)

	// One byte of the write-ahead log, as a failing disk may change it.
	logs, err := filepath.Glob(filepath.Join(dir, "store", "db", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	text, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(logs[0], text, 0o644); err != nil {
		t.Fatal(err)
	}
	out, errs, code := command(t, "", "debug", "check", dir)
	if code != 1 || !strings.Contains(out, logs[0]) || !strings.Contains(errs, "[SK4004]") {
		t.Errorf("a flipped byte: exit %d, %s%s", code, out, errs)
	}
	if n, err := node.Start(ctx, cfg); err == nil || !strings.Contains(err.Error(), logs[0]) {
		t.Errorf("a node starts on it: %v", err)
		if n != nil {
			_ = n.Close()
		}
	}
	if _, errs, code := command(t, "", "debug", "shard", t.TempDir()); code != 1 || !strings.Contains(errs, "[SK4002]") {
		t.Errorf("an empty directory: exit %d, %s", code, errs)
	}
}
