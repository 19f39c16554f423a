package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestCtlSplit cuts shards of a running cluster by hand.
func TestCtlSplit(t *testing.T) {
	cleanEnv(t)
	p := start(t, "playground", "--addr", "127.0.0.1:0")
	s := &steps{t: t, addr: p.wait(`address +(\S+)\n`)}
	p.wait("Ctrl-C ends it")
	var in strings.Builder
	for i := range 300 {
		fmt.Fprintf(&in, "{\"key\":\"user/%03d\",\"value\":\"%s\"}\n", i, strings.Repeat("v", 100))
	}
	s.run(0, in.String(), "import", "--format", "jsonl", "-")
	list := func(args ...string) (rows []shardRow) {
		t.Helper()
		var doc struct {
			Shards []shardRow `json:"shards"`
		}
		if err := json.Unmarshal([]byte(s.run(0, "", append(args, "-o", "json")...)), &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Shards
	}
	id := fmt.Sprint("s", list("ctl", "shard", "list")[0].ID)
	parts := list("ctl", "shard", "split", id, "--key", "user/200", "--key", "user/100")
	if len(parts) != 3 || *parts[1].Start != "user/100" || *parts[2].Start != "user/200" || parts[0].End == nil || *parts[0].End != "user/100" {
		t.Fatalf("%+v", parts)
	}
	if again := list("ctl", "shard", "split", id, "--key", "user/100"); len(again) == 0 {
		t.Fatal("the same cut again")
	}
	halves := list("ctl", "shard", "split", fmt.Sprint(parts[2].ID), "--half")
	if len(halves) != 2 || *halves[1].Start != "user/250" {
		t.Fatalf("%+v", halves)
	}
	if four := list("ctl", "shard", "split", fmt.Sprint(parts[1].ID), "--into", "4"); len(four) != 4 {
		t.Fatalf("%+v", four)
	}
	s.run(exitError, "", "ctl", "shard", "split", id, "--key", "user/299")
	s.run(exitError, "", "ctl", "shard", "split", id, "--into", "1")
	s.run(exitError, "", "ctl", "shard", "split", id)
	s.run(exitError, "", "ctl", "shard", "split", id, "--half", "--key", "a")
	s.healthy("healthy")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) { // placement hears by heartbeats
		rows := list("ctl", "shard", "list")
		if len(rows) == 7 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("placement knows %d shards", len(rows))
		}
	}
	if n := strings.Count(s.run(0, "", "scan", "--keys-only", "--limit", "1000"), "\n"); n != 300 {
		t.Fatalf("%d keys", n)
	}
	s.expect(strings.Repeat("v", 100)+"\n", "get", "user/250")
}
