package placement

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/fault"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
)

// old is what a program says that knows of no versions.
var old = version.Range{}

// strange stands, in a test, for another member at the address.
var strange = version.Range{Oldest: 77, Newest: 77}

// elderly is a council whose cluster was begun by programs that knew of no versions. others answer for members 2 and 3.
func elderly(t *testing.T, others map[string]version.Range) (*shared, *Server) {
	t.Helper()
	s, m := council(t)
	_, err := metaOf{s, 1}.Commit(t.Context(), &raw.Command{Ops: []raw.Op{{Kind: raw.Delete, Key: recordKey(recordClusterVersion)}}})
	if err != nil {
		t.Fatal(err)
	}
	m.opt.Ask = func(_ context.Context, addr string) (beat.NodeVersion, error) {
		r, ok := others[addr]
		if !ok {
			return beat.NodeVersion{}, errors.New("nobody is there")
		}
		id := map[string]shard.StoreID{"b:1": 2, "c:1": 3}[addr]
		if r == strange {
			id, r = 77, version.Ours()
		}
		return beat.NodeVersion{ID: id, Versions: r}, nil
	}
	s.elect(1)
	m.step(t.Context())
	return s, m
}

func (s *Server) finalizes(t *testing.T, dry bool) *beat.VersionStatus {
	t.Helper()
	return must[*beat.Outcome](t)(s.Administer(t.Context(), &beat.Order{DryRun: dry, Version: &beat.VersionOrder{Raise: true}})).Version
}

// TestVersionWaitsForAll: the version is raised when every store that is not removed and every member is heard and knows the
// new one, and not before; until then the answer names those in the way, and nobody else.
func TestVersionWaitsForAll(t *testing.T) {
	others := map[string]version.Range{"b:1": old}
	s, m := elderly(t, others)
	want := version.Newest()
	var ids []shard.StoreID
	for i := range 3 {
		ids = append(ids, must[beat.Registration](t)(m.Register(t.Context(), beat.Newcomer{Addr: fmt.Sprint("s", i), Versions: old})).Store)
	}
	says := func(i int, r version.Range, f func(*beat.Report)) {
		t.Helper()
		must[*beat.Answer](t)(beatFrom(m, ids[i], func(b *beat.Report) {
			b.Addr, b.Versions = fmt.Sprint("s", i), r
			if f != nil {
				f(b)
			}
		}))
	}
	for _, step := range []struct {
		what string
		do   func()
		in   string // the way
	}{
		{"all old but the leader", func() { says(0, old, nil) }, "store s0: its program knows, store s1: it was not, store s2: it was not, member b:1: its program knows, member c:1: it does not"},
		{"stores", func() { says(0, version.Ours(), nil); says(1, version.Ours(), nil) }, "store s2: it was not, member b:1: its program knows, member c:1: it does not"},
		{"a member", func() { others["b:1"] = version.Ours() }, "store s2: it was not, member c:1: it does not"},
		{"the other member", func() { others["c:1"] = version.Ours() }, "store s2: it was not"},
		{"one is removed", func() {
			acquaint(m)
			if err := m.RemoveStore(t.Context(), ids[2]); err != nil {
				t.Fatal(err)
			}
			says(1, version.Ours(), func(b *beat.Report) { b.Leaving = true })
		}, "store s1: its process is"},
		{"it is silent", func() {
			v := m.current().view
			v.mu.Lock()
			defer v.mu.Unlock()
			long := env.Time(suspectAfter + time.Second)
			v.begun, v.stores[ids[1]].seen = v.begun-long, v.stores[ids[1]].seen-long
		}, "store s1: it is suspect;"},
		{"another member is where one was", func() { delete(others, "b:1"); others["c:1"] = strange }, "store s1: it is suspect;, member b:1: it does not, member c:1: it is not"},
		{"one is back with its old program", func() { others["b:1"], others["c:1"] = version.Ours(), version.Ours(); says(1, old, nil) }, "store s1: its program knows"},
	} {
		step.do()
		v := m.finalizes(t, false)
		var in []string
		for _, n := range v.InTheWay() {
			in = append(in, fmt.Sprintf("%s %s: %s", n.Role, n.Addr, strings.Join(strings.Fields(n.Why)[:3], " ")))
		}
		if got := strings.Join(in, ", "); got != step.in {
			t.Fatalf("%s: in the way is %s, want %s", step.what, got, step.in)
		}
		if v.Version != version.First || v.Target != want || m.current().clusterVersion() != version.First {
			t.Fatalf("%s: %+v", step.what, v)
		}
	}
	says(1, version.Ours(), nil)
	if v := m.finalizes(t, true); len(v.InTheWay()) > 0 || v.Version != version.First {
		t.Fatalf("a dry run: %+v", v)
	}
	// Whoever comes while it is raised waits for the outcome.
	late := make(chan error, 1)
	s.mu.Lock()
	s.before = func() {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := m.Register(ctx, beat.Newcomer{Addr: "late", Versions: old})
		late <- err
	}
	s.mu.Unlock()
	if v := m.finalizes(t, false); v.Version != want || len(v.InTheWay()) > 0 {
		t.Fatalf("nobody is in the way: %+v", v)
	}
	if err := <-late; !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a store came in between the look and the write: %v", err)
	}
	if v := m.finalizes(t, false); v.Version != want || v.Target != want {
		t.Fatalf("again: %+v", v)
	}
	// So it is for every leader to come, and old programs are kept out.
	s.elect(1)
	m.step(t.Context())
	for what, err := range map[string]error{
		"register": second(m.Register(t.Context(), beat.Newcomer{Addr: "x", Versions: old})),
		"beat":     second(beatFrom(m, ids[0], func(b *beat.Report) { b.Addr, b.Versions = "s0", old })),
		"join":     second(m.JoinMember(t.Context(), beat.Candidate{Addr: "d:1", Token: 9, Versions: old})),
		"too new":  second(m.Register(t.Context(), beat.Newcomer{Addr: "x", Versions: version.Range{Oldest: want + 1, Newest: want + 2}})),
	} {
		code := fault.ProgramOld
		if what == "too new" {
			code = fault.ProgramNew
		}
		if fault.Of(err) != code {
			t.Errorf("%s: %v", what, err)
		}
	}
	if a := must[*beat.Answer](t)(beatFrom(m, ids[0], func(b *beat.Report) { b.Addr, b.Versions = "s0", version.Ours() })); a.Version != want {
		t.Errorf("a store is told of version %s", a.Version)
	}
}

func second[T any](_ T, err error) error { return err }

// TestNewClusterIsNew: a cluster begins with the newest version of its first leader.
func TestNewClusterIsNew(t *testing.T) {
	s, m := council(t)
	if v := m.current().clusterVersion(); v != version.Newest() {
		t.Fatalf("it begins with version %s", v)
	}
	get := func(k shard.Key) ([]byte, bool, error) {
		a, err := metaOf{s, 1}.Read(t.Context(), &raw.Query{Kind: raw.Get, Keys: []shard.Key{k}})
		if err != nil || !a.Rows[0].Found {
			return nil, false, err
		}
		return raw.Value{User: a.Rows[0].Value}.Append(nil), true, nil
	}
	if v := must[version.Number](t)(VersionOf(get)); v != version.Newest() {
		t.Fatalf("its record says %s", v)
	}
}

// TestLeaderMustKnow: a member that does not know the cluster's version does not lead placement.
func TestLeaderMustKnow(t *testing.T) {
	s, m := council(t)
	key := recordKey(recordClusterVersion)
	if _, err := (metaOf{s, 1}).Commit(t.Context(), &raw.Command{Ops: []raw.Op{putOp(key, encodeNumber(uint64(version.Newest()+1)))}}); err != nil {
		t.Fatal(err)
	}
	s.elect(1)
	m.step(t.Context())
	if m.current() != nil {
		t.Fatal("it leads")
	}
}

// TestEvict: a store that shall lead nothing is on record as such, in a form that a member of before reads of all others.
func TestEvict(t *testing.T) {
	s, m := council(t)
	id := must[beat.Registration](t)(m.Register(t.Context(), beat.Newcomer{Addr: "a", Versions: version.Ours()})).Store
	rec, _ := m.current().view.record(id)
	if v := rec.encode()[0]; v != 2 {
		t.Fatalf("a record of version %d without need", v)
	}
	order := func(o beat.Order) error { return second(m.Administer(t.Context(), &o)) }
	if err := order(beat.Order{Evict: &beat.StoreOrder{Store: id}}); err != nil {
		t.Fatal(err)
	}
	s.elect(1)
	m.step(t.Context())
	if st := m.current().view.allStores(); !st[0].Evicting {
		t.Fatal("the next leader does not know")
	}
	if err := order(beat.Order{Admit: &beat.StoreOrder{Store: id}}); err != nil || m.current().view.evicting(id) {
		t.Fatal(err)
	}
	_, m = elderly(t, nil)
	id = must[beat.Registration](t)(m.Register(t.Context(), beat.Newcomer{Addr: "a"})).Store
	refusedWith(t, order(beat.Order{Evict: &beat.StoreOrder{Store: id}}), "version 2 and newer")
}
