package placement

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/internal/version"
	"github.com/skerrydb/skerry/shard/beat"
)

// TestSlowNetwork: who is far from most others is; one bad link is nobody's fault, a store that is gone does not count, and
// of two stores nobody can tell.
func TestSlowNetwork(t *testing.T) {
	_, ms := members(t, 1)
	steps(t, ms)
	v := ms[0].current().view
	for _, addr := range []string{"a", "b", "c", "d", "e"} {
		must[beat.Registration](t)(ms[0].Register(t.Context(), beat.Newcomer{Versions: version.Ours(), Addr: addr}))
	}
	ids := v.storeIDsLocked()
	const near, far = time.Millisecond, 300 * time.Millisecond
	// after looks so many times at the first n stores, with the ways between them as trip says.
	silent := -1 // who sends nothing to placement either, for some seconds
	after := func(n, looks int, trip func(a, b int) time.Duration) (slow string) {
		for range looks {
			for i, id := range ids[:n] {
				if i == silent {
					v.stores[id].seen = v.env.Now() - env.Time(silentAfter)
					continue
				}
				r := &beat.Report{Versions: version.Ours(), Store: id, Full: true}
				for j, other := range ids {
					if d := trip(i, j); i != j && d != 0 {
						r.Trips = append(r.Trips, beat.Trip{Store: other, Micros: uint64(d.Microseconds())})
					}
				}
				v.observe(r)
			}
			v.look()
		}
		for i, st := range v.allStores() {
			if st.SlowNet {
				slow += string(rune('a' + i))
			}
		}
		return slow
	}
	even := func(int, int) time.Duration { return near }
	star := func(hub int) func(a, b int) time.Duration {
		return func(a, b int) time.Duration {
			if a == hub || b == hub {
				return far
			}
			return near
		}
	}
	ofLink := func(a, b int) time.Duration {
		if a+b == 1 {
			return far
		}
		return near
	}
	halfKnown := func(a, b int) time.Duration { // c's own reports do not come through with what it measured
		if a == 2 {
			return 0
		}
		return star(2)(a, b)
	}
	for _, c := range []struct {
		what   string
		stores int
		looks  int
		trip   func(a, b int) time.Duration
		want   string
	}{
		{"two stores", 2, 2 * slowLooks, star(0), ""},
		{"one bad link", 4, 2 * slowLooks, ofLink, ""},
		{"not for long enough", 4, slowLooks - 1, star(2), ""},
		{"long enough", 4, 1, star(2), "c"},
		{"not yet over", 4, fastLooks - 1, even, "c"},
		{"over", 4, 1, even, ""},
		{"by the word of the others", 4, slowLooks, halfKnown, "c"},
		{"over again", 4, fastLooks, even, ""},
		{"everybody is as far", 4, 2 * slowLooks, func(int, int) time.Duration { return far }, ""},
		{"e was never heard", 4, 2 * slowLooks, star(4), ""},
	} {
		if got := after(c.stores, c.looks, c.trip); got != c.want {
			t.Errorf("%s: slow are %q, want %q", c.what, got, c.want)
		}
	}
	silent = 2
	if got := after(4, 2*slowLooks, star(silent)); got != "" {
		t.Errorf("a store that is stopped for a restart: slow are %q", got)
	}
}
