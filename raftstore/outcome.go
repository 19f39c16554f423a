package raftstore

import (
	"maps"
	"slices"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// At most once (rule 9): "ask before you send again". A raw write is never sent twice. A client whose attempt was not
// answered asks what became of it, and only a definite "never" lets it make a new attempt. None of this is shard
// state: splits, merges and snapshots copy nothing, and a put pays no extra insert.

// outcomes remembers the results of the last maxOutcomes applied entries, in memory, on every replica.
//
// INVARIANT: of every entry that was applied after from, the results of all attempts are in the ring. So an attempt that was made after
// from and is not found was in none of them, however short the log is by now.
type outcomes struct {
	ring []outcome // ordered by index; a slice used as a queue
	from uint64    // an applied index
}

type outcome struct {
	index, term uint64
	replies     []apply.Reply
}

func (o *outcomes) add(index, term uint64, replies []apply.Reply) {
	// Nobody asks about raft's own entries, admin commands, and commands of transactions.
	if !slices.ContainsFunc(replies, func(rep apply.Reply) bool { return rep.Op != call.OpID{} }) {
		return
	}
	for i := range replies {
		if len(replies[i].Body) > maxOutcomeBytes {
			replies = slices.Clone(replies)
			for j := range replies {
				if len(replies[j].Body) > maxOutcomeBytes {
					replies[j].Body, replies[j].Err = nil, &shard.AmbiguousError{Why: "applied, but its result was too large to keep"}
				}
			}
			break
		}
	}
	if len(o.ring) >= maxOutcomes {
		const old = maxOutcomes / 4
		o.from = o.ring[old-1].index
		copy(o.ring, o.ring[old:])
		clear(o.ring[len(o.ring)-old:])
		o.ring = o.ring[:len(o.ring)-old]
	}
	o.ring = append(o.ring, outcome{index: index, term: term, replies: replies})
}

// covers reports whether every attempt of an entry that was applied after since is in the ring.
func (o *outcomes) covers(since uint64) bool { return since >= o.from || bug.OutcomeAgesOut.On() }

// find looks for an attempt among the entries after since.
func (o *outcomes) find(op call.OpID, since uint64) (*apply.Reply, bool) {
	from, _ := slices.BinarySearchFunc(o.ring, since+1, func(e outcome, at uint64) int {
		switch {
		case e.index < at:
			return -1
		case e.index > at:
			return 1
		}
		return 0
	})
	for i := from; i < len(o.ring); i++ {
		for j := range o.ring[i].replies {
			if o.ring[i].replies[j].Op == op {
				return &o.ring[i].replies[j], true
			}
		}
	}
	return nil, false
}

// acceptOutcome says what became of the attempt c.Req.Op, made at c.Req.Term and c.Req.Since.
//
//	same term    found waiting or in the log: its own reply, when it is applied
//	             nowhere: it is cancelled for the rest of the term, then "never"
//	later term   only once the own-term entry is applied: before that a third leader could still revive the entry
//	             nowhere between since and that entry: "never"
//	applied, its result not kept; neither memory nor the log reaches back to since; too many cancelled: "unknown"
//
// While nobody is known to lead who could say so, it waits; see seek.go.
func (r *replica) acceptOutcome(c *Call) {
	if !r.seek(c) {
		r.answerOutcome(c)
	}
}

func (r *replica) answerOutcome(c *Call) {
	req := c.Req
	if !r.group.Leading() || r.group.Muted() || req.Term > r.group.Term() {
		r.fail(c, r.notLeader())
		return
	}
	if rep, ok := r.outcomes.find(req.Op, req.Since); ok {
		out := toReply(rep)
		r.reply(c, &out)
		return
	}
	if req.Term == r.group.Term() {
		r.outcomeThisTerm(c)
		return
	}
	if !r.settled() {
		r.fail(c, &shard.NotReadyError{Shard: r.id, Epoch: r.machine.Desc.Epoch, Why: "the new leader has not applied its first entry"})
		return
	}
	r.answerByLog(c, r.machine.Applied.Index)
}

// settled reports whether it is settled which entries of earlier terms count. Until this leader has applied an entry of its own term, a
// third one could still revive others.
func (r *replica) settled() bool { return r.group.AppliedOwnTerm() || bug.NeverTooEarly.On() }

func (r *replica) outcomeThisTerm(c *Call) {
	op := c.Req.Op
	for i := range r.waiting {
		if r.waiting[i].Req.Op == op {
			r.fail(c, r.notYet())
			return
		}
	}
	for _, i := range sortedIndexes(r.proposals) {
		p := r.proposals[i]
		for j := range p.calls {
			if p.calls[j].Req.Op == op {
				p.asked = append(p.asked, askedOutcome{op: op, call: *c})
				return
			}
		}
	}
	// Not waiting, not in flight: applied already (then only the log can tell), or it never came here.
	found, intact, err := r.searchLog(op, c.Req.Since, r.last())
	switch {
	case err != nil:
		r.w.store.broken("read the log", err)
		r.fail(c, &shard.BrokenError{Store: r.w.store.id, Why: err.Error()})
	case found || !intact:
		r.fail(c, r.unknown("the result is not kept any more"))
	case !r.cancel(op):
		r.fail(c, r.unknown("too many attempts are being asked about"))
	default:
		r.never(c)
	}
}

// answerByLog answers for an attempt of an earlier term, all of which is applied.
func (r *replica) answerByLog(c *Call, last uint64) {
	found, intact, err := r.searchLog(c.Req.Op, c.Req.Since, last)
	switch {
	case err != nil:
		r.w.store.broken("read the log", err)
		r.fail(c, &shard.BrokenError{Store: r.w.store.id, Why: err.Error()})
	case found:
		r.fail(c, r.unknown("it was applied, but the result is not kept any more"))
	case !intact:
		r.fail(c, r.unknown("the log does not reach back to it any more"))
	default:
		r.never(c)
	}
}

// never tells the client that its attempt was not executed, and will not be.
func (r *replica) never(c *Call) {
	if o := r.w.store.opt.Observer; o != nil {
		o.Never(r.id, c.Req.Op)
	}
	r.fail(c, &call.NeverError{Op: c.Req.Op})
}

// notYet tells the client to ask again: the attempt is on its way into the log.
func (r *replica) notYet() error {
	return &shard.NotReadyError{Shard: r.id, Epoch: r.machine.Desc.Epoch, Why: "the attempt is still waiting for its log entry"}
}

func (r *replica) unknown(why string) error { return &shard.AmbiguousError{Shard: r.id, Why: why} }

// cancel keeps an attempt that never came here from being proposed in this term if it still comes.
//
// INVARIANT (rule 9): the set is read before every Propose and kept to the end of the term; without it a delayed
// attempt could take effect after "never" was answered.
func (r *replica) cancel(op call.OpID) bool {
	if _, again := r.cancelled[op]; again || bug.NeverForgotten.On() {
		return true
	}
	if r.w.store.cancelled.Add(1) > maxCancelled {
		r.w.store.cancelled.Add(-1)
		return false
	}
	if r.cancelled == nil {
		r.cancelled = make(map[call.OpID]struct{})
	}
	r.cancelled[op], r.cancelledTerm = struct{}{}, r.group.Term()
	return true
}

// forgetCancelled ends the set with its term: attempts of that term are refused by their term from now on.
func (r *replica) forgetCancelled(term uint64) {
	if term == r.cancelledTerm {
		return
	}
	r.w.store.cancelled.Add(-int64(len(r.cancelled)))
	r.cancelled = nil
}

// maxSearchedEntries bounds what one question makes the worker read. The log is that long only where a follower holds
// back its truncation.
const maxSearchedEntries = 16 << 10

// searchLog looks for an attempt, which is not among the outcomes, in the entries (since, last]. intact says that all of them could be
// searched: in the log, or in memory, if they are applied.
func (r *replica) searchLog(op call.OpID, since, last uint64) (found, intact bool, err error) {
	if r.outcomes.covers(since) {
		since = max(since, r.machine.Applied.Index)
	}
	if since+1 < r.first() || last > since+maxSearchedEntries {
		return false, false, nil
	}
	for lo := since + 1; lo <= last && !found; {
		ents, err := r.log.Entries(lo, last+1, maxEntryBytes)
		if err != nil {
			return false, false, err
		}
		for _, e := range ents {
			apply.Ops(e.GetData(), func(o call.OpID) bool {
				found = found || o == op
				return !found
			})
		}
		lo += uint64(len(ents))
	}
	return found, true, nil
}

func sortedIndexes(m map[uint64]*proposal) []uint64 { return slices.Sorted(maps.Keys(m)) }

// keptAsleep is how many outcomes a sleeping replica keeps: who asks late may still get an answer, and an idle shard
// costs next to nothing.
const keptAsleep = 16

func (o *outcomes) shrink() {
	if gone := len(o.ring) - keptAsleep; gone > 0 {
		o.from = o.ring[gone-1].index
		o.ring = o.ring[gone:]
	}
	o.ring = slices.Clone(o.ring)
}
