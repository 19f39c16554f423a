package node

import (
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/env"
)

// refusalLogInterval is how often at most a refused caller of one kind is logged: somebody may knock again and again.
const refusalLogInterval = 10 * time.Second

// refusals counts the callers whose handshake failed, by reason. Safe for concurrent use; mu is a leaf.
type refusals struct {
	env env.Env
	log *slog.Logger

	mu     sync.Mutex
	counts map[string]uint64
	logged map[string]env.Time
}

func newRefusals(e env.Env, log *slog.Logger) *refusals {
	return &refusals{env: e, log: log, counts: make(map[string]uint64), logged: make(map[string]env.Time)}
}

func (r *refusals) note(remote net.Addr, reason string, err error) {
	now := r.env.Now()
	r.mu.Lock()
	r.counts[reason]++
	n := r.counts[reason]
	last, before := r.logged[reason]
	say := !before || now.Sub(last) >= refusalLogInterval
	if say {
		r.logged[reason] = now
	}
	r.mu.Unlock()
	if say {
		r.log.Warn("caller refused", "remote", remote.String(), "reason", reason, "err", err, "so_far", n)
	}
}

// each calls f with every reason that there was, in order.
func (r *refusals) each(f func(reason string, n uint64)) {
	r.mu.Lock()
	counts := maps.Clone(r.counts)
	r.mu.Unlock()
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		f(reason, counts[reason])
	}
}
