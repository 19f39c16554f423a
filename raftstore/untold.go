package raftstore

import (
	"slices"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/env"
)

// Commits that followers are told of later.
//
// raft tells each follower at once, in a message of its own, that more is committed, and each answers. But nobody waits for a
// follower to show an entry: the leader answers its clients, and the next entries say the same of all before them. So a leader keeps
// such a message for a moment. If entries follow they make it needless, which spares two messages and two answers per entry
// under load, and a lone client what happens while its next put is under way.
//
// Keeping one is what a slow network does, and making it needless what a lossy one does: raft is ready for both, and a
// heartbeat says the commit index as well. What must not wait is told at once:
//
//   - entries that are no client's: births of right sides, changes of members, truncations;
//   - what a new leader finds in its log, whatever it is;
//   - what a read on a follower waits for, see answerBarrier;
//   - what a follower is to know before it leads, when leadership is transferred.

// maxUntold is for how long a follower is not told of a commit. A shard with some fifty entries a second tells by entries alone.
const maxUntold = 20 * time.Millisecond

// untold is a replica that keeps messages back since a time. It is out of date if the replica does not any more, or since later.
type untold struct {
	r     *replica
	gen   uint64
	since env.Time
}

// keeps reports whether m only says that more is committed, and is kept. told is up to where others may have heard.
func (r *replica) keeps(m *raftpb.Message, told uint64) bool {
	switch m.GetType() {
	case raftpb.MsgApp:
	case raftpb.MsgTimeoutNow:
		r.tell()
		return false
	default:
		return false
	}
	at := slices.IndexFunc(r.untold, func(o *raftpb.Message) bool { return o.GetTo() == m.GetTo() })
	keep := len(m.GetEntries()) == 0 && told >= r.promptly
	switch {
	case keep && at >= 0:
		r.untold[at] = m
	case keep:
		if len(r.untold) == 0 {
			r.untoldSince = r.w.now
			r.w.untold = append(r.w.untold, untold{r, r.gen, r.w.now})
		}
		r.untold = append(r.untold, m)
	case at >= 0:
		r.untold = slices.Delete(r.untold, at, at+1)
	}
	return keep
}

// tell lets what was kept go with the frames of the pass.
func (r *replica) tell() {
	kept := r.untold
	r.untold = r.untold[:0]
	for _, m := range kept {
		if r.group.Leading() && !r.group.Muted() && m.GetTerm() == r.group.Term() {
			r.w.out.add(r.w.store, r.id, m)
		}
	}
	clear(kept)
}

// tellDue tells of what was kept for long enough, and of what will have been soon.
func (w *worker) tellDue() {
	if w.untoldFor(w.now) < maxUntold {
		return
	}
	n := 0
	for ; n < len(w.untold) && w.now.Sub(w.untold[n].since) >= maxUntold/2; n++ {
		if u := w.untold[n]; u.r.gen == u.gen && u.r.untoldSince == u.since {
			u.r.tell()
		}
	}
	w.untold = slices.Delete(w.untold, 0, n)
}

// untoldFor is for how long the oldest message has been kept; zero without one.
func (w *worker) untoldFor(now env.Time) time.Duration {
	if len(w.untold) == 0 {
		return 0
	}
	return now.Sub(w.untold[0].since)
}

// untilTold is when the worker must run again for them: 0 for never.
func (w *worker) untilTold() time.Duration {
	if len(w.untold) == 0 {
		return 0
	}
	return max(1, maxUntold-w.untoldFor(w.store.env.Now()))
}
