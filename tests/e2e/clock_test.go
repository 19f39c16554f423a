package e2e

import (
	"context"
	"testing"
	"time"
)

// TestSkewedClock: the clock runs at its rate, does not jump when the rate changes, and waits by itself.
func TestSkewedClock(t *testing.T) {
	e := newSkewedEnv(skew{Rate: 1}) // twice as fast
	real, local := e.Real.Now(), e.Now()
	if err := e.Sleep(context.Background(), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	realPassed, passed := e.Real.Now().Sub(real), e.Now().Sub(local)
	if passed < 200*time.Millisecond || realPassed < 100*time.Millisecond {
		t.Fatalf("slept %s by its own clock in %s", passed, realPassed)
	}
	if ratio := passed.Seconds() / realPassed.Seconds(); ratio < 1.9 || ratio > 2.1 {
		t.Fatalf("%s passed while %s really did: a ratio of %.2f, want 2", passed, realPassed, ratio)
	}
	before := e.Now()
	e.set(skew{Rate: -0.5, Wall: time.Hour})
	if after := e.Now(); after < before || after.Sub(before) > 50*time.Millisecond {
		t.Fatalf("the clock jumped by %s when its rate changed", after.Sub(before))
	}
	if off := time.Until(e.Wall()); off < 59*time.Minute || off > 61*time.Minute {
		t.Fatalf("the wall clock is off by %s, want 1h", off)
	}
}
