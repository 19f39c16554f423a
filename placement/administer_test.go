package placement

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/placement/schedule"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/beat"
)

// refuse expects a refusal with a reason.
func refuse(t *testing.T, why string, err error) {
	t.Helper()
	var invalid *shard.InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(err.Error(), why) {
		t.Fatalf("got %v, want a refusal with %q", err, why)
	}
}

// TestRegisterOnce: a store that asks again because it did not hear the answer is the same store, under any leader; one
// without a token, or of a removed store, is another.
func TestRegisterOnce(t *testing.T) {
	s, ms := members(t, 2)
	ctx := t.Context()
	steps(t, ms)
	register := func(m *Server, n beat.Newcomer) shard.StoreID {
		t.Helper()
		return must[beat.Registration](t)(m.Register(ctx, n)).Store
	}
	first := register(ms[0], beat.Newcomer{Versions: version.Ours(), Addr: "a:1", Token: 77})
	if again := register(ms[0], beat.Newcomer{Versions: version.Ours(), Addr: "a:1", Token: 77}); again != first {
		t.Fatalf("%s asked again and is %s", first, again)
	}
	s.elect(2)
	steps(t, ms)
	if again := register(ms[1], beat.Newcomer{Versions: version.Ours(), Addr: "a:2", Token: 77}); again != first {
		t.Fatalf("%s asked another leader and is %s", first, again)
	}
	if other := register(ms[1], beat.Newcomer{Versions: version.Ours(), Addr: "a:1"}); other == first {
		t.Fatal("two stores have one id")
	}
	acquaint(ms[1])
	if err := ms[1].RemoveStore(ctx, first); err != nil {
		t.Fatal(err)
	}
	if other := register(ms[1], beat.Newcomer{Versions: version.Ours(), Addr: "a:1", Token: 77}); other == first {
		t.Fatal("a removed store is back")
	}
}

// TestIdentities: an address that a store is heard from is nobody else's until that store is missed, and of two processes
// on copies of a directory one is refused.
func TestIdentities(t *testing.T) {
	_, ms := members(t, 1)
	ctx := t.Context()
	steps(t, ms)
	m := ms[0]
	a := must[beat.Registration](t)(m.Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: "a:1", Token: 1})).Store
	b := must[beat.Registration](t)(m.Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: "b:1", Token: 2})).Store
	beats := func(id shard.StoreID, addr string, incarnation uint64) error {
		_, err := m.Heartbeat(ctx, &beat.Report{Versions: version.Ours(), Store: id, Addr: addr, Incarnation: incarnation, Full: true})
		return err
	}
	var notReady *shard.NotReadyError
	taken := func(err error) {
		t.Helper()
		if !errors.As(err, &notReady) || !strings.Contains(err.Error(), a.String()) {
			t.Fatalf("the address of a live store: %v", err)
		}
	}
	if err := beats(a, "a:1", 3); err != nil {
		t.Fatal(err)
	}
	taken(beats(b, "a:1", 1))
	_, err := m.Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: "a:1", Token: 3})
	taken(err)
	refuse(t, "is a copy", beats(a, "c:1", 3)) // the same life, elsewhere
	refuse(t, "is a copy", beats(a, "a:1", 2)) // an earlier life
	if err := beats(a, "a:2", 4); err != nil { // a later one, elsewhere
		t.Fatal(err)
	}
	if err := beats(b, "a:1", 1); err != nil { // nobody's any more
		t.Fatal(err)
	}
}

// TestPolicySurvives: rules, pauses, labels and drains are found by the next leader; what is not allowed leaves all as it
// was.
func TestPolicySurvives(t *testing.T) {
	s, ms := members(t, 2)
	ctx := t.Context()
	steps(t, ms)
	var ids []shard.StoreID
	for _, addr := range []string{"a", "b", "c", "d"} {
		ids = append(ids, must[beat.Registration](t)(ms[0].Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: addr})).Store)
	}
	order := func(m *Server, o beat.Order) error {
		_, err := m.Administer(ctx, &o)
		return err
	}
	do := func(o beat.Order) {
		t.Helper()
		if err := order(ms[0], o); err != nil {
			t.Fatal(err)
		}
	}
	heard := func(m *Server) {
		for i, id := range ids {
			must[*beat.Answer](t)(m.Heartbeat(ctx, &beat.Report{Versions: version.Ours(), Store: id, Addr: string(rune('a' + i)), Full: true}))
		}
	}
	heard(ms[0])
	label := func(key, value string) beat.Order {
		return beat.Order{Label: &beat.LabelOrder{Store: ids[0], Labels: []beat.Label{{Key: key, Value: value}}}}
	}
	do(label("zone", "a"))
	do(label("disk", "ssd"))
	do(label("zone", "")) // taken away again
	do(beat.Order{Pause: &beat.PauseOrder{For: time.Hour}})
	rules := json.RawMessage(`{"replicas":2,"isolation":["zone"]}`)
	do(beat.Order{DryRun: true, Rules: &beat.RulesOrder{Set: json.RawMessage(`{"replicas":1}`)}})
	do(beat.Order{Rules: &beat.RulesOrder{Set: json.RawMessage(`{"replicas":4}`)}})
	do(beat.Order{Rules: &beat.RulesOrder{Set: rules}}) // on top of others
	do(beat.Order{Drain: &beat.StoreOrder{Store: ids[3]}})
	refuse(t, "need as many stores", order(ms[0], beat.Order{Rules: &beat.RulesOrder{Set: json.RawMessage(`{"replicas":5}`)}}))
	refuse(t, "letters, digits", order(ms[0], label("zone", "a b")))
	refuse(t, "asks for nothing", order(ms[0], beat.Order{}))
	refuse(t, "can be up to", order(ms[0], beat.Order{Pause: &beat.PauseOrder{For: 48 * time.Hour}}))
	s.elect(2)
	steps(t, ms)
	m := ms[1]
	heard(m)
	l := m.current()
	if left := l.policy.left(m.millis()); left < 59*time.Minute || left > time.Hour {
		t.Errorf("%s of the pause are left", left)
	}
	if raw := schedule.EncodeRules(l.policy.current()); string(raw) != string(rules) {
		t.Errorf("the rules are %s", raw)
	}
	st := l.view.allStores()
	if len(st[0].Labels) != 1 || st[0].Labels[0] != (beat.Label{Key: "disk", Value: "ssd"}) {
		t.Errorf("labels %v", st[0].Labels)
	}
	if st[3].State != beat.Draining || !st[3].Draining || st[2].Draining {
		t.Errorf("drained: %+v", st)
	}
	if err := order(m, beat.Order{Pause: &beat.PauseOrder{}}); err != nil || l.policy.left(m.millis()) != 0 {
		t.Errorf("the pause goes on: %v", err)
	}
	var nl *shard.NotLeaderError
	if err := order(ms[0], beat.Order{Rules: &beat.RulesOrder{}}); !errors.As(err, &nl) {
		t.Errorf("who does not lead answers %v", err)
	}
}

// TestSlowDisk: a disk is slow when it is so against the others for a while, and not any more only after longer.
func TestSlowDisk(t *testing.T) {
	_, ms := members(t, 1)
	ctx := t.Context()
	steps(t, ms)
	v := ms[0].current().view
	for _, addr := range []string{"a", "b", "c"} {
		must[beat.Registration](t)(ms[0].Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: addr}))
	}
	ids := v.storeIDsLocked()
	after := func(looks int, times ...time.Duration) (slow string) {
		for range looks {
			for i, id := range ids {
				v.observe(&beat.Report{Versions: version.Ours(), Store: id, Full: true, SyncTime: times[i]})
			}
			v.look()
		}
		for i, st := range v.allStores() {
			if st.SlowDisk {
				slow += string(rune('a' + i))
			}
		}
		return slow
	}
	ms10 := 10 * time.Millisecond
	for _, c := range []struct {
		looks int
		times []time.Duration
		want  string
	}{
		{slowLooks - 1, []time.Duration{ms10, ms10, time.Second}, ""},
		{1, []time.Duration{ms10, ms10, ms10}, ""},
		{slowLooks, []time.Duration{ms10, ms10, time.Second}, "c"},
		{fastLooks - 1, []time.Duration{ms10, ms10, ms10}, "c"},
		{1, []time.Duration{ms10, ms10, ms10}, ""},
		{2 * slowLooks, []time.Duration{time.Second, time.Second, time.Second}, ""},        // usual here
		{2 * slowLooks, []time.Duration{time.Millisecond, time.Millisecond, 9 * ms10}, ""}, // nobody notices
	} {
		if got := after(c.looks, c.times...); got != c.want {
			t.Errorf("after %d looks at %v: slow are %q, want %q", c.looks, c.times, got, c.want)
		}
	}
}
