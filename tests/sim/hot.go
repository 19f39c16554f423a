package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/client"
	"github.com/skerrydb/skerry/shard"
)

// hotspots are monitors of liveness. Each is a thing that may be so for a while and not for ever: it is hot as long as it
// is, and cold again when it is not. One that is hot for longer than its limit fails the world (after Coyote's monitors).
// They are looked at once nothing is harmed any more.
type hotspots struct {
	since map[string]time.Duration // in the world's time
	seen  map[string]bool          // in this look
}

// Limits of how long each may be hot. All are far above what is usual.
const (
	hotOperation = time.Minute     // of a client, that was pending when everything was healed
	hotLeader    = time.Minute     // a shard without one, or placement
	hotShard     = 3 * time.Minute // a learner, a joint configuration, a replica of a store that is gone
	hotOperator  = 3 * time.Minute
	hotBalance   = 4 * time.Minute // operators of balance that follow each other
	hotLog       = 2 * time.Minute // longer than it may be
)

// restFor is how long everything must be cold in the end.
const restFor = 5 * time.Second

// hot notes that something is so. It returns an error if that lasts too long.
func (h *hotspots) hot(now time.Duration, what string, limit time.Duration) error {
	h.seen[what] = true
	if _, ok := h.since[what]; !ok {
		h.since[what] = now
	}
	if lasts := now - h.since[what]; lasts > limit {
		return fmt.Errorf("hot: %s for %s", what, lasts)
	}
	return nil
}

// cool forgets what was not noted since it was last called.
func (h *hotspots) cool() {
	maps.DeleteFunc(h.since, func(what string, _ time.Duration) bool { return !h.seen[what] })
	clear(h.seen)
}

// rest waits until nothing is hot for a while, or something has been for too long.
func (a *auditor) rest(ctx context.Context) error {
	h := &hotspots{since: make(map[string]time.Duration), seen: make(map[string]bool)}
	cold := a.c.w.Now()
	for ctx.Err() == nil {
		if err := a.touch(ctx, h); err != nil {
			return err
		}
		if len(h.seen) > 0 {
			cold = a.c.w.Now()
		}
		h.cool()
		if a.c.w.Now()-cold > restFor {
			return nil
		}
		_ = a.env.Sleep(ctx, 500*time.Millisecond)
	}
	return fmt.Errorf("hot: %v", slices.Sorted(maps.Keys(h.since)))
}

// touch looks at everything once.
func (a *auditor) touch(ctx context.Context, h *hotspots) error {
	var found []error
	hot := func(limit time.Duration, format string, args ...any) {
		if err := h.hot(a.c.w.Now(), fmt.Sprintf(format, args...), limit); err != nil {
			found = append(found, err)
		}
	}
	for _, w := range a.c.workers {
		if w.pending != 0 {
			hot(hotOperation, "an operation of c%d is pending since %s", w.id, w.pending)
		}
	}
	one, cancel := a.env.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	shards, err := a.shards(one)
	addrs, err2 := a.addrOf(one)
	ops, err3 := a.db.Admin().Operators(one, 0, false)
	if err := errors.Join(err, err2, err3); err != nil {
		hot(hotLeader, "placement does not answer")
		return errors.Join(found...)
	}
	for i := range shards {
		a.touchShard(&shards[i], addrs, hot)
	}
	balance := false
	for _, o := range ops {
		hot(hotOperator, "operator %d (%s of %s) is unfinished", o.ID, o.Kind, o.Shard)
		balance = balance || o.Kind == "balance-shards" || o.Kind == "balance-leaders" || o.Kind == "balance-load"
	}
	if balance {
		hot(hotBalance, "balance does not settle")
	}
	a.touchLogs(one, hot)
	return errors.Join(found...)
}

func (a *auditor) touchShard(s *client.ShardInfo, addrs map[shard.StoreID]string, hot func(time.Duration, string, ...any)) {
	if s.Leader.ID == 0 {
		hot(hotLeader, "%s has no leader", s.ID)
	}
	if len(s.Replicas) != a.c.knobs.replicas() {
		hot(hotShard, "%s has %d replicas", s.ID, len(s.Replicas))
	}
	for _, r := range s.Replicas {
		switch {
		case r.Role == shard.Learner:
			hot(hotShard, "%s of %s is not promoted", r.ID, s.ID)
		case r.Role != shard.Voter:
			hot(hotShard, "%s is in a joint configuration", s.ID)
		case addrs[r.Store] == "":
			hot(hotShard, "%s of %s is not replaced: %s is gone", r.ID, s.ID, r.Store)
		}
	}
}

// touchLogs looks at the logs of leaders: they are cut at LogEntries, behind what live followers lack.
func (a *auditor) touchLogs(ctx context.Context, hot func(time.Duration, string, ...any)) {
	for _, s := range a.c.servers {
		infos, err := a.conn.Replicas(ctx, s.addr, 0)
		if err != nil {
			hot(hotLeader, "%s does not answer", s)
			continue
		}
		for _, i := range infos {
			if n := i.Last - min(i.Last, i.Truncated); i.Leading && !i.Asleep && n > 2*a.c.knobs.LogEntries+16 {
				hot(hotLog, "the log of %s is not truncated", i.Desc.ID)
			}
		}
	}
}

// isUnanswered tells an order that nobody answered from one that was refused.
func isUnanswered(err error) bool {
	return errors.Is(err, client.ErrUnavailable) || errors.Is(err, client.ErrAmbiguous) || errors.Is(err, context.DeadlineExceeded)
}
