package explore

import (
	"context"
	"crypto/rand"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/invariant"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// TestExplore: whatever happens in the scenarios, in whatever order, nothing is violated. `skerry-sim explore` goes
// further.
func TestExplore(t *testing.T) {
	bounds := map[string]int{"alone": 3, "transfer": 1}
	if invariant.Enabled {
		bounds = nil // the race detector makes each state many times as dear
	}
	for _, s := range Scenarios() {
		r := Explore(context.Background(), s, bounds[s.Name])
		t.Logf("%s, %d deviations: %d states, %d runs, %d steps in %s", s.Name, r.Bound, r.States, r.Runs, r.Steps, r.Elapsed.Round(time.Millisecond))
		if r.Violation != "" || !r.Exhausted || r.States < 100 {
			t.Errorf("%s: %+v\n%s", s.Name, r.Violation, strings.Join(r.Script, "\n"))
		}
	}
}

// TestSameSearch: a search depends on nothing but the code: no map, no clock, no chance.
func TestSameSearch(t *testing.T) {
	s := Scenarios()[slices.IndexFunc(Scenarios(), func(s Scenario) bool { return s.Name == "lease" })]
	a, b := Explore(context.Background(), s, 0), Explore(context.Background(), s, 0)
	if a.States != b.States || a.Runs != b.Runs || a.Steps != b.Steps {
		t.Errorf("%+v and %+v", a, b)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if r := Explore(ctx, s, 5); r.Exhausted || r.Violation != "" {
		t.Errorf("cut short: %+v", r)
	}
}

// TestHash: states that differ only in the order in which they were reached are one; in anything else they are not.
func TestHash(t *testing.T) {
	defer func(old io.Reader) { rand.Reader = old }(rand.Reader)
	rand.Reader = zeros{}
	s := Scenario{Name: "hash", Voters: 3, Budget: Budget{Proposals: 3, Elapses: 1, Reads: 2}}
	at := func(steps ...func(w *state)) uint64 {
		w := newState(&s, false)
		for _, f := range steps {
			f(w)
		}
		return w.hash()
	}
	propose := func(w *state) { w.propose(w.replicas[0]) }
	deliver := func(to uint64) func(w *state) {
		return func(w *state) {
			w.run(slices.IndexFunc(w.events, func(e event) bool { return e.kind == delivers && e.at == to }))
		}
	}
	quiet := (*state).quiet
	once, again := at(propose, quiet), at(propose, quiet)
	if once != again || at(propose, deliver(2), quiet) == at(propose, quiet, propose, quiet) {
		t.Error("hashes do not tell states apart")
	}
	seen := map[uint64]string{}
	for name, h := range map[string]uint64{"begin": at(), "proposed": at(propose), "one has it": at(propose, deliver(2)), "the other has it": at(propose, deliver(3)),
		"all have it": at(propose, quiet), "time": at((*state).elapse), "read": at(func(w *state) { w.read(w.replicas[0]) }), "parked": at(propose, func(w *state) { w.park(0) }),
		"crashed": at(func(w *state) { w.replicas[1].crash(0) }), "budget": at(func(w *state) { w.left.Reads-- })} {
		if other, ok := seen[h]; ok {
			t.Errorf("%q and %q are one", name, other)
		}
		seen[h] = name
	}
}

// TestChecks: each check finds what it is for.
func TestChecks(t *testing.T) {
	s := Scenario{Name: "checks", Voters: 3, Budget: Budget{Proposals: 1}}
	for want, f := range map[string]func(w *state){
		"leader: r1 and r2": func(w *state) { w.led(w.replicas[1], w.replicas[0].g.Term()) },
		"committed: r2 leads term 9 without entry 13": func(w *state) {
			w.solid[13] = solid{term: 7}
			w.led(w.replicas[1], 9)
		},
		"lease: r2":                  func(w *state) { w.replicas[0].lease = w.now * 2; w.led(w.replicas[1], 9) },
		"promise: r2 starts in term": func(w *state) { w.replicas[1].promise.term = 9; w.replicas[1].crash(0) },
		"promise: r2 starts with a":  func(w *state) { w.replicas[1].promise.acked = 99; w.replicas[1].crash(0) },
		"promise: r3 votes for r2":   func(w *state) { vote(w, 1); vote(w, 2) },
		"log: r1 applies at 12":      func(w *state) { w.solid[12] = solid{term: 3}; w.propose(w.replicas[0]); w.quiet() },
		"state: r2 comes to another": func(w *state) { w.replicas[1].data.Set(key("a"), nil); w.propose(w.replicas[0]); w.quiet() },
		"lost: r1 applies":           func(w *state) { w.propose(w.replicas[0]); w.lost[lastOp(w)] = true; w.quiet() },
		"range: r1 has a key outside": func(w *state) {
			w.replicas[0].data.Set(key("t"), nil)
			w.replicas[0].machine.Desc = half(w)
			w.propose(w.replicas[0])
			w.quiet()
		},
	} {
		w := newState(&s, false)
		f(w)
		if !strings.HasPrefix(w.violence, want) {
			t.Errorf("want %q, got %q", want, w.violence)
		}
	}
}

func vote(w *state, candidate uint64) {
	w.replicas[2].promise.note(w, &raftpb.Message{Type: raftpb.MsgVoteResp.Enum(), From: new(uint64(3)), To: new(candidate), Term: new(uint64(9))})
}

// TestPlantedBugs: the search finds the bugs that live in what it drives, within the bound that is written here.
func TestPlantedBugs(t *testing.T) {
	if !bug.Built {
		t.Skip("this build has no planted bugs: go test -tags bugs ./tests/sim/explore")
	}
	defer bug.Plant(bug.None)
	for name, in := range map[string]struct {
		scenario string
		bound    int
		as       string
	}{
		"vote-before-sync":         {"candidates", 1, "promise"},
		"response-before-sync":     {"candidates", 1, "promise"},
		"vote-at-once-after-start": {"lease", 1, "lease"},
		"gate-left-to-raft":        {"lease", 1, "lease"},
		"lease-over-transfer":      {"transfer", 1, "lease"},
		"read-index-too-early":     {"alone", 1, "read"},
		"never-too-early":          {"outcome", 2, "outcome"},
		"never-forgotten":          {"outcome", 0, "outcome"},
		"skip-epoch-check":         {"split", 0, "range"},
	} {
		b, ok := bug.Find(name)
		if !ok {
			t.Fatal(name)
		}
		bug.Plant(b)
		s := Scenarios()[slices.IndexFunc(Scenarios(), func(s Scenario) bool { return s.Name == in.scenario })]
		r := Explore(context.Background(), s, in.bound)
		t.Logf("%s: after %d states and %s: %s", name, r.States, r.Elapsed.Round(time.Millisecond), r.Violation)
		if !strings.HasPrefix(r.Violation, in.as+": ") || len(r.Script) == 0 {
			t.Errorf("%s was not found in %d states of %s: %q", name, r.States, s.Name, r.Violation)
		}
	}
}

func lastOp(w *state) call.OpID { return call.OpID{Client: 1, Seq: w.seq} }

// half is the shard's descriptor, cut where splits cut it.
func half(w *state) *shard.Descriptor {
	d := *w.desc
	d.Range.End = key("m")
	return &d
}
