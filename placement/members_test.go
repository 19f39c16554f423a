package placement

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// council is a placement of three members, the first of which leads and hears the others.
func council(t *testing.T) (*shared, *Server) {
	t.Helper()
	s := &shared{active: []shard.StoreID{1, 2, 3}, live: []shard.StoreID{2, 3}, desc: metaOfMembers(1, 2, 3)}
	m := New(Options{Env: env.Real{}, Meta: metaOf{s, 1}, Replicas: 2, Members: []beat.Member{{Store: 1, Addr: "a:1"}, {Store: 2, Addr: "b:1"}, {Store: 3, Addr: "c:1"}}})
	s.elect(1)
	m.step(t.Context())
	return s, m
}

// seats is what the list of members says, as "number state".
func seats(m *Server) string {
	var out []string
	for _, st := range m.members(m.current()).Members {
		out = append(out, fmt.Sprintf("%d %s", uint64(st.Member), st.State))
	}
	return strings.Join(out, ", ")
}

// follow does steps of membership until none is due.
func follow(t *testing.T, m *Server) {
	t.Helper()
	for range 10 {
		m.followMembers(t.Context())
	}
}

func (s *shared) hears(ids ...shard.StoreID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = ids
}

func expectSeats(t *testing.T, m *Server, want string) {
	t.Helper()
	if have := seats(m); have != want {
		t.Fatalf("the members are %s, want %s", have, want)
	}
}

func refusedWith(t *testing.T, err error, want string) {
	t.Helper()
	var invalid *shard.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), want) {
		t.Fatalf("%v, want a refusal that says %q", err, want)
	}
}

// TestMemberJoins: a new member gets a number once for each token, of a counter that never goes back, and becomes a voter by
// way of a learner; also when an answer or the leader is lost in between.
func TestMemberJoins(t *testing.T) {
	s, m := council(t)
	ask := beat.Candidate{Versions: version.Ours(), Token: 7, Addr: "d:1"}
	s.swallow = 1 // the rules, which the others were told and a new member was not
	if _, err := m.JoinMember(t.Context(), ask); err == nil {
		t.Fatal("no answer was lost")
	}
	m.step(t.Context())
	a := must[beat.Admission](t)(m.JoinMember(t.Context(), ask))
	if again := must[beat.Admission](t)(m.JoinMember(t.Context(), ask)); again.Member != a.Member || uint64(a.Member) < shard.FirstUserID {
		t.Fatalf("the same directory is member %d, then %d", uint64(a.Member), uint64(again.Member))
	}
	if m.current().policy.implied() || m.current().policy.current().Replicas != 2 {
		t.Error("what the first members were told is not on record")
	}
	expectSeats(t, m, fmt.Sprintf("1 voter, 2 voter, 3 voter, %d joining", uint64(a.Member)))
	m.followMembers(t.Context())
	if r, ok := s.desc.ReplicaOn(a.Member); !ok || r.Role != shard.Learner || uint64(r.ID) != uint64(a.Member) {
		t.Fatalf("it begins as %+v", r)
	}
	s.elect(2) // whoever leads goes on
	other := New(Options{Env: env.Real{}, Meta: metaOf{s, 2}, Replicas: 3})
	other.step(t.Context())
	s.hears(1, 3, a.Member)
	follow(t, other)
	expectSeats(t, other, fmt.Sprintf("1 voter, 2 voter, 3 voter, %d voter", uint64(a.Member)))
	b := must[beat.Admission](t)(other.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Token: 8, Addr: "e:1"}))
	if b.Member <= a.Member {
		t.Fatalf("member %d after member %d", uint64(b.Member), uint64(a.Member))
	}
	if _, err := other.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Cluster: other.Cluster() + 1, Token: 9, Addr: "f:1"}); err == nil {
		t.Fatal("a member of another cluster joined")
	}
}

// TestStrayWrite: a member is admitted by a leadership that ended meanwhile, and of which the next one of the same term did
// not read that. Nobody is told that there is no such member.
func TestStrayWrite(t *testing.T) {
	s, m := council(t)
	must[beat.Admission](t)(m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Token: 7, Addr: "d:1"})) // it writes more, the first time
	ended := m.current()
	s.before = func() {
		m.reload(ended, "a test wants it")
		m.step(t.Context())
		if m.current() == nil {
			t.Error("the next leadership does not serve")
		}
	}
	a := must[beat.Admission](t)(m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Token: 8, Addr: "e:1"}))
	if m.current() != nil {
		t.Fatal("a leadership serves that has not read who was admitted")
	}
	m.step(t.Context())
	must[beat.Admission](t)(m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Member: a.Member, Token: 8, Began: true}))

	// The next one reads still.
	ended = m.current()
	strays := m.end()
	l := must[*leadership](t)(m.load(t.Context(), ended.term))
	m.wrote(ended)
	if err := m.serve(l, strays); err == nil {
		t.Fatal("a leadership serves that may not have read what was written")
	}
}

// TestMemberReplaced: a new member at the address of a lost one must say so, and takes its place in one joint change. The
// lost number stays dead.
func TestMemberReplaced(t *testing.T) {
	s, m := council(t)
	ask := beat.Candidate{Versions: version.Ours(), Token: 7, Addr: "b:1"}
	var busy *shard.NotReadyError
	if _, err := m.JoinMember(t.Context(), ask); !errors.As(err, &busy) {
		t.Fatalf("the address of a member that is heard: %v", err)
	}
	s.hears(3)
	_, err := m.JoinMember(t.Context(), ask)
	refusedWith(t, err, "--replace 2")
	ask.Replace = 5
	_, err = m.JoinMember(t.Context(), ask)
	refusedWith(t, err, "member 2 is on record at b:1")
	ask.Replace = 2
	a := must[beat.Admission](t)(m.JoinMember(t.Context(), ask))
	s.hears(3, a.Member)
	joint := false
	for range 10 {
		m.followMembers(t.Context())
		if s.desc.Joint() {
			joint = true
			if old, _ := s.desc.ReplicaOn(2); old.Role != shard.DemotingVoter {
				t.Fatalf("the lost one is %s in %s", old.Role, s.desc)
			}
		}
	}
	if !joint {
		t.Fatal("there was no joint configuration")
	}
	expectSeats(t, m, fmt.Sprintf("1 voter, 2 removed, 3 voter, %d voter", uint64(a.Member)))
	for _, c := range []beat.Candidate{{Versions: version.Ours(), Member: 2, Token: 1}, {Versions: version.Ours(), Member: 2, Token: 1, Began: true, Addr: "b:1"}} {
		_, err := m.JoinMember(t.Context(), c)
		refusedWith(t, err, "member 2 was removed")
	}
	if _, err := m.JoinMember(t.Context(), ask); err != nil {
		t.Fatalf("the same directory, with its flags as they were: %v", err)
	}
	_, err = m.Administer(t.Context(), &beat.Order{RemoveMember: &beat.MemberOrder{Member: a.Member}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.JoinMember(t.Context(), ask)
	refusedWith(t, err, "was removed")
}

// TestNoQuorumGivenUp: a member is not removed if those that remain could not decide, and not before others have caught up.
func TestNoQuorumGivenUp(t *testing.T) {
	s, m := council(t)
	remove := func(id shard.StoreID) error {
		_, err := m.Administer(t.Context(), &beat.Order{RemoveMember: &beat.MemberOrder{Member: id}})
		return err
	}
	refusedWith(t, remove(9), "there is no member 9")
	s.hears(3)
	refusedWith(t, remove(3), "member 2 is not heard")
	a := must[beat.Admission](t)(m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Token: 7, Addr: "d:1"}))
	refusedWith(t, remove(3), "has not joined yet")
	out, err := m.Administer(t.Context(), &beat.Order{DryRun: true, RemoveMember: &beat.MemberOrder{Member: a.Member}})
	if err != nil || len(out.Lines) != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if err := remove(a.Member); err != nil {
		t.Fatal(err)
	}
	follow(t, m)
	expectSeats(t, m, fmt.Sprintf("1 voter, 2 voter, 3 voter, %d removed", uint64(a.Member)))
	if _, ok := s.desc.ReplicaOn(a.Member); ok {
		t.Fatalf("the learner stays: %s", s.desc)
	}
	out, err = m.Administer(t.Context(), &beat.Order{RemoveMember: &beat.MemberOrder{Member: 2}})
	if err != nil || len(out.Lines) != 1 || !strings.Contains(out.Lines[0], "2 members survive no more failures than 1") {
		t.Fatalf("%+v, %v", out, err)
	}
	s.hears() // the other one is lost before it is done: nothing more is begun
	before := s.desc.String()
	follow(t, m)
	if s.desc.String() != before {
		t.Fatalf("%s became %s", before, s.desc)
	}
	s.hears(3)
	follow(t, m)
	s.hears()
	refusedWith(t, remove(1), "only 0 of the 1 members that remain could decide: member 3 is not heard")
	s.hears(3)
	if err := remove(1); err != nil { // it leads, and hands over first
		t.Fatal(err)
	}
	m.followMembers(t.Context())
	if s.lead != 3 {
		t.Fatalf("member %d leads", s.lead)
	}
}

// TestMemberMoves: a member that has begun says where it is; nobody else may say it.
func TestMemberMoves(t *testing.T) {
	s, m := council(t)
	a := must[beat.Admission](t)(m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Token: 7, Addr: "d:1"}))
	s.hears(2, 3, a.Member)
	follow(t, m)
	moved := func(id shard.StoreID, token uint64, addr string) error {
		_, err := m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Member: id, Token: token, Addr: addr, Began: true})
		return err
	}
	if err := moved(a.Member, 7, "d:2"); err != nil {
		t.Fatal(err)
	}
	if err := moved(2, 99, "b:2"); err != nil { // a first one has no token on record
		t.Fatal(err)
	}
	refusedWith(t, moved(a.Member, 8, "d:3"), "belongs to another directory")
	refusedWith(t, moved(77, 8, "d:3"), "there never was")
	var busy *shard.NotReadyError
	if err := moved(3, 1, "b:2"); !errors.As(err, &busy) {
		t.Fatalf("the address of another: %v", err)
	}
	addrs := map[shard.StoreID]string{1: "a:1", 2: "b:2", 3: "c:1", a.Member: "d:2"}
	for _, b := range m.Members() {
		if addrs[b.Store] != b.Addr {
			t.Errorf("member %d is at %s", uint64(b.Store), b.Addr)
		}
	}
	if n := len(m.Members()); n != 4 {
		t.Errorf("%d members", n)
	}
}

// TestMemberRecords: every version of the record is read.
func TestMemberRecords(t *testing.T) {
	full := memberRecord{id: 1005, token: 7, addr: "a:1", removed: true}
	for _, c := range []struct {
		b    []byte
		want memberRecord
	}{
		{encodeNumber(1), memberRecord{id: 1005}},
		{[]byte{2, 0xed, 0x07, 9}, memberRecord{id: 1005, token: 9}},
		{full.encode(), full},
	} {
		r, err := decodeMember(1005, c.b)
		if err != nil || r != c.want {
			t.Errorf("%x: %+v, %v, want %+v", c.b, r, err, c.want)
		}
	}
	if _, err := decodeMember(1006, full.encode()); err == nil {
		t.Error("the record of another member was taken")
	}
}
