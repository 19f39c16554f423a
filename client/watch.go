package client

import (
	"context"
	"time"

	"github.com/skerrydb/skerry/shard/beat"
)

// Waits between two streams of routes. While there is none, stores correct the routes and misses ask placement.
const (
	watchBackoffBase    = 100 * time.Millisecond
	watchBackoffLongest = 5 * time.Second
)

// watch keeps a stream of routes from placement until ctx ends.
func (db *DB) watch(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		if db.watchOnce(ctx) {
			failures = 0
		}
		ceil := min(watchBackoffLongest, watchBackoffBase<<min(failures, 10))
		failures++
		_ = db.env.Sleep(ctx, time.Duration(db.env.Rand()%uint64(ceil)))
	}
}

// watchOnce receives from one member after the other until one streamed something and then broke, and reports whether
// one did. The first message of each stream is a full picture.
func (db *DB) watchOnce(ctx context.Context) (streamed bool) {
	asked := make(map[string]bool)
	next := ""
	for ctx.Err() == nil {
		addr := next
		if addr == "" {
			for _, a := range db.place.addresses() {
				if !asked[a] {
					addr = a
					break
				}
			}
		}
		if addr == "" || asked[addr] {
			_ = db.place.discover(ctx)
			return false
		}
		asked[addr] = true
		err := db.conn.Watch(ctx, addr, func(r *beat.Routes) error {
			streamed = true
			return db.place.take(addr, r)
		})
		if ctx.Err() != nil || streamed {
			if err != nil && ctx.Err() == nil {
				db.log.Debug("stream of routes ended", "addr", addr, "err", err)
			}
			return streamed
		}
		next = db.place.refused(addr, err)
	}
	return streamed
}
