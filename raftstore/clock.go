package raftstore

import (
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
)

// clock tells placement's time as this store knows it: the last word from placement plus the monotonic clock since
// (rule 10). A store's own wall clock never enters, except on placement members, whose wall clock is the source.
type clock struct {
	heard atomic.Pointer[heardTime]
	wall  bool
}

type heardTime struct {
	time shard.Millis
	at   env.Time
}

func newClock(wall bool) *clock { return &clock{wall: wall} }

// hear takes a word from placement; zero says nothing, as in the answer to a store that was removed. It never moves this
// store's idea of the time back.
func (c *clock) hear(t shard.Millis, at env.Time) {
	if t == 0 {
		return
	}
	for {
		old := c.heard.Load()
		if old != nil && old.time+shard.Millis(at.Sub(old.at)/time.Millisecond) > t {
			// Placement's answer travelled, or a new leader's clock is a little behind: keep what was known, but count
			// the word as heard.
			t = old.time + shard.Millis(at.Sub(old.at)/time.Millisecond)
		}
		if c.heard.CompareAndSwap(old, &heardTime{time: t, at: at}) {
			return
		}
	}
}

// read is placement's time now, zero if it was not heard lately: a stamp may run at most maxStampAge beyond the last
// word.
func (c *clock) read(now env.Time) shard.Millis {
	h := c.heard.Load()
	if h == nil || now.Sub(h.at) > maxStampAge {
		return 0
	}
	return h.time + shard.Millis(now.Sub(h.at)/time.Millisecond)
}

// stamp is what an entry proposed now carries.
func (s *Store) stamp(now env.Time) shard.Millis {
	if s.clock.wall {
		return shard.Millis(s.env.Wall().UnixMilli())
	}
	return s.clock.read(now)
}

// HearTime takes placement's time as it was told by a heartbeat's answer.
func (s *Store) HearTime(t shard.Millis) { s.clock.hear(t, s.env.Now()) }
