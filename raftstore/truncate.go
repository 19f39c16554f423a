package raftstore

import (
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
)

// maybeTruncate proposes to cut the log where nobody needs it any more. Truncation is a command, so that every replica
// cuts at the same place and checksums of replicas agree.
func (r *replica) maybeTruncate() {
	a := &r.machine.Applied
	if r.truncated != 0 || a.Index-a.TruncIndex < r.w.store.opt.LogEntries && r.logBytes < truncateBytes {
		return
	}
	keep := r.w.store.opt.keptEntries()
	if r.logBytes >= truncateBytes {
		keep = min(keep, (a.Index-a.TruncIndex)/2) // few but large entries
	}
	to := r.heldBack(a.Index - min(keep, a.Index))
	if to <= a.TruncIndex {
		return
	}
	term, err := r.log.Term(to)
	if err != nil {
		return
	}
	r.truncated = to
	r.proposeAdmin(apply.EncodeTruncate(apply.Header{Eval: r.w.store.evaluation()}, to, term), func(*apply.Result, error) {
		r.truncated = 0
	})
}

// heldBack is how far the log may be cut, at most to: what others still need of it stays.
//
// INVARIANT: both reasons to keep entries are bounded, by entries for followers and by bytes for all, else one slow
// replica would fill every other's disk.
func (r *replica) heldBack(to uint64) uint64 {
	if r.snapshots > 0 {
		to = min(to, r.minPinned)
	}
	if r.logBytes >= maxLagBytes {
		return to
	}
	applied := r.machine.Applied.Index
	r.group.Progress(func(p group.Progress) {
		// Whether it was heard is asked of its store: raft forgets all it heard at each of its checks of the quorum, and a
		// replica that merely catches up would get a snapshot if the log were cut in that moment.
		rep, _ := r.machine.Desc.Replica(p.Replica)
		if live, _ := r.w.store.live.isLive(rep.Store); live && p.Match < to && applied-p.Match < r.w.store.opt.lagEntries() {
			to = p.Match
		}
	})
	return min(to, oldestSince(r.waiting, to))
}

// oldestSince is the lowest applied index, at most to, after which somebody may look for one of the attempts.
//
// An attempt that waits for the log to move is proposed behind the truncation. Should this store end before, its client
// asks the next leader, who can say "never" only if the log goes back to since (rule 9). An attempt that stands in the
// log before the truncation needs no such care: whoever applies the one has applied the other.
func oldestSince(attempts []Call, to uint64) uint64 {
	for i := range attempts {
		to = min(to, attempts[i].Req.Since)
	}
	return to
}
