package raftstore

import (
	"context"
	"fmt"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
)

// A split on its way through a store (rule 14):
//
//	Split       the leader checks epoch and keys, and proposes one entry; until it is applied no lease is renewed and
//	            nothing else is proposed, because it would be stale behind it
//	splitOf     every replica, when the entry is committed: it will have an effect, so the right sides are frozen first
//	freeze      each right's worker: an uninitialised replica is taken out, its term and vote kept (freeze.go)
//	stageSplit  one batch: left's descriptor and applied index, every right's first state
//	onSplit     the batch is visible: the map of ranges, then the rights' workers adopt them, then the answers
//
// The right side of a split of which the right was removed here, or is here under a newer id, is not born: its data are
// marked for destruction in the same batch.

// MaxSplitKeys bounds the new shards of one split: they are created in one batch on every store, and each of them begins
// an election. More are made by splitting again.
const MaxSplitKeys = 100

// Split proposes to cut a shard that is led here at the given keys, which ascend strictly inside its range. ids names
// the new shards, as shard.Descriptor.Split wants them. It returns the shards in key order once that is applied here.
//
// An error of class routing or rejected says that nothing happened. shard.ErrUnavailable says that it may have; doing it
// again is harmless, because the epoch then is stale.
func (s *Store) Split(ctx context.Context, id shard.ID, epoch shard.Epoch, at []shard.Key, ids []shard.SplitID) ([]*shard.Descriptor, error) {
	for i, k := range at {
		if len(k) > shard.MaxKeyBytes+1 || i >= MaxSplitKeys {
			return nil, &shard.InvalidError{Why: fmt.Sprintf("split %s: at most %d keys of at most %d bytes", id, MaxSplitKeys, shard.MaxKeyBytes)}
		}
	}
	w := s.worker(id)
	var parts []*shard.Descriptor
	err := w.call(ctx, func(done func(error)) {
		r := w.replicas[id]
		if r == nil {
			done(&shard.NotFoundError{Shard: id, Store: s.id})
			return
		}
		r.wakeUp(wakeRequest)
		r.split(epoch, at, ids, func(out []*shard.Descriptor, err error) {
			parts = out
			done(err)
		})
	})
	if err != nil {
		return nil, err
	}
	return parts, nil
}

// split proposes. One range-changing command is under way at a time, and none beside a change of membership: the second
// would be refused by its epoch anyway. In a joint configuration, which passes, the asker is to come again.
func (r *replica) split(epoch shard.Epoch, at []shard.Key, ids []shard.SplitID, done func([]*shard.Descriptor, error)) {
	if !r.canServe() {
		done(nil, r.notLeader())
		return
	}
	if err := r.checkEpoch(epoch, true); err != nil {
		done(nil, err)
		return
	}
	if r.changing != nil || r.splitting != nil || r.machine.Desc.Joint() {
		done(nil, &shard.ServerBusyError{Store: r.w.store.id, Why: "another change of " + r.id.String() + " is in flight", Wait: busyWait})
		return
	}
	if _, err := r.machine.Desc.Split(at, ids); err != nil {
		done(nil, err)
		return
	}
	p := &proposal{term: r.group.Term()}
	p.done = func(res *apply.Result, err error) {
		r.splitting = nil
		if err != nil {
			done(nil, err)
			return
		}
		ev := res.Event.(*apply.Split)
		done(append([]*shard.Descriptor{ev.Left}, ev.Right...), nil)
	}
	h := apply.Header{Eval: r.w.store.evaluation(), Epoch: r.machine.Desc.Epoch}
	if err := r.group.Propose(apply.EncodeSplit(h, at, ids), p); err != nil {
		done(nil, r.proposeError(err))
		return
	}
	r.splitting = p
	r.mark()
}

// splitOf evaluates an entry ahead of its turn if it is a split, and returns its event; nil if it is none or will have no
// effect.
func (r *replica) splitOf(e *raftpb.Entry) *apply.Split {
	if e.GetType() != raftpb.EntryNormal {
		return nil
	}
	return r.machine.Preview(apply.Entry{Index: e.GetIndex(), Term: e.GetTerm(), Data: e.GetData()})
}

// splitDone is the event of a split together with what became of its right sides here.
type splitDone struct {
	*apply.Split
	rights []*right
}

// stageSplit writes both sides into the batch of the entry. A right side begins at the fixed index and term of every new
// shard (InitialState), so that all its replicas begin alike, whenever they apply the split.
//
// INVARIANT (rule 14): left's new range, right's descriptor, applied state and hard state are in one batch with left's
// applied index, so that no crash leaves a key to nobody or to two. The term and vote of a right that was born
// uninitialised here are kept: it may have voted, and forgetting that lets it vote twice in one term.
func (w *worker) stageSplit(r *replica, ev *apply.Split, rights []*right) {
	r.withdraw() // before the batch that changes the descriptor is released
	w.states.SetDescriptor(ev.Left)
	for i, rt := range rights {
		if rt.dead {
			// INVARIANT (rule 4): a mark, not an excise: the excise could survive a crash that loses this batch.
			w.states.MarkDestroying(rt.desc.ID, rt.desc.Range)
			continue
		}
		rt.state = InitialState(rt.desc, rt.self)
		rt.state.Applied = ev.Parent.Child(initialIndex, initialTerm, ev.Locks[i])
		if rt.hard.Term >= initialTerm && !bug.SplitLosesVote.On() {
			rt.state.Hard.Term, rt.state.Hard.Vote = rt.hard.Term, rt.hard.Vote
		}
		w.states.CreateReplica(rt.state)
	}
}

// onSplit makes a split known once its batch is visible.
//
// INVARIANT (rule 11): left's view was withdrawn before the batch, and its descriptor changes here, before a right can
// apply anything: a read that began on the old range finds out when it checks again.
func (w *worker) onSplit(r *replica, ev *splitDone) {
	s := w.store
	s.metrics.splits.Add(1)
	if o := s.opt.Observer; o != nil {
		o.Described(r.id, r.self, ev.Left)
	}
	r.log.SetDescriptor(ev.Left)
	r.splitSize(len(ev.Right) + 1)
	part := r.splitLoad()
	s.setSplit(r, ev)
	r.keepAwake()
	r.tellPlacement()
	r.refuseStale()
	r.endLockWaits(nil)
	leads := r.group.Leading() && !r.group.Muted()
	s.logger.Info("shard split", "shard", r.id, "into", len(ev.Right)+1, "epoch", ev.Left.Epoch, "leads", leads)
	for _, rt := range ev.rights {
		if rt.dead {
			w.destroySpan(rt)
			continue
		}
		rt.force = leads
		if leads {
			w.children = append(w.children, child{desc: rt.desc})
			rt.load = part()
		}
		if rt.w == w {
			w.adoptRight(rt)
		} else {
			rt.w.task(func() { rt.w.adoptRight(rt) })
		}
	}
}

// setSplit is setDescriptor for both sides at once: between the two nobody may take the right's range for free.
func (s *Store) setSplit(r *replica, ev *splitDone) {
	s.mu.Lock()
	var clash []*shard.Descriptor
	for _, rt := range ev.rights {
		if rt.dead {
			s.placeholders[rt.desc.ID] = placeholder{Range: rt.desc.Range}
		}
	}
	insert := func(d *shard.Descriptor) {
		_, evicted := s.shards.Insert(d)
		for _, e := range evicted {
			if e.ID != d.ID {
				clash = append(clash, e)
			}
		}
	}
	insert(ev.Left)
	for _, rt := range ev.rights {
		if !rt.dead {
			insert(rt.desc)
		}
	}
	s.mu.Unlock()
	r.desc.Store(ev.Left)
	peers := ev.Left.Replicas
	r.peers.Store(&peers)
	for _, e := range clash {
		s.broken("split "+r.id.String(), fmt.Errorf("a part of it overlaps %s, which has data here", e))
	}
}

// destroySpan removes the data of a right side that is not born here.
func (w *worker) destroySpan(rt *right) {
	s, id, span := w.store, rt.desc.ID, rt.desc.Range
	s.logger.Info("right side of a split is not wanted here", "shard", id, "replica", rt.self)
	s.goTask("destroy", func() {
		if err := s.engine.FinishDestroy(id, span); err != nil {
			s.broken("destroy the data of "+id.String(), err)
			return
		}
		s.unhold(id)
	})
}

// refuseStale answers the writes that were admitted for another range, before they reach the log: nothing happened.
// Waiting reads are checked when they are evaluated.
func (r *replica) refuseStale() {
	stale := func(c *Call) bool { return c.Req.Epoch.Version != r.machine.Desc.Epoch.Version }
	var out []Call
	r.waiting = slices.DeleteFunc(r.waiting, func(c Call) bool {
		if stale(&c) {
			out = append(out, c)
			return true
		}
		return false
	})
	for i := range out {
		r.fail(&out[i], r.checkEpoch(out[i].Req.Epoch, false))
	}
}

// maxCurrent bounds the descriptors of a StaleEpochError.
const maxCurrent = 16

// checkEpoch is Descriptor.CheckEpoch whose StaleEpochError also holds the neighbours: after a split the keys that were
// asked for may be theirs, and the client learns it without asking placement.
func (r *replica) checkEpoch(req shard.Epoch, needConf bool) error {
	return r.w.store.checkEpoch(r.machine.Desc, req, needConf)
}

func (s *Store) checkEpoch(d *shard.Descriptor, req shard.Epoch, needConf bool) error {
	return s.withCurrent(d.CheckEpoch(req, needConf))
}

// withCurrent adds the shards that follow without a gap on this store to a StaleEpochError. What they say is true
// whether it is asked for or not.
func (s *Store) withCurrent(err error) error {
	e, ok := err.(*shard.StaleEpochError)
	if !ok || len(e.Current) == 0 {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.shards.Get(e.Shard)
	if !ok {
		return err
	}
	out := &shard.StaleEpochError{Shard: e.Shard}
	end := d.Range.Start
	s.shards.Ascend(d.Range.Start, func(n *shard.Descriptor) bool {
		if n.Range.Start.Compare(end) != 0 {
			return false
		}
		out.Current = append(out.Current, n)
		end = n.Range.End
		return len(end) > 0 && len(out.Current) < maxCurrent
	})
	return out
}

// SplitPoints finds at most parts-1 keys that cut a shard that is led here into parts of about equal size, and the
// shard as it was then. It reads the keys of the whole shard, on the caller's goroutine.
func (s *Store) SplitPoints(id shard.ID, parts int) ([]shard.Key, *shard.Descriptor, error) {
	if parts < 2 || parts > MaxSplitKeys+1 {
		return nil, nil, &shard.InvalidError{Why: fmt.Sprintf("split into 2 to %d parts, not %d", MaxSplitKeys+1, parts)}
	}
	d, err := s.Descriptor(id)
	if err != nil {
		return nil, nil, err
	}
	cuts, _, err := s.cutKeys(d.Range, parts)
	if err != nil {
		return nil, nil, err
	}
	if len(cuts) == 0 {
		return nil, nil, &shard.InvalidError{Why: fmt.Sprintf("split %s: it holds fewer than two keys", id)}
	}
	keys := make([]shard.Key, len(cuts))
	for i, c := range cuts {
		keys[i] = c.Key
	}
	return keys, d, nil
}

// cutKeys is Engine.CutKeys, not beyond the end of the store.
func (s *Store) cutKeys(r shard.Range, parts int) ([]engine.Cut, uint64, error) {
	if !s.enter() {
		return nil, 0, s.stoppedErr()
	}
	defer s.leave()
	cuts, total, err := s.engine.CutKeys(r, parts)
	if err != nil {
		s.broken("look for a split key", err)
	}
	return cuts, total, err
}

// CheckEpoch returns a shard of which this store holds data, if epoch is its own, and otherwise says what it is now.
func (s *Store) CheckEpoch(id shard.ID, epoch shard.Epoch) (*shard.Descriptor, error) {
	d, err := s.Descriptor(id)
	if err != nil {
		return nil, err
	}
	return d, s.checkEpoch(d, epoch, true)
}

// Descriptor is what this store knows of a shard of which it holds data.
func (s *Store) Descriptor(id shard.ID) (*shard.Descriptor, error) {
	if r := s.replica(id); r != nil {
		if d := r.desc.Load(); d != nil {
			return d, nil
		}
	}
	return nil, &shard.NotFoundError{Shard: id, Store: s.id}
}
