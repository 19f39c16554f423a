package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
	"github.com/skerrydb/skerry/shard/raw"
	"github.com/skerrydb/skerry/shard/raw/rawtest"
)

// shared is shard 1 as all members of a test see it: one map, one leader at a time.
type shared struct {
	mu   sync.Mutex
	data rawtest.Map
	term uint64
	lead int
	// active are the members that take part, live those that are heard.
	active, live []shard.StoreID
	desc         *shard.Descriptor
	// swallow answers the next so many commits with "ambiguous", after they took effect.
	swallow int
	// before is called, once, before the next commit takes effect.
	before func()
}

// elect makes another member the leader.
func (s *shared) elect(member int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.term++
	s.lead = member
}

// metaOf is one member's way to it. A member that does not lead can do nothing.
type metaOf struct {
	*shared
	id int
}

func (m metaOf) notLeader() error { return &shard.NotLeaderError{Shard: shard.MetaID} }

func (m metaOf) Commit(_ context.Context, cmd *raw.Command) (raw.Result, error) {
	m.mu.Lock()
	if f := m.before; f != nil {
		m.before = nil
		m.mu.Unlock()
		f()
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	if m.lead != m.id {
		return raw.Result{}, m.notLeader()
	}
	res, _, err := raw.Evaluate(cmd, &m.data, 1)
	if m.swallow > 0 && err == nil {
		m.swallow--
		return raw.Result{}, &shard.AmbiguousError{Shard: shard.MetaID, Why: "the answer was lost"}
	}
	return res, err
}

func (m metaOf) Read(_ context.Context, q *raw.Query) (raw.Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lead != m.id {
		return raw.Answer{}, m.notLeader()
	}
	a, _, err := q.Run(m.data.Reader(), shard.ModeRange(shard.ModeMeta), 1, 0)
	return a, err
}

func (m metaOf) Leading() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lead != m.id {
		return 0
	}
	return m.term
}

func (m metaOf) Confirm(context.Context) (uint64, error) {
	if t := m.Leading(); t != 0 {
		return t, nil
	}
	return 0, m.notLeader()
}

func (m metaOf) Active(context.Context) []shard.StoreID { return m.active }

func (m metaOf) Leader() shard.Replica {
	m.mu.Lock()
	defer m.mu.Unlock()
	return shard.Replica{ID: shard.ReplicaID(m.lead), Store: shard.StoreID(m.lead)}
}

func (m metaOf) Descriptor() *shard.Descriptor {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.desc == nil {
		return &shard.Descriptor{ID: shard.MetaID}
	}
	return m.desc
}

func (m metaOf) Live(id shard.StoreID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.live, id)
}

func (m metaOf) Change(_ context.Context, epoch shard.Epoch, c shard.Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lead != m.id {
		return m.notLeader()
	}
	if epoch != m.desc.Epoch {
		return &shard.StaleEpochError{Shard: shard.MetaID}
	}
	d, err := m.desc.Apply(c)
	if err == nil {
		m.desc = d
	}
	return err
}

func (m metaOf) TransferLeader(_ context.Context, to shard.StoreID) error {
	m.elect(int(to))
	return nil
}

// metaOfMembers is shard 1 with voters of these numbers.
func metaOfMembers(ids ...shard.StoreID) *shard.Descriptor {
	d := &shard.Descriptor{ID: shard.MetaID, Range: shard.ModeRange(shard.ModeMeta), Epoch: shard.Epoch{ConfVer: 1, Version: 1}}
	for _, id := range ids {
		d.Replicas = append(d.Replicas, shard.Replica{ID: shard.ReplicaID(id), Store: id, Role: shard.Voter})
	}
	return d
}

func members(t *testing.T, n int, split ...string) (*shared, []*Server) {
	s := &shared{}
	var keys []shard.Key
	for _, k := range split {
		keys = append(keys, shard.RawKey([]byte(k)))
	}
	var out []*Server
	for i := 1; i <= n; i++ {
		out = append(out, New(Options{Env: env.Real{}, Meta: metaOf{s, i}, Replicas: 3, SplitKeys: keys}))
	}
	s.elect(1)
	return s, out
}

func steps(t *testing.T, ms []*Server) {
	t.Helper()
	for _, m := range ms {
		m.step(t.Context())
	}
}

// acquaint lets the time pass in which a new leader hears the stores that live.
func acquaint(m *Server) {
	v := m.current().view
	v.mu.Lock()
	v.begun -= env.Time(suspectAfter + 1)
	v.mu.Unlock()
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestIDsAndTimestampsOverLeaders: whoever leads, no id and no timestamp comes twice, and timestamps only grow.
func TestIDsAndTimestampsOverLeaders(t *testing.T) {
	s, ms := members(t, 3)
	ctx := t.Context()
	seen := make(map[uint64]bool)
	var last uint64
	for round := range 30 {
		lead := round % 3
		s.elect(lead + 1)
		steps(t, ms)
		steps(t, ms)
		for i, m := range ms {
			id, err := m.AllocIDs(ctx, 700)
			if i != lead {
				var nl *shard.NotLeaderError
				if !errors.As(err, &nl) {
					t.Fatalf("member %d does not lead and answered %d, %v", i+1, id, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			for n := id; n < id+700; n++ {
				if seen[n] || n < shard.FirstUserID {
					t.Fatalf("id %d came twice or is reserved", n)
				}
				seen[n] = true
			}
			first := must[uint64](t)(m.Timestamps(ctx, 5000))
			if first <= last || first%2 != 0 {
				t.Fatalf("timestamp %d after %d", first, last)
			}
			last = first + 2*4999
		}
	}
}

// deposing loses the leadership between making an answer and confirming it.
type deposing struct{ metaOf }

func (d deposing) Confirm(context.Context) (uint64, error) {
	d.elect(2)
	return 0, d.notLeader()
}

// TestDeposedLeaderAnswersNothing: a timestamp that was made before the leadership was lost is not handed out.
func TestDeposedLeaderAnswersNothing(t *testing.T) {
	s, ms := members(t, 1)
	steps(t, ms)
	ms[0].meta = deposing{metaOf{s, 1}}
	if ts, err := ms[0].Timestamps(t.Context(), 1); err == nil {
		t.Fatalf("answered %d after the leadership was lost", ts)
	}
}

// beatFrom is a store's heartbeat.
func beatFrom(m *Server, id shard.StoreID, f func(*beat.Report)) (*beat.Answer, error) {
	r := &beat.Report{Versions: version.Ours(), Store: id, Addr: fmt.Sprint("addr", id), Full: true}
	if f != nil {
		f(r)
	}
	return m.Heartbeat(context.Background(), r)
}

// TestBootstrapOnce: the first shards are made once, whatever happens to leaders meanwhile; they are asked for until
// every store has created its replicas, and not again after that.
func TestBootstrapOnce(t *testing.T) {
	s, ms := members(t, 2, "g", "p")
	ctx := t.Context()
	steps(t, ms)
	var ids []shard.StoreID
	for i := range 3 {
		reg := must[beat.Registration](t)(ms[0].Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: fmt.Sprint("addr", i)}))
		ids = append(ids, reg.Store)
		if _, err := ms[0].Locate(ctx, nil, 1); err == nil {
			t.Fatal("there are shards before the stores have reported")
		}
		must[*beat.Answer](t)(beatFrom(ms[0], reg.Store, nil))
	}
	steps(t, ms)
	first := must[*beat.Routes](t)(ms[0].Locate(ctx, nil, 10)).Routes
	if len(first) != 3 {
		t.Fatalf("%d shards, want 3", len(first))
	}
	created := func(m *Server, id shard.StoreID) []*shard.Descriptor {
		t.Helper()
		return must[*beat.Answer](t)(beatFrom(m, id, nil)).Create
	}
	if n := len(created(ms[0], ids[0])); n != 3 {
		t.Fatalf("asked to create %d replicas, want 3", n)
	}
	// The leader changes before anyone answered: the other one asks for the same shards.
	s.elect(2)
	steps(t, ms)
	steps(t, ms)
	again := created(ms[1], ids[0])
	if len(again) != 3 || again[0].String() != first[0].Desc.String() {
		t.Fatalf("the new leader asks for %v", again)
	}
	// Messages of the others gave birth to one of them before it was created, and a store that restarts tells of all that it has.
	held := beat.Replica{Shard: again[1].ID, Replica: again[1].Replicas[0].ID}
	for _, born := range []bool{false, true} {
		held.Born = born
		a := must[*beat.Answer](t)(beatFrom(ms[1], ids[0], func(r *beat.Report) { r.Full, r.Replicas = true, []beat.Replica{held} }))
		if want := map[bool]int{false: 3, true: 2}[born]; len(a.Create) != want {
			t.Fatalf("with a replica that has its data (%v), asked to create %d, want %d", born, len(a.Create), want)
		}
	}
	for _, id := range ids {
		must[*beat.Answer](t)(beatFrom(ms[1], id, func(r *beat.Report) {
			for _, d := range again {
				r.Created = append(r.Created, d.ID)
			}
		}))
	}
	steps(t, ms) // writes that all are created
	s.elect(1)
	steps(t, ms)
	steps(t, ms)
	for _, id := range ids {
		if n := len(created(ms[0], id)); n != 0 {
			t.Fatalf("%s is asked again to create %d replicas", id, n)
		}
	}
}

// TestLateReport: a full report that arrives after its store has gone on is not taken for the newest, whichever leadership it
// comes to; what changed since is asked for.
func TestLateReport(t *testing.T) {
	_, ms := members(t, 1)
	m := ms[0]
	steps(t, ms)
	reg := must[beat.Registration](t)(m.Register(t.Context(), beat.Newcomer{Versions: version.Ours(), Addr: "a:1"}))
	says := func(incarnation, number, since uint64, full bool) (needFull bool) {
		t.Helper()
		return must[*beat.Answer](t)(beatFrom(m, reg.Store, func(r *beat.Report) {
			r.Incarnation, r.Number, r.Since, r.Full = incarnation, number, since, full
		})).NeedFull
	}
	for _, c := range []struct {
		what                       string
		incarnation, number, since uint64
		full, needFull             bool
	}{
		{"full", 7, 1, 0, true, false},
		{"what changed since", 7, 2, 1, false, false},
		{"the same once more", 7, 2, 1, false, false},
		{"what changed since one that was lost", 7, 4, 3, false, true},
		{"full, as asked for", 7, 5, 4, true, false},
		{"an earlier one, late", 7, 1, 0, true, false},
		{"what changed since the newest", 7, 6, 5, false, false},
		{"another life that was not heard before", 8, 3, 2, false, true},
		{"full, as asked for", 8, 4, 3, true, false},
	} {
		if got := says(c.incarnation, c.number, c.since, c.full); got != c.needFull {
			t.Errorf("%s: asked for everything %v, want %v", c.what, got, c.needFull)
		}
	}
	m.reload(m.current(), "a test wants it")
	steps(t, ms)
	if says(8, 2, 1, true) || !says(8, 6, 5, false) {
		t.Error("a full report that comes late to the next leadership hides what changed since")
	}
}

// TestNewLeaderCallsNoStoreEmpty: to a leader that has not heard a store yet, it holds what the records say, and what only the
// store could say is not known. Nobody is told that a drain has ended before it has.
func TestNewLeaderCallsNoStoreEmpty(t *testing.T) {
	_, ms := members(t, 1, "g", "p")
	m := ms[0]
	steps(t, ms)
	var first shard.StoreID
	for i := range 3 {
		reg := must[beat.Registration](t)(m.Register(t.Context(), beat.Newcomer{Versions: version.Ours(), Addr: fmt.Sprint("addr", i)}))
		first = max(first, reg.Store)
		must[*beat.Answer](t)(beatFrom(m, reg.Store, nil))
	}
	steps(t, ms)
	store := func() beat.Store {
		t.Helper()
		all := must[*beat.Routes](t)(m.Locate(t.Context(), nil, 1)).Stores
		return all[slices.IndexFunc(all, func(s beat.Store) bool { return s.ID == first })]
	}
	check := func(what string, shards int, unheard bool) {
		t.Helper()
		if st := store(); st.Shards != shards || st.Unheard != unheard {
			t.Errorf("%s: %d shards, unheard %v; want %d and %v", what, st.Shards, st.Unheard, shards, unheard)
		}
	}
	check("after the first shards were made", 3, false)
	m.reload(m.current(), "a test wants it")
	steps(t, ms)
	check("a new leader", 3, true)
	for _, o := range []*beat.Order{{Drain: &beat.StoreOrder{Store: first}}, {Remove: &beat.StoreOrder{Store: first}}, {Explain: &beat.ExplainOrder{Store: first}}} {
		var busy *shard.ServerBusyError
		if _, err := m.Administer(t.Context(), o); !errors.As(err, &busy) {
			t.Errorf("%+v before the stores are heard: %v", *o, err)
		}
	}
	must[*beat.Answer](t)(beatFrom(m, first, func(r *beat.Report) { r.Shards = 5 }))
	check("a new leader that has heard it", 5, false)
	acquaint(m)
	if _, err := m.Administer(t.Context(), &beat.Order{Explain: &beat.ExplainOrder{Store: first}}); err != nil {
		t.Errorf("after the time in which a store that lives would be heard: %v", err)
	}
}

// TestHeartbeatRefusals: another cluster's store, an unknown one, a removed one.
func TestHeartbeatRefusals(t *testing.T) {
	_, ms := members(t, 1)
	ctx := t.Context()
	steps(t, ms)
	reg := must[beat.Registration](t)(ms[0].Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: "a:1"}))
	var wrong *shard.WrongClusterError
	if _, err := beatFrom(ms[0], reg.Store, func(r *beat.Report) { r.Cluster = reg.Cluster + 1 }); !errors.As(err, &wrong) {
		t.Fatalf("another cluster's store got %v", err)
	}
	var invalid *shard.InvalidError
	if _, err := beatFrom(ms[0], reg.Store+1, nil); !errors.As(err, &invalid) {
		t.Fatalf("an unknown store got %v", err)
	}
	if err := ms[0].RemoveStore(ctx, reg.Store+1); !errors.As(err, &invalid) {
		t.Fatalf("removing an unknown store: %v", err)
	}
	acquaint(ms[0])
	if err := ms[0].RemoveStore(ctx, reg.Store); err != nil {
		t.Fatal(err)
	}
	if a := must[*beat.Answer](t)(beatFrom(ms[0], reg.Store, nil)); !a.Removed {
		t.Fatal("a removed store was not told")
	}
}

// TestWatch: everything first, then changes; it ends with the leadership.
func TestWatch(t *testing.T) {
	s, ms := members(t, 2, "g")
	ctx := t.Context()
	steps(t, ms)
	var ids []shard.StoreID
	for i := range 3 {
		reg := must[beat.Registration](t)(ms[0].Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: fmt.Sprint("addr", i)}))
		ids = append(ids, reg.Store)
		must[*beat.Answer](t)(beatFrom(ms[0], reg.Store, nil))
	}
	steps(t, ms)
	got := make(chan *beat.Routes, 16)
	ended := make(chan error, 1)
	go func() { ended <- ms[0].Watch(ctx, func(r *beat.Routes) error { got <- r; return nil }) }()
	if r := <-got; !r.Full || len(r.Routes) != 2 || len(r.Stores) != 3 {
		t.Fatalf("first message: %+v", r)
	}
	d := must[*beat.Routes](t)(ms[0].Locate(ctx, nil, 1)).Routes[0].Desc
	must[*beat.Answer](t)(beatFrom(ms[0], ids[0], func(r *beat.Report) {
		r.Led = []beat.Led{{Desc: d, Leader: d.Replicas[0].ID, Term: 7, Applied: 9}}
	}))
	for {
		r := <-got
		if len(r.Routes) == 1 && r.Routes[0].Leader == d.Replicas[0].ID && r.Routes[0].Term == 7 && !r.Full {
			break
		}
	}
	// An older term's claim changes nothing.
	must[*beat.Answer](t)(beatFrom(ms[0], ids[1], func(r *beat.Report) {
		r.Led = []beat.Led{{Desc: d, Leader: d.Replicas[1].ID, Term: 6}}
	}))
	if r := must[*beat.Routes](t)(ms[0].Locate(ctx, nil, 1)).Routes[0]; r.Leader != d.Replicas[0].ID {
		t.Fatalf("an old leader's claim won: %+v", r)
	}
	s.elect(2)
	steps(t, ms)
	select {
	case err := <-ended:
		var nl *shard.NotLeaderError
		if !errors.As(err, &nl) {
			t.Fatalf("the stream ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the stream outlived the leadership")
	}
}

// TestLateMember: a member that was never seen may begin late, once; one that took part before may not.
func TestLateMember(t *testing.T) {
	s := &shared{active: []shard.StoreID{1, 2}, desc: metaOfMembers(1, 2, 3)}
	m := New(Options{Env: env.Real{}, Meta: metaOf{s, 1}, Members: []beat.Member{{Store: 1}, {Store: 2}, {Store: 3}}})
	s.elect(1)
	m.step(t.Context())
	m.step(t.Context())
	var invalid *shard.InvalidError
	refused := func(id shard.StoreID) {
		t.Helper()
		if _, err := m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Member: id, Token: 8}); !errors.As(err, &invalid) {
			t.Fatalf("member %d: %v, want a refusal", id, err)
		}
	}
	refused(4) // not of this cluster
	s.active = nil
	refused(2) // was there when the term began, is away now
	join := func() error {
		_, err := m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Member: 3, Token: 7})
		return err
	}
	s.swallow = 1
	if err := join(); err == nil {
		t.Fatal("the answer was not lost")
	}
	m.step(t.Context()) // it reads its records again
	for range 2 {       // it did not hear the answer, or died before it had written anything
		if err := join(); err != nil {
			t.Fatalf("the same directory asks again: %v", err)
		}
	}
	refused(3) // with another directory
	if _, err := m.JoinMember(t.Context(), beat.Candidate{Versions: version.Ours(), Member: 3}); !errors.As(err, &invalid) {
		t.Fatalf("without a token: %v", err)
	}
}

// TestLostAnswers: a write that took effect although its answer was lost leaves nothing behind that a leader of the same
// term would stumble over for ever: ids, timestamps, registrations, removals and the first shards.
func TestLostAnswers(t *testing.T) {
	s, ms := members(t, 1)
	m := ms[0]
	steps(t, ms)
	// until calls f, each time after one answer was lost, and then until it works.
	until := func(what string, f func() error) {
		t.Helper()
		s.swallow = 1
		var err error
		for range 4 {
			if err = f(); err == nil {
				return
			}
			steps(t, ms)
		}
		t.Fatalf("%s: never again: %v", what, err)
	}
	until("ids", func() error { _, err := m.AllocIDs(t.Context(), 60_000); return err })
	until("timestamps", func() error { _, err := m.Timestamps(t.Context(), 60_000); return err })
	var stores []shard.StoreID
	for range 5 {
		until("register", func() error {
			r, err := m.Register(t.Context(), beat.Newcomer{Versions: version.Ours(), Addr: "127.0.0.1:1"})
			stores = append(stores, r.Store)
			return err
		})
	}
	until("remove", func() error {
		acquaint(m)
		return m.RemoveStore(t.Context(), stores[len(stores)-1])
	})
	ans, err := m.Heartbeat(t.Context(), &beat.Report{Versions: version.Ours(), Store: stores[len(stores)-1], Addr: "127.0.0.1:1", Full: true})
	if err != nil || !ans.Removed {
		t.Errorf("the removed store hears %+v, %v", ans, err)
	}
}

// TestNewAddressKeepsRemoval: a heartbeat from a new address, decided on before its store was removed, does not bring the
// store back.
func TestNewAddressKeepsRemoval(t *testing.T) {
	_, ms := members(t, 1)
	m := ms[0]
	steps(t, ms)
	r := must[beat.Registration](t)(m.Register(t.Context(), beat.Newcomer{Versions: version.Ours(), Addr: "127.0.0.1:1"}))
	l := m.current()
	old, _ := l.view.record(r.Store)
	acquaint(m)
	if err := m.RemoveStore(t.Context(), r.Store); err != nil {
		t.Fatal(err)
	}
	moved := old
	moved.addr = "127.0.0.1:2"
	if err := m.replaceStore(t.Context(), l, old, moved); !errors.Is(err, errRaced) {
		t.Errorf("the old record was written over the removal: %v", err)
	}
}
