package placement

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fsm"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/placement/operator"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// clocked is a world whose time the test sets.
type clocked struct {
	env.Real
	now *env.Time
}

func (c clocked) Now() env.Time { return *c.now }

func testView(now *env.Time, c *fsm.Coverage) *view {
	return newView(clocked{now: now}, c)
}

// checkRows fails for every row of a table that no run took.
func checkRows(t *testing.T, cover *fsm.Coverage, chart fsm.Chart) {
	t.Helper()
	for i, n := range cover.Taken(&chart) {
		if n == 0 {
			t.Errorf("never taken: %s", chart.Rows[i])
		}
	}
}

// TestStoreStates: whenever somebody looks, a store is held for what its silence and its record say, however many looks
// came before; no order of heartbeats, silence, looks, drains and removals meets a pair that the table does not know; and
// all rows are taken.
func TestStoreStates(t *testing.T) {
	cover := &fsm.Coverage{}
	now := env.Time(time.Hour)
	v := testView(&now, cover)
	for id := shard.StoreID(1); id <= 4; id++ {
		v.loadStore(storeRecord{id: id, removed: id == 2, draining: id == 4})
	}
	for _, quiet := range []time.Duration{0, suspectAfter + 1, downAfter + 1} { // with a look after each
		for _, id := range []shard.StoreID{1, 4} {
			now = now.Add(quiet)
			v.allStores()
			v.observe(&beat.Report{Versions: version.Ours(), Store: id, Full: true})
			now = now.Add(quiet)
			v.allStores()
		}
	}
	v.observe(&beat.Report{Versions: version.Ours(), Store: 1, Full: true})
	v.loadStore(storeRecord{id: 1, removed: true})
	v.loadStore(storeRecord{id: 3, removed: true}) // was never heard
	v.observe(&beat.Report{Versions: version.Ours(), Store: 4, Full: true})
	v.loadStore(storeRecord{id: 4})
	v.loadStore(storeRecord{id: 4, draining: true})
	v.loadStore(storeRecord{id: 4, draining: true, removed: true})
	rapid.Check(t, func(t *rapid.T) {
		now := env.Time(time.Hour)
		v := testView(&now, cover)
		v.loadStore(storeRecord{id: 1, addr: "a"})
		heard, rec := env.Time(0), storeRecord{id: 1, addr: "a"}
		for range 60 {
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0:
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(6*time.Second)).Draw(t, "quiet")))
			case 1:
				now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "silence")))
			case 2:
				full := rapid.Bool().Draw(t, "full")
				if needFull := v.observe(&beat.Report{Versions: version.Ours(), Store: 1, Addr: "a", Full: full}); needFull != (heard == 0 && !full) {
					t.Fatalf("a full report is wanted: %t", needFull)
				} else if !needFull {
					heard = now
				}
			case 3:
				rec.removed = rec.removed || rapid.IntRange(0, 9).Draw(t, "remove") == 9
				v.loadStore(rec)
			case 4:
				rec.draining = rapid.Bool().Draw(t, "draining")
				v.loadStore(rec)
			case 5: // somebody looks
				age := now.Sub(max(heard, v.begun))
				want := beat.Up
				switch {
				case rec.removed:
					want = beat.Removed
				case age > downAfter:
					want = beat.Down
				case age > suspectAfter || heard == 0:
					want = beat.Suspect
				case rec.draining:
					want = beat.Draining
				}
				if got := v.allStores()[0].State; got != want {
					t.Fatalf("after %s it is held for %s, want %s", age, got, want)
				}
			}
		}
	})
	checkRows(t, cover, storeTable.Chart())
}

// story is one shard and the stores around it, as its leader and placement see them.
type story struct {
	v      *view
	now    env.Time
	d      *shard.Descriptor
	leader shard.Replica
	term   uint64
	next   uint64
	away   map[shard.StoreID]bool
}

func newStory(cover *fsm.Coverage) *story {
	s := &story{now: env.Time(time.Hour), d: &shard.Descriptor{ID: 1000, Epoch: shard.Epoch{ConfVer: 1, Version: 1}}, term: 6, next: 100,
		away: make(map[shard.StoreID]bool)}
	s.v = testView(&s.now, cover)
	for i := 1; i <= 3; i++ {
		s.d.Replicas = append(s.d.Replicas, shard.Replica{ID: shard.ReplicaID(10 + i), Store: shard.StoreID(i), Role: shard.Voter})
	}
	s.leader = s.d.Replicas[0]
	s.v.loadShard(s.d)
	for i := 1; i <= 5; i++ {
		s.v.loadStore(storeRecord{id: shard.StoreID(i)})
	}
	return s
}

// report is a heartbeat of every store that is there; it returns what the shard's leader is told.
func (s *story) report() []plan {
	for i := shard.StoreID(1); i <= 5; i++ {
		if !s.away[i] && i != s.leader.Store {
			s.v.observe(&beat.Report{Versions: version.Ours(), Store: i, Full: true})
		}
	}
	s.v.observe(&beat.Report{Versions: version.Ours(), Store: s.leader.Store, Full: true, Led: []beat.Led{{Desc: s.d, Leader: s.leader.ID, Term: s.term, Bytes: s.next << 20}}})
	s.v.look()
	return s.v.plans(s.leader.Store, 16)
}

// elect lets another replica lead if the one that does cannot.
func (s *story) elect() {
	if r, ok := s.d.Replica(s.leader.ID); ok && r.Role != shard.Learner && !s.away[r.Store] {
		return
	}
	for _, r := range s.d.Replicas {
		if r.Role != shard.Learner && !s.away[r.Store] {
			s.leader, s.term = r, s.term+1
			return
		}
	}
}

// follow does what the leader is told.
func (s *story) follow(t *rapid.T, p plan) {
	if to, ok := s.d.ReplicaOn(p.step.TransferTo); ok {
		if !s.away[to.Store] {
			s.leader, s.term = to, s.term+1
		}
		return
	}
	c := *p.step.Change
	if p.step.NeedID {
		s.next++
		c.Replica.ID = shard.ReplicaID(s.next)
	}
	after, err := s.d.Apply(c)
	if err != nil {
		t.Fatal(err)
	}
	s.d = after
}

// begin asks for an operator; it may be refused.
func (s *story) begin(k operator.Kind, g operator.Goal, byHand bool) {
	s.next++
	o, ok := s.v.newOperator(operator.ID(s.next), &schedule.Proposal{Shard: s.d.ID, Epoch: s.d.Epoch, Kind: k, Goal: g, Why: "so"}, byHand)
	if ok {
		s.v.take([]*operator.Operator{o})
	}
}

// checkTally compares what is kept of the stores' loads with what the shards come to.
func (s *story) checkTally(t *rapid.T) {
	want := make(map[shard.StoreID]load)
	sh, _ := s.v.shareLocked(s.d.ID)
	for _, st := range sh.stores {
		want[st] = load{shards: 1, bytes: sh.bytes}
	}
	if sh.leader != 0 {
		l := want[sh.leader]
		l.leaders++
		want[sh.leader] = l
	}
	for i := shard.StoreID(1); i <= 5; i++ {
		if got := *s.v.heldLocked(i); got != want[i] {
			t.Fatalf("%s counts %+v, it holds %+v", i, got, want[i])
		}
	}
}

// TestOperatorsAreFollowed: a story of operators, from plan to end, with leaders that report late, stores that come and
// go, answers that are lost, second thoughts and long silences. Every operator and every step is in the state that the
// story says, what is kept of the stores' loads is right at any time, and all rows of both tables are taken.
func TestOperatorsAreFollowed(t *testing.T) {
	cover := &fsm.Coverage{}
	rapid.Check(t, func(t *rapid.T) {
		s := newStory(cover)
		goal := func() operator.Goal {
			g := operator.Goal{Voters: slices.Clone(rapid.Permutation([]shard.StoreID{1, 2, 3, 4, 5}).Draw(t, "goal")[:3])}
			slices.Sort(g.Voters)
			if rapid.Bool().Draw(t, "wants a leader") {
				g.Leader = g.Voters[0]
			}
			return g
		}
		s.report()
		for range 60 {
			s.now = s.now.Add(time.Second)
			switch rapid.IntRange(0, 8).Draw(t, "step") {
			case 0, 1, 2: // a report, and perhaps an answer, and perhaps it is followed
				plans := s.report()
				if len(plans) == 0 {
					continue
				}
				if len(s.v.steps) != 1 || len(plans) != 1 {
					t.Fatalf("%d steps are followed, %d are due; one is", len(s.v.steps), len(plans))
				}
				if rapid.Bool().Draw(t, "answered") {
					s.v.sent(plans)
					if st := s.v.steps[s.d.ID].State(); st != operator.Sent {
						t.Fatalf("it is %s after it was sent", st)
					}
					if st := plans[0].op.State(); st != operator.OpRunning {
						t.Fatalf("the operator is %s after a step was sent", st)
					}
				}
				if rapid.Bool().Draw(t, "followed") {
					s.follow(t, plans[0])
				}
			case 3:
				if id := shard.StoreID(rapid.IntRange(1, 5).Draw(t, "lost")); len(s.away) == 0 {
					s.away[id] = true
				}
			case 4:
				clear(s.away)
			case 5: // another replica leads
				if to := s.d.Replicas[rapid.IntRange(0, len(s.d.Replicas)-1).Draw(t, "leader")]; to.Role != shard.Learner && !s.away[to.Store] {
					s.leader, s.term = to, s.term+1
				}
			case 6:
				s.begin(rapid.SampledFrom([]operator.Kind{operator.Replace, operator.Move, operator.BalanceShards}).Draw(t, "kind"), goal(), rapid.Bool().Draw(t, "by hand"))
			case 7:
				if o := s.v.book.Of(s.d.ID); o != nil {
					if _, err := s.v.cancel(o.ID, operator.ID(s.next+1000), false); err != nil {
						t.Fatal(err)
					}
				}
			case 8: // nothing is heard for long
				s.now = s.now.Add(time.Duration(rapid.Int64Range(0, int64(20*time.Minute)).Draw(t, "silence")))
				s.v.look()
			}
			s.elect()
			s.checkTally(t)
			if s.v.book.Of(s.d.ID) == nil && len(s.v.steps) != 0 {
				t.Fatal("a step is followed of a shard that has no operator")
			}
		}
		clear(s.away)
		s.report()
		last := goal()
		s.begin(operator.Finish, last, true)
		o := s.v.book.Of(s.d.ID)
		for range 40 {
			s.now = s.now.Add(time.Second)
			for _, p := range s.report() {
				s.v.sent([]plan{p})
				s.follow(t, p)
			}
		}
		s.report()
		if o != nil && (o.State() != operator.OpFinished || !operator.Reached(s.d, s.leader.Store, o.Goal)) {
			t.Fatalf("it is %s, %s; the shard is %s, the goal %v", o.State(), o.Reason, s.d, o.Goal)
		}
		if len(s.v.steps) != 0 || s.v.book.Len() != 0 {
			t.Fatalf("nothing is to be done, and %d steps of %d operators are followed", len(s.v.steps), s.v.book.Len())
		}
		s.checkTally(t)
		if in, out := s.v.book.Load(4); in != 0 || out != 0 {
			t.Fatalf("nothing runs, and st4 receives %d and sends %d", in, out)
		}
	})
	lapse(cover)
	for _, c := range operator.Charts() {
		checkRows(t, cover, c)
	}
}

// lapse lets operators that wait, and one that runs, wait too long.
func lapse(cover *fsm.Coverage) {
	s := newStory(cover)
	s.report()
	s.begin(operator.Move, operator.Goal{Voters: []shard.StoreID{1, 2, 4}}, true)
	s.v.sent(s.report())
	s.now = s.now.Add(time.Hour)
	s.v.look()
	s.begin(operator.Move, operator.Goal{Voters: []shard.StoreID{1, 2, 4}}, false)
	s.now = s.now.Add(time.Hour)
	s.v.look()
}

// TestHopelessOperators: an operator that waits for what may never come ends, so that the schedulers can do something
// better for its shard.
func TestHopelessOperators(t *testing.T) {
	on := func(ids ...shard.StoreID) operator.Goal { return operator.Goal{Voters: ids} }
	for _, c := range []struct {
		name   string
		kind   operator.Kind
		goal   operator.Goal
		then   func(s *story)
		reason string // "": it goes on
	}{
		{"target away for a moment", operator.BalanceShards, on(1, 2, 4), func(s *story) { s.quiet(4, targetPatience-time.Second) }, ""},
		{"target away for longer", operator.BalanceShards, on(1, 2, 4), func(s *story) { s.quiet(4, targetPatience+time.Second) }, "st4 is not heard any more"},
		{"target is drained", operator.BalanceShards, on(1, 2, 4), func(s *story) { s.v.loadStore(storeRecord{id: 4, draining: true}) }, "st4 is draining"},
		{"target is removed", operator.Replace, on(1, 2, 4), func(s *story) { s.v.loadStore(storeRecord{id: 4, removed: true}) }, "st4 is removed"},
		{"leader to be is away", operator.BalanceLeaders, operator.Goal{Leader: 3}, func(s *story) { s.quiet(3, 5*time.Second) }, "st3 is not heard and cannot lead"},
		{"leader to be is away, but its turn has not come", operator.Move, operator.Goal{Voters: []shard.StoreID{1, 3, 4}, Leader: 3}, func(s *story) { s.quiet(3, 5*time.Second) }, ""},
		{"a voter is lost", operator.Move, on(1, 2, 4), func(s *story) { s.v.loadStore(storeRecord{id: 2, removed: true}) }, "st2 is removed, and what is lost is made up for first"},
		{"a voter is lost, and this is its repair", operator.Replace, on(1, 3, 4), func(s *story) { s.v.loadStore(storeRecord{id: 2, removed: true}) }, ""},
	} {
		s := newStory(nil)
		s.report()
		s.begin(c.kind, c.goal, true)
		o := s.v.book.Of(s.d.ID)
		c.then(s)
		s.v.look()
		if o.Over() != (c.reason != "") || o.Reason != c.reason {
			t.Errorf("%s: it is %s because of %q, want %q", c.name, o.State(), o.Reason, c.reason)
		}
	}
}

// quiet lets a time pass in which one store is not heard.
func (s *story) quiet(id shard.StoreID, d time.Duration) {
	s.away[id] = true
	s.now = s.now.Add(d)
	s.report()
}
