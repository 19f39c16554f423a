package raftstore

import (
	"testing"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/internal/env"
)

// TestTrip: two stores whose heartbeats cross, with clocks that have nothing to do with each other, one way slower than
// the other. Both find what a message and its answer take, also after one of them began anew, and what does not come back
// grows.
func TestTrip(t *testing.T) {
	const ms = time.Millisecond
	type end struct {
		trips
		way
		off env.Time
	}
	a, b := &end{off: env.Time(time.Hour)}, &end{off: env.Time(7)}
	a.begin(1)
	b.begin(1)
	type frame struct {
		at   env.Time
		to   *end
		body []byte
	}
	var flying []frame
	cut := false
	now := env.Time(0)
	run := func(d time.Duration) {
		for end := now.Add(d); now < end; now = now.Add(10 * ms) {
			for i := 0; i < len(flying); i++ {
				if f := flying[i]; f.at <= now {
					d := codec.Decoder{B: f.body}
					seq, echo, kept := d.Uvarint(), d.Uvarint(), time.Duration(d.Uvarint())
					if err := d.Done(); err != nil {
						t.Fatal(err)
					}
					f.to.heard(&f.to.trips, seq, echo, kept, now+f.to.off)
					flying = append(flying[:i], flying[i+1:]...)
					i--
				}
			}
			if cut {
				continue
			}
			if now%env.Time(300*ms) == 0 {
				flying = append(flying, frame{now.Add(40 * ms), b, a.way.echo(nil, a.send(now+a.off), now+a.off)})
			}
			if now%env.Time(300*ms) == env.Time(100*ms) {
				flying = append(flying, frame{now.Add(20 * ms), a, b.way.echo(nil, b.send(now+b.off), now+b.off)})
			}
		}
	}
	check := func(what string, e *end, want time.Duration) {
		t.Helper()
		if got := e.now(now+e.off, 300*ms); got < want-10*ms || got > want+10*ms {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	run(2 * time.Second)
	check("a", a, 60*ms)
	check("b", b, 60*ms)
	*b = end{off: env.Time(99)}
	b.begin(2)
	b.answered = now + b.off
	run(2 * time.Second)
	check("a, after b began anew", a, 60*ms)
	check("b, anew", b, 60*ms)
	cut = true
	run(5 * time.Second)
	if got := a.now(now+a.off, 300*ms); got < 3*time.Second {
		t.Errorf("without an answer for five seconds: %s", got)
	}
}
