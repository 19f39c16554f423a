package shard

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// parse reads a descriptor as a transcript writes it: "s10 [a,f) 1.1 r1@st1 r2@st2:learner". A star is the lowest bound
// or the highest.
func parse(t testing.TB, s string) *Descriptor {
	t.Helper()
	f := strings.Fields(s)
	d := &Descriptor{ID: ID(num(t, f[0], "s")), Range: parseRange(f[1])}
	if _, err := fmt.Sscanf(f[2], "%d.%d", &d.Epoch.ConfVer, &d.Epoch.Version); err != nil {
		t.Fatalf("epoch %q: %v", f[2], err)
	}
	for _, r := range f[3:] {
		d.Replicas = append(d.Replicas, parseReplica(t, r))
	}
	return d
}

func parseRange(s string) Range {
	bounds := strings.Split(strings.Trim(s, "[)"), ",")
	for i, b := range bounds {
		if b == "*" {
			bounds[i] = ""
		}
	}
	return Range{Start: Key(bounds[0]), End: Key(bounds[1])}
}

func parseReplica(t testing.TB, s string) Replica {
	t.Helper()
	s, role, _ := strings.Cut(s, ":")
	id, store, _ := strings.Cut(s, "@")
	r := Replica{ID: ReplicaID(num(t, id, "r")), Role: Voter}
	if store != "" {
		r.Store = StoreID(num(t, store, "st"))
	}
	for _, known := range []Role{Learner, IncomingVoter, DemotingVoter, 9} {
		if role == known.String() {
			r.Role = known
		}
	}
	return r
}

func num(t testing.TB, s, prefix string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(s, prefix), 10, 64)
	if err != nil {
		t.Fatalf("number %q: %v", s, err)
	}
	return n
}

func lines(s string) []string {
	if s = strings.TrimSpace(s); s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
