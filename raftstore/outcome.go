package raftstore

import (
	"bytes"
	"cmp"
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

// outcomes remembers the results of the last maxOutcomes applied entries, in memory, on every replica. There may be millions in a store,
// so they lie in arrays without pointers, into which Go's collector does not look.
//
// INVARIANT: of every entry that was applied after from, the results of all attempts are in the parts. So an attempt that was made after
// from and is not found was in none of them, however short the log is by now.
type outcomes struct {
	parts []*outcomePart // by index, none of them empty; the first one is forgotten as a whole
	from  uint64         // an applied index
}

// outcomeParts is into how many parts the entries are divided of which outcomes are remembered.
const outcomeParts = 4

// spareRoom is how many times the room that was needed last a part may keep.
const spareRoom = 4

// outcomePart holds the results of maxOutcomes/outcomeParts entries.
type outcomePart struct {
	entries  int
	attempts []attempt // by index
	bodies   []byte
	errs     []error
}

// attempt is one command of an entry, and what it came to.
type attempt struct {
	op     call.OpID
	index  uint64 // of the entry
	at     uint32 // of its body in bodies, or of its error in errs
	length uint16 // of its body
	failed bool
}

func (p *outcomePart) last() uint64 { return p.attempts[len(p.attempts)-1].index }

// add remembers what rep came to. Of results that are the same one after the other, as those of puts are, one is kept.
func (p *outcomePart) add(index uint64, rep *apply.Reply) {
	a := attempt{op: rep.Op, index: index}
	err := rep.Err
	if len(rep.Body) > maxOutcomeBytes {
		err = &shard.AmbiguousError{Why: "applied, but its result was too large to keep"}
	}
	if err != nil {
		a.at, a.failed = uint32(len(p.errs)), true
		p.errs = append(p.errs, err)
		p.attempts = append(p.attempts, a)
		return
	}
	a.at, a.length = uint32(len(p.bodies)), uint16(len(rep.Body))
	if before := a.at - min(uint32(a.length), a.at); bytes.Equal(p.bodies[before:], rep.Body) {
		a.at = before
	} else {
		p.bodies = append(p.bodies, rep.Body...)
	}
	p.attempts = append(p.attempts, a)
}

func (p *outcomePart) reply(a *attempt) *apply.Reply {
	if a.failed {
		return &apply.Reply{Op: a.op, Err: p.errs[a.at]}
	}
	return &apply.Reply{Op: a.op, Body: slices.Clone(p.bodies[a.at:][:a.length])}
}

// after is the position of the first attempt of an entry after index.
func (p *outcomePart) after(index uint64) int {
	at, _ := slices.BinarySearchFunc(p.attempts, index+1, func(a attempt, i uint64) int { return cmp.Compare(a.index, i) })
	return at
}

// fits reports whether a part may be used again after the last one. One of a time when entries were larger, or their results, may not: its
// room would never be given back.
func (p *outcomePart) fits(last *outcomePart) bool {
	return cap(p.attempts) <= spareRoom*len(last.attempts) && cap(p.bodies) <= spareRoom*len(last.bodies)+maxOutcomeBytes
}

// reset empties a part and keeps its room.
func (p *outcomePart) reset() {
	clear(p.errs)
	*p = outcomePart{attempts: p.attempts[:0], bodies: p.bodies[:0], errs: p.errs[:0]}
}

func (o *outcomes) add(index uint64, replies []apply.Reply) {
	var p *outcomePart
	for i := range replies {
		if (replies[i].Op == call.OpID{}) {
			continue // nobody asks about raft's own entries, admin commands, and commands of transactions
		}
		if p == nil {
			p = o.open()
			p.entries++
		}
		p.add(index, &replies[i])
	}
}

// open is the part for one more entry.
func (o *outcomes) open() *outcomePart {
	n := len(o.parts)
	if n > 0 && o.parts[n-1].entries < maxOutcomes/outcomeParts {
		return o.parts[n-1]
	}
	p := new(outcomePart)
	if n == outcomeParts {
		old := o.parts[0]
		o.from = old.last()
		if old.fits(o.parts[n-1]) {
			p = old
			p.reset()
		}
		o.parts = slices.Delete(o.parts, 0, 1)
	}
	o.parts = append(o.parts, p)
	return p
}

// covers reports whether every attempt of an entry that was applied after since is in the parts.
func (o *outcomes) covers(since uint64) bool { return since >= o.from || bug.OutcomeAgesOut.On() }

// find looks for an attempt among the entries after since.
func (o *outcomes) find(op call.OpID, since uint64) (*apply.Reply, bool) {
	for _, p := range o.parts {
		for i := p.after(since); i < len(p.attempts); i++ {
			if p.attempts[i].op == op {
				return p.reply(&p.attempts[i]), true
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
	o.from = max(o.from, o.lastBut(keptAsleep))
	var kept outcomePart
	for _, p := range o.parts {
		for i := p.after(o.from); i < len(p.attempts); i++ {
			a := &p.attempts[i]
			if kept.entries == 0 || kept.last() != a.index {
				kept.entries++
			}
			kept.add(a.index, p.reply(a))
		}
	}
	o.parts = nil
	if kept.entries > 0 {
		o.parts = []*outcomePart{{entries: kept.entries, attempts: slices.Clone(kept.attempts), bodies: slices.Clone(kept.bodies), errs: kept.errs}}
	}
}

// lastBut is the index of the last entry but n; 0 if there are not so many.
func (o *outcomes) lastBut(n int) uint64 {
	seen, entries := uint64(0), 0
	for _, p := range slices.Backward(o.parts) {
		for i := range slices.Backward(p.attempts) {
			if at := p.attempts[i].index; at != seen {
				if entries++; entries > n {
					return at
				}
				seen = at
			}
		}
	}
	return 0
}
