package apply

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/mvcc"
)

func txnKey(user string) shard.Key { return mvcc.Key([]byte(user)) }

// txnBody parses a command of a transaction: what it is, its start timestamp, then options, keys, and key=value; "-"
// deletes.
func txnBody(t *testing.T, f []string) []byte {
	num := func(s string) mvcc.Timestamp {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return mvcc.Timestamp(n)
	}
	start := num(f[1])
	opt := map[string]mvcc.Timestamp{}
	var ks []shard.Key
	var ms []mvcc.Mutation
	for _, a := range f[2:] {
		name, v, isOpt := strings.Cut(a, "=")
		switch {
		case !isOpt:
			ks = append(ks, txnKey(a))
		case name == "at" || name == "floor" || name == "max" || name == "limit" || name == "ttl":
			opt[name] = num(v)
		case v == "-":
			ms = append(ms, mvcc.Mutation{Kind: mvcc.Delete, Key: txnKey(name)})
		default:
			ms = append(ms, mvcc.Mutation{Kind: mvcc.Put, Key: txnKey(name), Value: []byte(v)})
		}
	}
	return txnCommand(f[0], start, opt, ks, ms).Append(nil)
}

func txnCommand(what string, start mvcc.Timestamp, opt map[string]mvcc.Timestamp, ks []shard.Key, ms []mvcc.Mutation) mvcc.Command {
	prewrite := &mvcc.Prewrite{StartTS: start, Mutations: ms, Floor: opt["floor"], MaxCommitTS: opt["max"], TTLMillis: max(1, uint64(opt["ttl"]))}
	if len(ms) > 0 {
		prewrite.Primary = ms[0].Key
	}
	switch what {
	case "prewrite":
		return prewrite
	case "async":
		prewrite.Mode = mvcc.Async
		return prewrite
	case "one-phase":
		prewrite.Mode = mvcc.OnePhase
		return prewrite
	case "commit":
		return mvcc.NewCommit(start, opt["at"], ks...)
	case "rollback":
		return mvcc.NewRollback(start, ks...)
	case "status":
		return &mvcc.CheckStatus{Primary: ks[0], StartTS: start}
	case "gc":
		return &mvcc.GC{SafePoint: start, Limit: int(opt["limit"]), Range: shard.Range{Start: shard.Key("xa"), End: shard.Key("xp")}}
	}
	return &mvcc.Add{StartTS: start, Floor: opt["floor"], MaxCommitTS: opt["max"], Key: ks[0], Delta: 1}
}

func showTxnResult(t *testing.T, body []byte) string {
	r, err := mvcc.DecodeResult(body)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, x := range r.Rejected {
		out = append(out, x.Error())
	}
	if r.CommitTS != 0 {
		out = append(out, fmt.Sprintf("committed at %d", r.CommitTS))
	}
	if r.MinCommitTS != 0 {
		out = append(out, fmt.Sprintf("commits from %d", r.MinCommitTS))
	}
	for _, l := range r.Locks {
		out = append(out, l.String())
	}
	if r.Count > 0 {
		out = append(out, fmt.Sprintf("%d records", r.Count))
	}
	if len(out) == 0 {
		return "done"
	}
	return strings.Join(out, "; ")
}

// genTxn makes any command of a few transactions on a few keys.
func genTxn(t *rapid.T) []byte {
	start := mvcc.Timestamp(2 * rapid.IntRange(1, 8).Draw(t, "start"))
	opt := map[string]mvcc.Timestamp{"at": start + mvcc.Timestamp(rapid.IntRange(1, 9).Draw(t, "after")), "max": 60,
		"floor": mvcc.Timestamp(rapid.IntRange(0, 20).Draw(t, "floor")) | 1, "limit": mvcc.Timestamp(rapid.IntRange(0, 4).Draw(t, "limit"))}
	var ks []shard.Key
	var ms []mvcc.Mutation
	users := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "p", "q"}), 1, 3, rapid.ID[string]).Draw(t, "keys")
	slices.Sort(users)
	for _, u := range users {
		ks = append(ks, txnKey(u))
		ms = append(ms, mvcc.Mutation{Kind: mvcc.MutationKind(rapid.IntRange(1, 4).Draw(t, "kind")), Key: txnKey(u), Value: []byte(u)})
	}
	what := rapid.SampledFrom([]string{"prewrite", "async", "one-phase", "commit", "commit", "rollback", "status", "gc", "add"}).Draw(t, "what")
	return txnCommand(what, start, opt, ks, ms).Append(nil)
}
