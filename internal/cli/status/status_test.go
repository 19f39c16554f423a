package status

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/internal/cli/output"
	"github.com/skerrydb/skerry/shard"
)

// TestVerdicts: the input of "judge" is a picture, a line each:
//
//	error TEXT                        placement does not answer
//	member ID [leader] [silent]
//	store ID STATE [answers] [seen=D] [free=SIZE] [version=V] [shards=N] [leaders=N]
//	version ready|behind              the upgrade can be ended, or a node is in the way of that
//	shard ID START..END REPLICA...    of the form STORE[:ROLE], the leader with a *; START and END may be empty
//
// The output is what `skerry ctl status` prints, or the JSON document.
func TestVerdicts(t *testing.T) {
	datadriven.RunTest(t, "testdata/verdicts.txt", func(t *testing.T, d *datadriven.TestData) string {
		p := &Picture{Addr: "127.0.0.1:4400", Cluster: "c1", Answers: make(map[shard.StoreID]bool)}
		for line := range strings.Lines(d.Input) {
			parse(t, p, strings.Fields(line))
		}
		r := Judge(p)
		var b strings.Builder
		var err error
		if d.HasArg("json") {
			err = output.WriteJSON(&b, MakeDocument(p, &r))
		} else {
			err = Print(&b, p, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		for line := range strings.Lines(b.String()) {
			out.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
		return fmt.Sprintf("%sexit %d\n", strings.ReplaceAll(out.String(), "\n\n", "\n.\n"), r.Verdict)
	})
}

func parse(t *testing.T, p *Picture, f []string) {
	t.Helper()
	switch f[0] {
	case "error":
		p.Err = errors.New(strings.Join(f[1:], " "))
	case "member":
		m := Member{MemberInfo: client.MemberInfo{Store: number[shard.StoreID](t, f[1]), Addr: "m" + f[1] + ":4400"}}
		for _, w := range f[2:] {
			m.Leader = m.Leader || w == "leader"
			if w == "silent" {
				m.Err = errors.New("connection refused")
			}
		}
		p.Members = append(p.Members, m)
	case "store":
		st := parseStore(t, f)
		p.Stores = append(p.Stores, st)
		p.Answers[st.ID] = slices.Contains(f, "answers")
	case "version":
		p.Version = &client.VersionInfo{Version: 1, Target: 2}
		if f[1] == "behind" {
			p.Version.Nodes = []client.NodeVersion{{Role: "store", ID: 1001, Why: "its program knows no version above 1; upgrade it"}}
		}
	case "paused":
		p.Paused, p.Operators = 90*time.Second, 2
	case "shard":
		p.Shards = append(p.Shards, parseShard(t, f))
	default:
		t.Fatalf("unknown line %q", f)
	}
}

func parseStore(t *testing.T, f []string) client.StoreInfo {
	t.Helper()
	s := client.StoreInfo{ID: number[shard.StoreID](t, f[1]), Addr: "s" + f[1] + ":4400", State: f[2], Used: 1 << 20, Free: 50 << 30, Capacity: 100 << 30, Version: "v1"}
	for _, w := range f[3:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "seen":
			s.SeenAgo, err = time.ParseDuration(value)
		case "free":
			var n int64
			n, err = output.ParseSize(value)
			s.Free = uint64(n)
		case "version":
			s.Version = value
		case "disk":
			s.SlowDisk = value == "slow"
		case "net":
			s.SlowNet = value == "slow"
		case "shards":
			s.Shards = number[int](t, value)
		case "leaders":
			s.Leaders = number[int](t, value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func parseShard(t *testing.T, f []string) client.ShardInfo {
	t.Helper()
	start, end, _ := strings.Cut(f[2], "..")
	s := client.ShardInfo{ID: number[shard.ID](t, f[1]), Range: shard.ModeRange(shard.ModeRaw)}
	if start != "" {
		s.Range.Start = shard.RawKey([]byte(start))
	}
	if end != "" {
		s.Range.End = shard.RawKey([]byte(end))
	}
	roles := map[string]shard.Role{"": shard.Voter, "learner": shard.Learner, "incoming": shard.IncomingVoter, "demoting": shard.DemotingVoter}
	for i, text := range f[3:] {
		text, leads := strings.CutSuffix(text, "*")
		store, role, _ := strings.Cut(text, ":")
		r := shard.Replica{ID: shard.ReplicaID(s.ID)*10 + shard.ReplicaID(i), Store: number[shard.StoreID](t, store), Role: roles[role]}
		if leads {
			s.Leader = r
		}
		s.Replicas = append(s.Replicas, r)
	}
	return s
}

func number[T ~int | ~uint64](t *testing.T, text string) T {
	t.Helper()
	var n T
	if _, err := fmt.Sscan(text, &n); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return n
}
