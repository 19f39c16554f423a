package placement

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/placement/tso"
	"github.com/skerrydb/skerry/shard/beat"
)

// TestSafePoints: they only go forward, in their order, not beyond the clock; stores hear them, and the next leader keeps
// them.
func TestSafePoints(t *testing.T) {
	s, ms := members(t, 2)
	ctx := t.Context()
	steps(t, ms)
	now := uint64(time.Now().Add(-time.Hour).UnixMilli()) << tso.LogicalBits
	move := func(m *Server, p beat.SafePoints, dry bool) (beat.SafePoints, error) {
		out, err := m.Administer(ctx, &beat.Order{SafePoints: &p, DryRun: dry})
		if err != nil {
			return beat.SafePoints{}, err
		}
		return *out.SafePoints, nil
	}
	_, err := move(ms[0], beat.SafePoints{Safe: uint64(time.Now().Add(24*time.Hour).UnixMilli()) << tso.LogicalBits}, false)
	refuse(t, "in the future", err)
	_, err = move(ms[0], beat.SafePoints{Safe: now, Collect: now + 1}, false)
	refuse(t, "above the safe point", err)
	if _, err := move(ms[0], beat.SafePoints{Safe: now}, true); err != nil {
		t.Fatal(err)
	}
	if p := must[beat.SafePoints](t)(move(ms[0], beat.SafePoints{}, false)); p != (beat.SafePoints{}) {
		t.Fatalf("a dry run moved them to %+v", p)
	}
	want := beat.SafePoints{Safe: now, Collect: now - 10}
	must[beat.SafePoints](t)(move(ms[0], want, false))
	if p := must[beat.SafePoints](t)(move(ms[0], beat.SafePoints{Safe: now - 5, Collect: now - 20}, false)); p != want {
		t.Fatalf("they went back to %+v", p)
	}
	s.elect(2)
	steps(t, ms)
	store := must[beat.Registration](t)(ms[1].Register(ctx, beat.Newcomer{Versions: version.Ours(), Addr: "a:1"})).Store
	if a := must[*beat.Answer](t)(ms[1].Heartbeat(ctx, &beat.Report{Versions: version.Ours(), Store: store, Addr: "a:1", Incarnation: 1})); a.SafePoints != want {
		t.Fatalf("the next leader tells %+v, not %+v", a.SafePoints, want)
	}
}
