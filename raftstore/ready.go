package raftstore

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// appliedBy is one replica's part of the state batch of a pass: what to do once the batch is visible.
type appliedBy struct {
	r         *replica
	responses []*raftpb.Message // none: the rest of raft's batch waits for a split, see applyFrom
	replies   []pendingReply
	dones     []func() // of admin entries
	changes   []appliedChange
	events    []apply.Event
	// compared: the last entry has replicas compared. What the batch of raft still holds, if anything, is applied by rest, once
	// the view is open. The replica of generation gen is held until then.
	compared bool
	rest     func()
	gen      uint64
}

// appliedChange is a membership change and the descriptor right after it: one batch may hold several.
type appliedChange struct {
	change *raftpb.ConfChangeV2
	desc   *shard.Descriptor
}

// abandon answers those who wait for a batch that was not written: its entries are in the log.
func (by *appliedBy) abandon(err error) {
	for i := range by.replies {
		by.r.fail(by.replies[i].call, err)
	}
	by.replies, by.dones = nil, nil
}

// pendingReply is what is said once the batch is visible. The call is its proposal's, which is over.
type pendingReply struct {
	call *Call
	rep  call.Reply
}

// handle does what a group asks for, or stages it in the worker's batches of this pass.
func (w *worker) handle(r *replica, eff *group.Effects) {
	if eff.Soft != nil {
		r.onSoftState(eff.Soft)
		w.endLot(r)
	}
	for _, l := range eff.Lost {
		r.lose(l.Token.(*proposal))
	}
	told := r.committed.Swap(r.group.Committed())
	for _, m := range eff.Send {
		if r.keeps(m, told) {
			continue
		}
		if m.GetType() == raftpb.MsgSnap {
			w.store.sendSnapshot(r, m)
			continue
		}
		w.out.add(w.store, r.id, m)
	}
	if eff.Append != nil {
		w.append(r, eff.Append)
	}
	if eff.Apply != nil {
		w.apply(r, eff.Apply)
	}
	if !r.group.Leading() {
		// What was bound only now, of a leadership that ended within the pass, is nobody's any more either.
		r.abandon()
	}
	for _, rd := range eff.Reads {
		r.onRound(rd)
	}
}

// append stages entries and hard state in the log batch of the pass.
func (w *worker) append(r *replica, a *group.Append) {
	for _, b := range a.Bound {
		p := b.Token.(*proposal)
		if p.done != nil {
			r.promptly = b.Index
		}
		r.bind(p, b.Index, b.Term)
	}
	if a.Snapshot != nil {
		// INVARIANT (rule 3): an append that carries a snapshot runs in the replica's lane; its entries and responses,
		// and everything later of this replica, wait behind it.
		w.endLot(r)
		w.install(r, a)
		return
	}
	w.appendEntries(r, a)
}

func (w *worker) appendEntries(r *replica, a *group.Append) {
	var hard *engine.HardState
	if a.StateChanged {
		r.hard = engine.HardState{Term: a.Term, Vote: a.Vote, Commit: a.Commit}
		hard = &r.hard
	}
	if hard != nil || len(a.Entries) > 0 {
		if w.logs == nil {
			w.logs = w.store.engine.NewLogBatch()
		}
		w.logs.Append(r.log, a.Entries, hard, a.Commit)
		for _, e := range a.Entries {
			r.logBytes += int64(len(e.GetData())) + 32
		}
	}
	p := afterSync{r: r, gen: r.gen, durable: r.durable(a), bound: a.Bound}
	if p.local, p.send = r.sortResponses(a.Responses); len(a.Hold) > 0 {
		p.send = append(a.Hold, p.send...)
	}
	if bug.ResponseBeforeSync.On() {
		for _, m := range p.send {
			w.out.add(w.store, r.id, m)
		}
		p.send = nil
	}
	if len(p.local)+len(p.send) > 0 || p.durable != nil {
		if w.synced == nil {
			w.synced = make([]afterSync, 0, max(w.syncedLast, 4))
		}
		w.synced = append(w.synced, p)
	}
}

// sortResponses divides the responses of an append, in place, into those to the replica itself and those to others, both in raft's order.
func (r *replica) sortResponses(ms []*raftpb.Message) (local, send []*raftpb.Message) {
	n := 0
	for i, m := range ms {
		if shard.ReplicaID(m.GetTo()) == r.self {
			copy(ms[n+1:i+1], ms[n:i])
			ms[n] = m
			n++
		}
	}
	return ms[:n:n], ms[n:]
}

// commitLogs writes the log batch of the pass and leaves the waiting for the disk to the sync loop.
func (w *worker) commitLogs() {
	if w.logs == nil && len(w.synced) == 0 {
		return
	}
	it := syncItem{w: w, batch: w.logs, promises: w.synced, since: w.store.env.Now()}
	w.logs, w.synced, w.syncedLast = nil, nil, len(w.synced)
	if it.batch != nil {
		w.writing.Store(int64(w.now))
		err := it.batch.Commit()
		w.writing.Store(0)
		if err != nil {
			w.store.broken("write the log", err)
			return
		}
		w.store.metrics.logBatches.Add(1)
		it.bytes = int64(it.batch.Bytes())
		w.store.memory.Add(budget.Batches, it.bytes)
	}
	if o := w.store.opt.Observer; o != nil {
		o.LogWritten()
	}
	w.store.sync.submit(it)
}

// applyFrom evaluates the entries of a from position on into the state batch of the pass. If one is a split whose right sides
// cannot be frozen at once, it stops before that, holds the replica, and goes on in a later pass. rights are those of the split
// at position.
//
// INVARIANT (rule 2): the applied index is written in the same batch as the effects that it covers.
//
// INVARIANT: an entry that compares replicas is the last that the state batch holds of its shard: the view that onCompared
// opens shows the shard at exactly that index. So the replica is held until the batch is visible, within this pass.
func (w *worker) applyFrom(r *replica, a *group.Apply, position int, rights []*right) {
	if w.states == nil {
		w.states = w.store.engine.NewStateBatch()
	}
	by := &appliedBy{r: r}
	w.applied = append(w.applied, by) // at once: if an entry breaks the store, those of the earlier ones are answered
	for i := position; i < len(a.Entries); i++ {
		e := a.Entries[i]
		if ev := r.splitOf(e); ev != nil && rights == nil {
			inline := true
			now := w.freezeRights(ev, r.group.Heard(), func(frozen []*right) {
				if rights = frozen; !inline {
					r.held, r.freezing = false, false
					w.applyFrom(r, a, i, frozen)
					r.mark()
				}
			})
			if inline = now; !now {
				r.held, r.freezing = true, true
				break
			}
		}
		if !w.applyEntry(r, e, by, rights) {
			return
		}
		rights = nil
		if i == len(a.Entries)-1 {
			by.responses = a.Responses
		}
		if by.compared {
			r.held, r.freezing, by.gen = true, true, r.gen
			if i < len(a.Entries)-1 {
				by.rest = func() { w.applyFrom(r, a, i+1, nil) }
			}
			break
		}
	}
	if bug.AppliedLater.On() && r.machine.Applied.Index%4 != 0 {
		return
	}
	w.states.SetApplied(r.id, r.machine.Applied)
}

func (w *worker) applyEntry(r *replica, e *raftpb.Entry, by *appliedBy, rights []*right) bool {
	ent := apply.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Data: e.GetData()}
	var change *raftpb.ConfChangeV2
	if e.GetType() == raftpb.EntryConfChangeV2 {
		var err error
		if change, err = group.DecodeChange(e.GetData()); err != nil {
			w.store.broken(fmt.Sprintf("%s: decode entry %d", r.id, ent.Index), err)
			return false
		}
		ent.Data, ent.Change = nil, change.GetContext()
	}
	before := r.machine.Desc
	bytes := w.states.Bytes()
	var out apply.Writer = w.states
	if bug.SilentFlip.On() && !r.group.Leading() && ent.Index%4 == 0 {
		out = flipping{w.states}
	}
	res, err := r.machine.Apply(ent, out)
	r.size.grew(bytes, w.states.Bytes())
	if err != nil {
		w.store.broken(fmt.Sprintf("%s: apply entry %d of term %d", r.id, ent.Index, ent.Term), err)
		return false
	}
	w.store.metrics.appliedEntries.Add(1)
	w.store.observeApplied(r, e, before, &res)
	switch ev := res.Event.(type) {
	case nil:
	case *apply.Changed:
		r.withdraw() // before the batch that changes the descriptor is released
		w.states.SetDescriptor(ev.Desc)
		by.events = append(by.events, ev)
		by.changes = append(by.changes, appliedChange{change, ev.Desc})
		r.noteRemoved(before, r.machine.Desc)
	case *apply.Split:
		w.stageSplit(r, ev, rights)
		by.events = append(by.events, &splitDone{Split: ev, rights: rights})
	case *apply.Compared:
		by.compared = true
		by.events = append(by.events, ev)
	default:
		by.events = append(by.events, ev)
	}
	r.finish(ent.Index, ent.Term, &res, by)
	return true
}

// commitStates makes the effects of the pass visible and then tells everyone who waits for them.
func (w *worker) commitStates() {
	if w.states == nil || w.store.stopped() {
		return // stopped: an entry of the batch may be half evaluated
	}
	batch := w.states
	for _, by := range w.applied {
		by.r.moment.begin()
		by.r.hideBelow(by.r.machine.Applied)
	}
	w.writing.Store(int64(w.now))
	err := batch.Commit(false)
	w.writing.Store(0)
	if err != nil {
		w.store.broken("write applied state", err)
		return
	}
	w.store.metrics.appliedBatches.Add(1)
	applied := w.applied
	w.states, w.applied = nil, nil
	batch.Close()
	w.seen = w.store.env.Now()
	for _, by := range applied {
		w.onApplied(by)
	}
}

// closeBatches gives up what a stopped worker staged.
func (w *worker) closeBatches() {
	if w.states != nil {
		w.states.Close()
		w.states = nil
	}
}

func (w *worker) onApplied(by *appliedBy) {
	r := by.r
	if by.compared && r.gen == by.gen {
		r.held, r.freezing = false, false
	}
	r.log.SetApplied(r.machine.Applied)
	r.showTxn(r.machine.Applied)
	r.beginWritten()
	r.applied.Store(r.machine.Applied.Index)
	r.time.Store(uint64(r.machine.Applied.Time))
	r.moment.end()
	// INVARIANT (rule 3): for a membership entry the worker calls ApplyConfChange first, then steps the ApplyResp;
	// otherwise a second change could be proposed under the old configuration.
	for _, c := range by.changes {
		w.store.checkConfState(r, c.desc, r.group.ApplyChange(c.change))
	}
	for _, m := range by.responses {
		if err := r.group.Deliver(m); err != nil {
			w.store.logger.Debug("apply response refused", "shard", r.id, "err", err)
		}
	}
	for _, ev := range by.events {
		w.onEvent(r, ev)
	}
	if r.canServe() && (r.view.Load() == nil || r.view.Load().desc != r.machine.Desc) {
		r.publish(0)
		r.tellPlacement()
	}
	r.lookAtSeekers()
	for _, done := range by.dones {
		done()
	}
	for i := range by.replies {
		if !r.parkRefused(&by.replies[i]) {
			r.reply(by.replies[i].call, &by.replies[i].rep)
		}
	}
	r.lookAtLocks()
	r.maybeFetch()
	r.noteExpiring()
	r.noteSize()
	r.wakeWatch()
	r.serveConfirmed()
	r.trimTail() // after the clients have their replies
	r.mark()
	if by.rest != nil && r.gen == by.gen && !r.held {
		by.rest()
	}
}

// flipping is the bug bug.SilentFlip.
type flipping struct{ *engine.StateBatch }

// Set writes another value.
func (f flipping) Set(k shard.Key, v []byte) {
	v = slices.Clone(v)
	if n := len(v); n > 1 {
		v[n-1] ^= 1
	}
	f.StateBatch.Set(k, v)
}

// onEvent mirrors in memory what an applied entry changed, after its batch is visible.
func (w *worker) onEvent(r *replica, ev apply.Event) {
	switch ev := ev.(type) {
	case *apply.Changed:
		r.log.SetDescriptor(ev.Desc)
		w.store.setDescriptor(r, ev.Desc)
		r.noteLeader()
		r.onChanged(ev.Desc)
	case *splitDone:
		w.onSplit(r, ev)
	case *apply.Truncated:
		w.truncateLog(r, ev)
	case *apply.Compared:
		w.onCompared(r, ev)
	}
}

// truncateLog deletes the entries that a truncation covers.
//
// INVARIANT (rule 3): the entries go, and FirstIndex moves, only after the MsgStorageApplyResp of the command was
// stepped: raft scans (applied, committed] for membership changes and dies of a gap.
func (w *worker) truncateLog(r *replica, ev *apply.Truncated) {
	if w.states == nil {
		w.states = w.store.engine.NewStateBatch()
	}
	first, last := r.first(), r.last()
	r.log.Truncate(w.states, ev.Index, ev.Term)
	if n := last - first + 1; ev.Index >= first && n > 0 {
		r.logBytes -= r.logBytes / int64(n) * int64(ev.Index-first+1)
	}
}

// checkConfState compares raft's membership with the descriptor's, from which it was computed for the batch (rule 2).
func (s *Store) checkConfState(r *replica, d *shard.Descriptor, got *raftpb.ConfState) {
	if err := equivalent(engine.ConfState(d), got); err != nil {
		s.broken(fmt.Sprintf("%s: membership of raft and descriptor %s differ", r.id, d), err)
	}
}
