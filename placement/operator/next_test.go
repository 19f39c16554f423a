package operator

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skerrydb/skerry/shard"
)

// group is one shard as its leader would change it: what is asked for and refused there is refused here.
type group struct {
	d      *shard.Descriptor
	leader shard.StoreID
	down   map[shard.StoreID]bool
	behind map[shard.ReplicaID]bool // learners that have not caught up
	next   shard.ReplicaID
}

func newGroup(voters ...shard.StoreID) *group {
	g := &group{d: &shard.Descriptor{ID: 1000, Epoch: shard.Epoch{ConfVer: 1, Version: 1}}, next: 10,
		down: make(map[shard.StoreID]bool), behind: make(map[shard.ReplicaID]bool)}
	for _, st := range voters {
		g.next++
		g.d.Replicas = append(g.d.Replicas, shard.Replica{ID: g.next, Store: st, Role: shard.Voter})
	}
	g.leader = voters[0]
	return g
}

func (g *group) up(id shard.StoreID) bool { return !g.down[id] }

// live counts the voters of one half that are up, and says how many there are.
func (g *group) live(d *shard.Descriptor, half ...shard.Role) (live, all int) {
	for _, r := range d.Replicas {
		if slices.Contains(half, r.Role) {
			all++
			if g.up(r.Store) {
				live++
			}
		}
	}
	return live, all
}

// quorum reports whether the group can decide anything: a majority of each half is up.
func (g *group) quorum(d *shard.Descriptor) bool {
	live, all := g.live(d, shard.Voter, shard.IncomingVoter)
	was, old := g.live(d, shard.Voter, shard.DemotingVoter)
	return live > all/2 && was > old/2
}

// elect makes a voter that is up the leader, if the one there is not; false if the group cannot elect.
func (g *group) elect() bool {
	if r, ok := g.d.ReplicaOn(g.leader); ok && r.Role != shard.Learner && g.up(g.leader) && g.quorum(g.d) {
		return true
	}
	if !g.quorum(g.d) {
		return false
	}
	for _, r := range g.d.Replicas {
		if r.Role != shard.Learner && g.up(r.Store) {
			g.leader = r.Store
			return true
		}
	}
	return false
}

// fatal is what rapid's and testing's T have in common.
type fatal interface {
	Helper()
	Fatalf(string, ...any)
}

// take does one step as the shard's leader would, and checks what must never happen. It returns "" if the leader refuses
// for now.
func (g *group) take(t fatal, st Step) string {
	t.Helper()
	if st.Change != nil && st.TransferTo != 0 {
		t.Fatalf("two things at once: %+v", st)
	}
	if st.TransferTo != 0 {
		r, ok := g.d.ReplicaOn(st.TransferTo)
		if !ok || r.Role != shard.Voter && r.Role != shard.IncomingVoter {
			t.Fatalf("%s: hand over to %s, which is no voter", g.d, st.TransferTo)
		}
		if g.down[st.TransferTo] {
			return ""
		}
		g.leader = st.TransferTo
		return "lead " + st.TransferTo.String()
	}
	c := *st.Change
	if st.NeedID {
		g.next++
		c.Replica.ID = g.next
	}
	after, err := g.d.Apply(c)
	if err == nil {
		err = after.Validate()
	}
	if err != nil {
		t.Fatalf("%s: %s: %v", g.d, c, err)
	}
	if c.Kind == shard.EnterJoint && slices.ContainsFunc(c.Promote, func(id shard.ReplicaID) bool { return g.behind[id] }) {
		return ""
	}
	if lead, ok := after.ReplicaOn(g.leader); !after.Joint() && (!ok || lead.Role != shard.Voter) {
		t.Fatalf("%s: %s would leave its leader %s behind", g.d, c, g.leader)
	}
	if g.quorum(g.d) && !g.quorum(after) {
		t.Fatalf("%s: %s leaves no majority that is up (down: %v)", g.d, c, g.down)
	}
	if c.Kind == shard.AddLearner && g.down[c.Replica.Store] {
		t.Fatalf("%s: %s where nobody answers", g.d, c)
	}
	g.d = after
	return c.String()
}

// settle follows the steps to the end.
func (g *group) settle(t fatal, goal Goal) string {
	t.Helper()
	var story []string
	for range 40 {
		if !g.elect() {
			break
		}
		st := Next(g.d, g.leader, goal, g.up)
		if !st.Due() {
			return strings.Join(story, "; ")
		}
		story = append(story, g.take(t, st))
	}
	t.Fatalf("%s does not settle: %s", g.d, strings.Join(story, "; "))
	return ""
}

// TestNextStories: what the steps of the usual operators are.
func TestNextStories(t *testing.T) {
	on := func(ids ...shard.StoreID) Goal { return Goal{Voters: ids} }
	for _, c := range []struct {
		name   string
		before func(g *group)
		goal   Goal
		want   string
	}{
		{"nothing to do", nil, on(1, 2, 3), ""},
		{"nothing wanted", nil, Goal{}, ""},
		{"move a follower", nil, on(1, 2, 4), "add-learner r14@st4; enter-joint +r14 -r13; leave-joint; remove-learner r13"},
		{"move the leader", nil, on(2, 3, 4), "add-learner r14@st4; lead st2; enter-joint +r14 -r11; leave-joint; remove-learner r11"},
		{"move the leader, one is down", func(g *group) { g.down[2] = true }, on(2, 3, 4), "add-learner r14@st4; lead st3; enter-joint +r14 -r11; leave-joint; remove-learner r11"},
		{"replace all", nil, on(4, 5, 6), "add-learner r14@st4; add-learner r15@st5; add-learner r16@st6; " +
			"enter-joint +r14 +r15 +r16 -r11 -r12 -r13; lead st4; leave-joint; remove-learner r11; remove-learner r12; remove-learner r13"},
		{"lead elsewhere", nil, Goal{Leader: 3}, "lead st3"},
		{"move, and lead there", nil, Goal{Voters: []shard.StoreID{1, 2, 5}, Leader: 5}, "add-learner r14@st5; enter-joint +r14 -r13; leave-joint; remove-learner r13; lead st5"},
		{"more replicas", nil, on(1, 2, 3, 4, 5), "add-learner r14@st4; add-learner r15@st5; enter-joint +r14 +r15; leave-joint"},
		{"fewer replicas", nil, on(3), "lead st3; enter-joint -r11 -r12; leave-joint; remove-learner r11; remove-learner r12"},
		{"undo a learner", func(g *group) { g.add(4) }, Goal{}, "remove-learner r14"},
		{"leave what somebody entered", func(g *group) { g.add(4); g.enter(14, 11) }, Goal{}, "lead st2; leave-joint; remove-learner r11"},
		{"the last live one of the new half leads", func(g *group) { g.add(4); g.enter(14, 11); g.down[2] = true }, Goal{}, "lead st3; leave-joint; remove-learner r11"},
		{"nobody answers there", func(g *group) { g.down[4] = true }, on(1, 2, 4), ""},
		{"no majority would be left", func(g *group) { g.down[3] = true; g.add(4); g.down[4] = true }, on(1, 3, 4), ""},
	} {
		g := newGroup(1, 2, 3)
		if c.before != nil {
			c.before(g)
		}
		if got := g.settle(t, c.goal); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

func (g *group) add(st shard.StoreID) {
	g.next++
	g.d, _ = g.d.Apply(shard.Change{Kind: shard.AddLearner, Replica: shard.Replica{ID: g.next, Store: st}})
}

func (g *group) enter(promote, demote shard.ReplicaID) {
	g.d, _ = g.d.Apply(shard.Change{Kind: shard.EnterJoint, Promote: []shard.ReplicaID{promote}, Demote: []shard.ReplicaID{demote}})
}

// TestNextConverges: from any descriptor, over any sequence of failures and changes of mind, no step breaks a rule, and
// once all stores are up the last goal is reached.
func TestNextConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stores := rapid.Permutation([]shard.StoreID{1, 2, 3, 4, 5, 6, 7})
		some := func(what string, low, high int) []shard.StoreID {
			return slices.Clone(stores.Draw(t, what)[:rapid.IntRange(low, high).Draw(t, what+" count")])
		}
		want := func() Goal {
			g := Goal{}
			if rapid.IntRange(0, 5).Draw(t, "goal is empty") > 0 {
				g.Voters = some("goal", 1, 5)
				slices.Sort(g.Voters)
				if rapid.Bool().Draw(t, "leader is wanted") {
					g.Leader = rapid.SampledFrom(g.Voters).Draw(t, "wanted leader")
				}
			}
			return g
		}
		g := newGroup(some("voters", 1, 5)...)
		goal := want()
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			switch rapid.IntRange(0, 7).Draw(t, "event") {
			case 0:
				goal = want()
			case 1:
				g.down[rapid.SampledFrom([]shard.StoreID{1, 2, 3, 4, 5, 6, 7}).Draw(t, "down")] = true
			case 2:
				clear(g.down)
			case 3:
				clear(g.behind)
			default:
				if !g.elect() {
					continue
				}
				st := Next(g.d, g.leader, goal, g.up)
				if !st.Due() {
					continue
				}
				g.take(t, st)
				g.behind[g.next] = st.NeedID && rapid.Bool().Draw(t, "falls behind")
			}
		}
		clear(g.down)
		clear(g.behind)
		g.settle(t, goal)
		if !Reached(g.d, g.leader, goal) {
			t.Fatalf("%s, led by %s, is not at %+v", g.d, g.leader, goal)
		}
		if have := Targets(g.d, Goal{}); len(goal.Voters) > 0 && fmt.Sprint(have) != fmt.Sprint(goal.Voters) {
			t.Fatalf("voters on %v, want %v", have, goal.Voters)
		}
	})
}
