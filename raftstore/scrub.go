package raftstore

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// A block that nobody reads may rot for years, until the other replicas have rotted too. One goroutine per store reads all
// tables from the disk, once in every Options.CheckEvery, at the pace that all share who read in the background. Damage that
// it finds ends the store, as it ends by a read that meets it; see engine.Scrub.
//
// How far it came is not remembered over a restart.
const (
	// firstScrubPart of CheckEvery is within when the first round of a life begins, at random: stores that were started
	// together do not read together, and one that is often started again comes to it all the same.
	firstScrubPart = 4
)

// scrubber reads a store's disk.
type scrubber struct {
	store *Store

	bytes  atomic.Uint64 // that were read
	rounds atomic.Uint64 // that came to their end
	// since is when the last round came to its end, an env.Time; at first when the store was opened.
	since atomic.Int64
}

func newScrubber(s *Store) *scrubber {
	c := &scrubber{store: s}
	c.since.Store(int64(s.env.Now()))
	return c
}

// run is the scrubber's goroutine. It ends with the store.
func (c *scrubber) run(ctx context.Context) {
	s, every := c.store, c.store.opt.CheckEvery
	wait := time.Duration(s.env.Rand() % uint64(every/firstScrubPart+1))
	for s.env.Sleep(ctx, wait) == nil && !s.stopped() {
		begun := s.env.Now()
		if !c.round(ctx) {
			return
		}
		wait = max(0, every-s.env.Now().Sub(begun))
	}
}

// round reads everything once, and reports false if the store is at its end.
func (c *scrubber) round(ctx context.Context) bool {
	s := c.store
	done, err := s.engine.Scrub(ctx, func(ctx context.Context, n int) error {
		err := s.pace.take(ctx, n)
		if err == nil && s.stopped() {
			err = context.Canceled
		}
		if err == nil {
			c.bytes.Add(uint64(n))
		}
		return err
	})
	if s.stopped() {
		return false
	}
	if err != nil {
		s.broken("check the tables on the disk", err)
		return false
	}
	c.rounds.Add(1)
	c.since.Store(int64(s.env.Now()))
	s.logger.Debug("all tables were read", "tables", done.Tables, "bytes", done.Bytes, "replaced", done.Gone)
	return true
}

// Scrubbed is when all tables were last read to check them, at first when the store was opened. on: they are read at all.
func (s *Store) Scrubbed() (last env.Time, on bool) {
	return env.Time(s.scrubber.since.Load()), s.opt.CheckEvery > 0
}
