package env

import (
	"testing"
	"time"
)

// TestSuspendClock: the clock goes on in a sleep by its length, and takes no notice of changes of the wall clock, however slowly
// clocks are read; and the system's clock is read only when the others have moved apart.
func TestSuspendClock(t *testing.T) {
	const ms, hour = int64(time.Millisecond), int64(time.Hour)
	m := &fakeClocks{mono: 5 * ms, slept: 7 * hour, stepped: 100 * hour}
	c := suspendClock{clocks: m}
	last := c.now()
	// step does something, and says by how much the clock went beside the monotonic one, within what, and how often the system's was read.
	step := func(what string, do func(), want, within int64, looks int) {
		t.Helper()
		mono, before := m.mono, m.looks
		do()
		now := c.now()
		if got := int64(now-last) - (m.mono - mono); abs(got-want) > within {
			t.Errorf("%s: the clock went %v beside the monotonic one, not %v", what, time.Duration(got), time.Duration(want))
		}
		if now < last {
			t.Errorf("%s: back from %d to %d", what, last, now)
		}
		if got := m.looks - before; got != looks {
			t.Errorf("%s: %d readings of the system's clock, not %d", what, got, looks)
		}
		last = now
	}
	step("an hour", func() { m.mono += hour }, 0, 0, 0)
	for _, d := range []int64{hour, -2 * hour, 5 * ms, -5 * ms} {
		step("a step of the wall clock", func() { m.stepped += d }, 0, 0, 1)
	}
	step("one not seen", func() { m.stepped += ms / 2 }, 0, 0, 0)
	for _, d := range []int64{1000 * ms, 9 * hour, 2 * ms} {
		step("a sleep", func() { m.slept += d }, d, readTolerance, 1)
	}
	step("after it", func() { m.mono += hour }, 0, 0, 0)
	step("a sleep and a step", func() { m.slept += hour; m.stepped -= hour / 2 }, hour, readTolerance, 1)

	m.slow = []int64{3 * ms, 4 * ms, 5 * ms}
	step("a step while readings are slow", func() { m.stepped += hour }, 0, 0, 4)
	m.slow = []int64{3 * ms, 4 * ms}
	step("a sleep while readings are slow", func() { m.slept += hour }, hour, readTolerance, 3)
	m.slow = []int64{3 * ms, 4 * ms, 2 * ms, 4 * ms, 4 * ms, 4 * ms, 4 * ms, 4 * ms}
	step("all readings are slow", func() { m.slept += hour }, hour, 11*ms/10, readTries)
	m.slow = []int64{3 * ms, 4 * ms, 3 * ms, 4 * ms, 4 * ms, 4 * ms, 4 * ms, 4 * ms}
	step("all are, and there was no sleep", func() { m.stepped += hour }, 0, 0, readTries)

	m.slow = nil
	step("none is any more, and there was no sleep", func() { m.stepped += hour }, 0, 0, 1)

	other := c.offsets.Load()
	m.inLook = func() { m.slept += hour; c.look(other) } // another caller sees the end of a sleep that this one saw the beginning of
	step("two at once", func() { m.slept += hour }, 2*hour, 2*ms, 2)
	before := c.offsets.Load()
	m.inLook = func() { m.slept -= hour; c.look(before); m.slept += hour } // what another caller saw before the sleep comes first
	step("two at once, one from before", func() { m.slept += hour; m.stepped += 2 * hour }, hour, readTolerance, 3)
}

// fakeClocks are clocks that each reading moves by a microsecond.
type fakeClocks struct {
	mono, slept, stepped int64
	looks                int     // readings of the system's clock
	slow                 []int64 // what the next ones take
	inLook               func()  // happens once after the next one
}

func (f *fakeClocks) both() (mono, wall int64) {
	f.mono += 1000
	return f.mono, f.mono + f.slept + f.stepped
}

func (f *fakeClocks) boot() int64 {
	f.looks++
	takes := int64(1000)
	if len(f.slow) > 0 {
		takes, f.slow = f.slow[0], f.slow[1:]
	}
	f.mono += takes / 2
	now := f.mono + f.slept
	f.mono += takes / 2
	if do := f.inLook; do != nil {
		f.inLook = nil
		do()
	}
	return now
}

// TestRealNow: the machine's clock goes as fast as the runtime's.
func TestRealNow(t *testing.T) {
	var r Real
	std, last := time.Now(), r.Now()
	began := last
	for range 10000 {
		now := r.Now()
		if now < last {
			t.Fatalf("back from %d to %d", last, now)
		}
		last = now
	}
	if a, b := last.Sub(began), time.Since(std); a > b || b-a > time.Second {
		t.Fatalf("%v of this clock are %v of the runtime's", a, b)
	}
}

func BenchmarkNow(b *testing.B) {
	var r Real
	for b.Loop() {
		r.Now()
	}
}
