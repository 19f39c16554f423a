package placement

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/shard/beat"
)

// TestGCSetting: the default, changes one by one, what is refused, and the next leader keeps it.
func TestGCSetting(t *testing.T) {
	s, ms := members(t, 2)
	steps(t, ms)
	set := func(m *Server, o beat.GCOrder, dry bool) (beat.GCSetting, error) {
		out, err := m.Administer(t.Context(), &beat.Order{GC: &o, DryRun: dry})
		if err != nil {
			return beat.GCSetting{}, err
		}
		return *out.GC, nil
	}
	want := beat.GCSetting{KeepMillis: uint64(DefaultGCKeep.Milliseconds())}
	yes, hour, none := true, uint64(time.Hour.Milliseconds()), uint64(0)
	if g := must[beat.GCSetting](t)(set(ms[0], beat.GCOrder{}, false)); g != want {
		t.Fatalf("%+v", g)
	}
	_, err := set(ms[0], beat.GCOrder{KeepMillis: &none}, false)
	refuse(t, "at least", err)
	must[beat.GCSetting](t)(set(ms[0], beat.GCOrder{Paused: &yes}, true))
	must[beat.GCSetting](t)(set(ms[0], beat.GCOrder{KeepMillis: &hour}, false))
	want = beat.GCSetting{KeepMillis: hour}
	if g := must[beat.GCSetting](t)(set(ms[0], beat.GCOrder{}, false)); g != want {
		t.Fatalf("%+v", g)
	}
	must[beat.GCSetting](t)(set(ms[0], beat.GCOrder{Paused: &yes}, false))
	want.Paused = true
	s.elect(2)
	steps(t, ms)
	if g := must[beat.GCSetting](t)(set(ms[1], beat.GCOrder{}, false)); g != want {
		t.Fatalf("the next leader: %+v", g)
	}
}
