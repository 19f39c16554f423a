package raftstore

import (
	"errors"
	"slices"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// proposal is one log entry of ours and who waits for it. It ends exactly once: applied (finish), overwritten, lost
// before it got an index, or abandoned with the leadership.
type proposal struct {
	term  uint64
	calls []Call // of a data entry, in the order of its commands
	// asked are Outcome calls that found their attempt here before it was applied.
	asked []askedOutcome
	// done ends an admin entry: nil error if it was applied with effect.
	done func(res *apply.Result, err error)
	// lead is how many commands of the store's own stand before those of calls.
	lead int
	// guard and mark: the entry holds floors; see unguard.
	guard *guard
	mark  uint64
	// synced is when the entry was on our own disk, heard when the worker heard of that; 0: not yet.
	synced, heard env.Time
}

type askedOutcome struct {
	op   call.OpID
	call Call
}

// errAbandoned ends a proposal whose fate this store can no longer follow; the client asks for its outcome.
var errAbandoned = shard.ErrUnavailable

// errNoEffect ends an admin entry that was applied as an empty one: raft refused the change, try later.
var errNoEffect = errors.New("refused by the group: another membership change is in flight")

// admitWrite checks what can be checked before a write waits for its entry. Everything it refuses had no effect.
func (r *replica) admitWrite(c *Call) error {
	req := c.Req
	if !r.group.Leading() || r.group.Muted() {
		return r.notLeader()
	}
	if err := r.checkEpoch(req.Epoch, false); err != nil {
		return err
	}
	if c.grows {
		if err := r.refuseGrowth(); err != nil {
			return err
		}
	}
	if c.txn != nil {
		return r.admitBytes(c) // rule T7: it may come again
	}
	if _, gone := r.cancelled[req.Op]; gone {
		// The client was told "never" and has gone on; nobody waits for this reply.
		return &shard.OverwrittenError{Shard: r.id}
	}
	// INVARIANT (rule 9): an attempt is proposed only while leading exactly the term that it names, and only if the
	// log will still hold it when somebody asks what became of it.
	if req.Term != r.group.Term() || !r.sinceRecent(req.Since) {
		return &shard.RefreshError{Shard: r.id, Term: r.group.Term(), Applied: r.machine.Applied.Index}
	}
	return r.admitBytes(c)
}

// admitBytes counts what a write holds among that of its shard, until its reply. What only takes away is bounded by the
// share of its kind alone.
func (r *replica) admitBytes(c *Call) error {
	if c.kind != budget.Writes {
		return nil
	}
	s := r.w.store
	if r.queued > 0 && c.queued > 0 && r.queued+c.queued > s.backlog.limit.Load()/backlogShardPart {
		return s.tooLate()
	}
	if r.inflight > 0 && r.inflight+c.held > s.shardBytes {
		s.memory.Refuse(c.kind)
		return &shard.ServerBusyError{Store: s.id, Why: "too many writes wait for " + r.id.String(), Wait: busyWait}
	}
	c.bytes = c.held
	r.inflight += c.bytes
	r.queued += c.queued
	return nil
}

// sinceRecent reports whether the log will hold everything after since when somebody asks.
func (r *replica) sinceRecent(since uint64) bool {
	// A truncation that is proposed is applied before whatever is proposed from now on.
	first := max(r.first(), r.truncated+1)
	return recentIn(since, first, r.last(), r.w.store.opt.keptEntries())
}

// recentIn reports whether since lies in the newer half of a log, or the log is shorter than what truncation leaves
// standing.
func recentIn(since, first, last, kept uint64) bool {
	if since+1 < first || since > last {
		return false
	}
	return last < first+kept || since >= first+(last-first)/2
}

// proposeWaiting turns the waiting commands into as few entries as their size allows.
func (r *replica) proposeWaiting() {
	if len(r.waiting) == 0 {
		return
	}
	if r.splitting != nil && r.group.Leading() && !bug.SkipEpochCheck.On() {
		return // behind the split they would be stale: they wait for it, and are refused, or go on if it had no effect
	}
	if !r.group.Leading() {
		if !r.between() {
			r.refuseWaiting(r.notLeader())
		}
		return
	}
	s := r.w.store
	stamp := s.stamp(r.w.now)
	for len(r.waiting) > 0 {
		b := apply.NewData(make([]byte, 0, r.entryBytes()), apply.Header{Eval: r.w.store.evaluation(), Epoch: r.machine.Desc.Epoch, Stamp: stamp})
		p := &proposal{term: r.group.Term(), lead: r.adoptSafePoint(&b)}
		n := 0
		for n < len(r.waiting) && (n == 0 || b.Bytes()+len(r.waiting[n].Req.Body) <= maxEntryBytes) {
			c := &r.waiting[n]
			floor := r.setFloor(p, b.Add(c.Req.Op, c.Req.Body), c)
			n++
			if next := r.grantBehind(c, floor); next != nil {
				r.waiting = slices.Insert(r.waiting, n, next...)
			}
		}
		p.calls = r.waiting[:n:n]
		if err := r.group.Propose(b.Entry(), p); err != nil {
			r.unguard(p.guard, p.mark)
			r.safeProposed = 0
			if errors.Is(err, group.ErrBusy) || errors.Is(err, group.ErrTransferring) || errors.Is(err, group.ErrNotLeader) {
				return // the rest waits for the log to move, or for onSoftState; see expireCalls for who waited too long
			}
			r.refuseWaiting(r.proposeError(err))
			return
		}
		for i := range p.calls {
			r.enter(&p.calls[i], call.StageFsync)
		}
		s.metrics.proposedEntries.Add(1)
		s.metrics.proposedCommands.Add(uint64(n))
		r.waiting = r.waiting[n:]
	}
	r.waiting = nil
}

// entryOverhead is about what an entry, and each command in it, takes beside the command's body.
const entryOverhead = 32

// entryBytes is about the size of the next entry of what waits, so that it need not grow command by command.
func (r *replica) entryBytes() int {
	n := entryOverhead
	for i := range r.waiting {
		more := entryOverhead + len(r.waiting[i].Req.Body)
		if i > 0 && n+more > maxEntryBytes {
			break
		}
		n += more
	}
	return n
}

// between reports whether the leadership was handed over, or is to be had by this right side of a split, and nobody is known to have it
// yet: what waits here hears of the next leader, in a round trip, instead of looking for one.
//
// INVARIANT (rule 9): none of it is proposed: onSoftState refuses all of it when this replica leads again, or hears who does.
func (r *replica) between() bool {
	return r.w.now < r.betweenUntil && !r.group.Leading() && r.group.Leader() == 0
}

// awaitLeader keeps a write that comes between two leaders until the next one is known.
func (r *replica) awaitLeader(c *Call) {
	if err := r.admitBytes(c); err != nil {
		c.refuse(r.w.seen, err)
		return
	}
	r.waiting = append(r.waiting, *c)
	r.mark()
}

// refuseWaiting answers the commands that never reached the log: nothing happened.
func (r *replica) refuseWaiting(err error) {
	waiting := r.waiting
	r.waiting = nil
	for i := range waiting {
		r.fail(&waiting[i], err)
	}
}

// proposeAdmin puts one admin command into the log.
func (r *replica) proposeAdmin(data []byte, done func(*apply.Result, error)) {
	p := &proposal{term: r.group.Term(), done: done}
	if err := r.group.Propose(data, p); err != nil {
		done(nil, r.proposeError(err))
		return
	}
	r.mark()
}

func (r *replica) proposeError(err error) error {
	if errors.Is(err, group.ErrNotLeader) {
		return r.notLeader()
	}
	return &shard.ServerBusyError{Store: r.w.store.id, Why: err.Error(), Wait: busyWait}
}

// bind notes the place in the log that an accepted proposal got.
func (r *replica) bind(p *proposal, index, term uint64) {
	p.term = term
	if old := r.proposals[index]; old != nil {
		// Of an earlier leadership. That our own log lost it says nothing: it may stand in another replica's, and be
		// revived as long as nothing is committed in its place.
		r.end(old, errAbandoned)
	}
	if r.proposals == nil {
		r.proposals = make(map[uint64]*proposal)
	}
	r.proposals[index] = p
}

// lose ends a proposal that was accepted but will never be in a log: no message with it left this store.
func (r *replica) lose(p *proposal) { r.end(p, r.notLeader()) }

// overwritten ends a proposal in whose place in the log another leader's entry was committed and applied.
func (r *replica) overwritten(p *proposal) { r.end(p, &shard.OverwrittenError{Shard: r.id}) }

// timeCall tells the stopwatch of one of the calls when their entry was on our own disk, if it was.
func (p *proposal) timeCall(c *Call) {
	if p.synced != 0 {
		c.spent.enter(call.StageQueue, p.synced)
		c.spent.enter(call.StageReplication, p.heard)
	}
}

func (r *replica) end(p *proposal, err error) {
	for i := range p.calls {
		p.timeCall(&p.calls[i])
		r.fail(&p.calls[i], err)
	}
	for i := range p.asked {
		r.fail(&p.asked[i].call, err) // says nothing definite about the attempt to the one who asks: it asks again
	}
	p.calls, p.asked = nil, nil
	r.unguard(p.guard, p.mark)
	if p.done != nil {
		p.done(nil, err)
		p.done = nil
	}
}

// abandon gives up on every bound proposal because this replica does not lead any more: their entries may or may not
// be committed by others. The clients ask for the outcome.
func (r *replica) abandon() {
	if len(r.proposals) == 0 {
		return
	}
	for _, i := range sortedIndexes(r.proposals) {
		r.end(r.proposals[i], errAbandoned)
		delete(r.proposals, i)
	}
}

// finish hands the results of an applied entry to whoever waits for them.
func (r *replica) finish(index, term uint64, res *apply.Result, by *appliedBy) {
	r.outcomes.add(index, res.Replies)
	p := r.proposals[index]
	if p == nil {
		return
	}
	delete(r.proposals, index)
	if p.term != term {
		r.overwritten(p)
		return
	}
	if p.done != nil {
		err := errNoEffect
		if len(res.Replies) > 0 {
			err = res.Replies[0].Err
		}
		kept := *res
		kept.Replies = slices.Clone(kept.Replies)
		by.dones = append(by.dones, func() { p.done(&kept, err) })
		return
	}
	by.replies = slices.Grow(by.replies, len(p.calls))
	for i := range p.calls {
		c := &p.calls[i]
		c.logged = true
		r.touchLocks(c)
		p.timeCall(c)
		c.spent.enter(call.StageApply, r.w.now)
		by.replies = append(by.replies, pendingReply{call: c, rep: toReply(&res.Replies[p.lead+i])})
	}
	if p.guard != nil {
		by.dones = append(by.dones, func() { r.unguard(p.guard, p.mark) })
	}
	for j := range p.asked {
		a := &p.asked[j]
		for i := range res.Replies {
			if res.Replies[i].Op == a.op {
				by.replies = append(by.replies, pendingReply{call: &a.call, rep: toReply(&res.Replies[i])})
			}
		}
	}
}

func toReply(rep *apply.Reply) call.Reply { return call.Reply{Err: rep.Err, Body: rep.Body} }
