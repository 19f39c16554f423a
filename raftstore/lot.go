package raftstore

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
)

// Followers apply in lots.
//
// Nobody waits for a follower to show an entry: the leader answers its clients. Each entry applied by itself writes an applied
// index beside its commands, goes through a state batch, and seeks its places in the memtable from the top. So a follower keeps
// what is committed for a moment, and then applies all of it, of all shards, in one state batch: one applied index for each
// shard, and keys in order that lie near each other, of which each begins where the last ended.
//
// That is what a slow follower does, and a crash before is one after which the applied index trails the log a little more: both
// happen anyway. What must not wait ends the lot, and is applied with it:
//
//   - entries that are no client's: splits, changes of members, truncations, comparisons of replicas;
//   - what a read on this replica waits for, see onBarrier, and all while reads or watches come here;
//   - everything when the leader or the term changes, so that who leads next begins with all of it;
//   - everything before a snapshot is installed.
const (
	// DefaultLotAge is Options.LotAge.
	DefaultLotAge = 50 * time.Millisecond
	// maxLotBytes is how much of all shards of a worker waits, far below what raft hands out before it waits for the first.
	maxLotBytes = 1 << 20
)

// lots are the replicas of a worker with committed entries that wait, see replica.lot. One is out of date if its replica is of
// another generation since, or applied its lot earlier.
type lots struct {
	of    []lotOf
	since env.Time // when the first of them began to wait
	bytes int
}

type lotOf struct {
	r   *replica
	gen uint64
}

// apply evaluates committed entries into the state batch of the pass, or keeps them for the next lot.
func (w *worker) apply(r *replica, a *group.Apply) {
	if !r.mayWait(a) {
		w.applyFrom(r, r.withLot(a), 0, nil)
		return
	}
	if r.lot == nil {
		if len(w.lots.of) == 0 {
			w.lots.since = w.now
		}
		w.lots.of = append(w.lots.of, lotOf{r, r.gen})
		r.lot = &group.Apply{Entries: slices.Clone(a.Entries), Responses: slices.Clone(a.Responses)}
	} else {
		r.lot = r.withLot(a)
	}
	for _, e := range a.Entries {
		w.lots.bytes += len(e.GetData())
	}
}

// mayWait reports whether nobody cares when these entries are applied.
func (r *replica) mayWait(a *group.Apply) bool {
	return !r.group.Leading() && r.follower.idle() && r.watchIdle() && !slices.ContainsFunc(a.Entries, func(e *raftpb.Entry) bool {
		return e.GetType() != raftpb.EntryNormal || !plain(apply.KindOf(e.GetData()))
	})
}

// plain reports whether entries of a kind change what a shard holds, and nothing else.
func plain(k apply.Kind) bool { return k == apply.KindData || k == apply.KindClock }

// withLot takes what waits off the replica, a behind it.
func (r *replica) withLot(a *group.Apply) *group.Apply {
	lot := r.lot
	r.lot = nil
	if lot == nil {
		return a
	}
	lot.Entries = append(lot.Entries, a.Entries...)
	lot.Responses = append(lot.Responses, a.Responses...)
	return lot
}

// endLot applies what waits of a replica, in this pass.
func (w *worker) endLot(r *replica) {
	if r.lot == nil || r.held {
		return
	}
	w.applyFrom(r, r.withLot(&group.Apply{}), 0, nil)
	r.mark()
}

// endLots applies what waits of all replicas.
func (w *worker) endLots() {
	ended := w.lots.of
	w.lots = lots{}
	for _, l := range ended {
		if l.r.gen == l.gen {
			w.endLot(l.r)
		}
		if w.staged() > maxPassBytes {
			w.commit()
		}
	}
	if clear(ended); w.lots.of == nil {
		w.lots.of = ended[:0]
	}
}

// lotsDue reports whether it is time to apply what waits.
func (w *worker) lotsDue(now env.Time) bool {
	return len(w.lots.of) > 0 && (w.lots.bytes >= maxLotBytes || now.Sub(w.lots.since) >= w.store.opt.LotAge)
}

// untilLots is when the worker must run again for them: 0 for never.
func (w *worker) untilLots() time.Duration {
	if len(w.lots.of) == 0 {
		return 0
	}
	return max(1, w.store.opt.LotAge-w.store.env.Now().Sub(w.lots.since))
}
