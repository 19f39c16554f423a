package progress

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestPlainLines: without a terminal there is a line every five seconds, with rate and remaining time, and none after the
// end.
func TestPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := New(Options{Out: &out, Verb: "import", Keys: 4000, Bytes: 40 << 20})
		time.Sleep(time.Second / 2)
		for range 12 {
			p.Add(200, 2<<20)
			time.Sleep(time.Second)
		}
		sum := p.Done()
		time.Sleep(time.Minute)
		want := "import: 1,000 of 4,000 keys, 10.0 MiB of 40.0 MiB (25%), 2.00 MiB/s, 15s left\n" +
			"import: 2,000 of 4,000 keys, 20.0 MiB of 40.0 MiB (50%), 2.00 MiB/s, 10s left\n"
		if out.String() != want {
			t.Errorf("printed\n%swant\n%s", out.String(), want)
		}
		if got := sum.String(); got != "2,400 keys, 24.0 MiB in 12.5s (1.92 MiB/s)" {
			t.Errorf("summary: %s", got)
		}
	})
}

// TestCounted: what has no bytes is counted, and the rest is estimated from what is done.
func TestCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := New(Options{Out: &out, Verb: "drain st3", Keys: 40, Noun: "replicas"})
		time.Sleep(time.Millisecond)
		for range 10 {
			time.Sleep(time.Second)
			p.Add(2, 0)
		}
		p.Done()
		want := "drain st3: 8 of 40 replicas, 20s left\ndrain st3: 18 of 40 replicas, 12s left\n"
		if out.String() != want {
			t.Errorf("printed\n%swant\n%s", out.String(), want)
		}
	})
}

// TestUnknownTotal: what is not known is not shown.
func TestUnknownTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := New(Options{Out: &out, Verb: "export"})
		p.Add(1, 100)
		time.Sleep(plainInterval + time.Millisecond)
		p.Done()
		if got := out.String(); got != "export: 1 keys, 100 B, 20 B/s\n" {
			t.Errorf("printed %q", got)
		}
	})
}

// TestBarEnds: a bar ends whether its total was reached, passed, or neither.
func TestBarEnds(t *testing.T) {
	for _, done := range []int64{0, 50, 100, 150} {
		var out strings.Builder
		p := New(Options{Out: &out, Terminal: true, Verb: "import", Bytes: 100})
		p.Add(1, done)
		if sum := p.Done(); sum.Bytes != done {
			t.Errorf("%d bytes counted, want %d", sum.Bytes, done)
		}
	}
}
