package raftstore

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// A store whose process is to end gives its leaderships away first: a shard whose leader just disappears is without one for
// an election timeout, one whose leader hands over for about a round trip.
const (
	// leaveTransfers bounds the transfers under way, so that those who take over are not flooded, leavePoll is how often
	// it is looked what became of them.
	leaveTransfers = 128
	// leaveLag is how many entries behind a voter is in touch: while writes come nobody has all.
	leaveLag  = 1024
	leavePoll = 20 * time.Millisecond
)

// Leaving is how far a store has come that gives its leaderships away.
type Leaving struct {
	Led   int // shards that it leads and that another store could lead
	Stuck int // shards that it leads and that nobody else could
}

// Leave gives away all leaderships for which there is another live voter, and returns when that is done and what was asked
// of the store is answered, or with the error of ctx. It tells how far it is whenever it looks. The store serves on: it may
// be elected again, and is left again then, as long as Leave runs. Whoever could send leaderships back (placement) must
// know better by then.
func (s *Store) Leave(ctx context.Context, tell func(Leaving)) error {
	l := &leaving{begun: make(map[shard.ID]env.Time), given: make(map[shard.StoreID]int)}
	for {
		now, err := l.look(ctx, s)
		if err != nil {
			return err
		}
		tell(now)
		if now.Led == 0 && s.quiet() {
			return nil
		}
		if err := s.env.Sleep(ctx, leavePoll); err != nil {
			return err
		}
	}
}

// leaving is one Leave. A worker uses it while its call runs, one after the other.
type leaving struct {
	begun map[shard.ID]env.Time // transfers that may be under way
	given map[shard.StoreID]int // leaderships that were handed to each store
}

// look begins as many transfers as may be under way, and counts what is left.
func (l *leaving) look(ctx context.Context, s *Store) (Leaving, error) {
	var sum Leaving
	for _, w := range s.workers {
		var part Leaving
		err := w.call(ctx, func(done func(error)) {
			part = l.lookAt(w)
			done(nil)
		})
		if err != nil {
			return sum, err
		}
		sum.Led, sum.Stuck = sum.Led+part.Led, sum.Stuck+part.Stuck
	}
	return sum, nil
}

func (l *leaving) lookAt(w *worker) (out Leaving) {
	// in any order: each is looked at by itself
	for id := range l.begun {
		if r := w.replicas[id]; w.store.worker(id) == w && (r == nil || !r.group.Leading()) {
			delete(l.begun, id)
		}
	}
	if w.leaders == 0 {
		return out
	}
	for _, id := range slices.Sorted(maps.Keys(w.replicas)) {
		r := w.replicas[id]
		if !r.counted || r.held {
			continue
		}
		heir, ok := r.heir(l.given)
		if !ok {
			out.Stuck++
			continue
		}
		out.Led++
		if at, tried := l.begun[id]; tried && w.now.Sub(at) < w.store.opt.electionTimeout() || !tried && len(l.begun) >= leaveTransfers {
			continue
		}
		r.wakeUp(wakeRequest)
		if r.canServe() && r.handTo(heir.ID) == nil {
			l.begun[id] = w.now
			l.given[heir.Store]++
		}
	}
	return out
}

// heir is the live voter that should lead in this one's place: one that is in touch before one that is not, and among those
// the one to whose store the fewest were given.
func (r *replica) heir(given map[shard.StoreID]int) (best shard.Replica, ok bool) {
	close := make(map[shard.ReplicaID]bool)
	if !r.asleep() { // else all live ones have everything
		r.group.Progress(func(p group.Progress) { close[p.Replica] = p.RecentActive && p.Match+leaveLag >= r.last() })
	}
	for _, p := range r.machine.Desc.Replicas {
		live, _ := r.w.store.live.isLive(p.Store)
		if p.ID == r.self || !live || p.Role != shard.Voter && p.Role != shard.IncomingVoter {
			continue
		}
		better := !ok || close[p.ID] && !close[best.ID] || close[p.ID] == close[best.ID] && given[p.Store] < given[best.Store]
		if better {
			best, ok = p, true
		}
	}
	return best, ok
}

// quiet reports whether nothing that was admitted is unanswered.
func (s *Store) quiet() bool {
	s.readers.mu.Lock()
	defer s.readers.mu.Unlock()
	return s.Inflight() == 0 && s.readers.live == 0
}

// Leaderless counts the replicas here that know of no leader.
func (s *Store) Leaderless() (without, all int) {
	s.replicas.Range(func(_, v any) bool {
		all++
		if l := v.(*replica).led.Load(); l == nil || l.ID == 0 {
			without++
		}
		return true
	})
	return without, all
}

// Hung reports whether the disk owes the store a sync for longer than an election timeout: it leads nothing then.
func (s *Store) Hung() bool { return s.hung.Load() }
