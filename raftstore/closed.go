package raftstore

import (
	"time"

	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/mvcc"
)

// Reads at a timestamp that a replica need not ask its leader about: stale reads.
//
// A barrier (rule T5) at a timestamp says up to which index everything is that commits at or below it, but for transactions
// whose locks are there. A replica that has applied that index is closed up to the timestamp, for good: it answers reads at
// or below it from what it has, and locks stop them as everywhere. Nothing that happens to the shard later changes that:
//
//   - a later leader computes commit timestamps above one that it fetched after it was elected (rule T4);
//   - a snapshot brings a later state of the same history;
//   - of a split, the left side is the same replica, with less in it; the right side begins with nothing closed;
//   - a replica that was removed, and does not know it, goes on answering what was true, and has not collected it;
//   - the safe point is looked at like in every read, and below one that the store has heard of the leader is asked, whose
//     answer says that it is too old, although the versions may still be here;
//   - a start of the process forgets it, and so does removal, with the replica.
//
// INVARIANT: a replica says that it is closed only once it has applied the index, visibly.

// closeUpTo notes that everything up to ts is visible here, or locked.
func (r *replica) closeUpTo(ts mvcc.Timestamp) {
	if uint64(ts) > r.closed.Load() {
		r.closed.Store(uint64(ts)) // the worker is the only one who writes
	}
}

// barrierTS is the timestamp that a follower asks for a barrier at: the largest that is to be read at here, and, if there is
// one, the newest that this store has fetched, so that the next reads find the replica closed.
func (r *replica) barrierTS(calls []Call) (ts mvcc.Timestamp) {
	for i := range calls {
		if t := calls[i].txn; t != nil {
			ts = max(ts, t.ts)
		}
	}
	if ts == 0 {
		return 0
	}
	return max(ts, mvcc.Timestamp(r.w.store.stamps.recent()))
}

// readClosed answers a read that may be answered by any replica if this one is closed up to its timestamp, and reports
// whether it did or will.
func (s *Store) readClosed(r *replica, c *Call) bool {
	if !c.Req.Follower || c.txn == nil || c.txn.ts == 0 || uint64(c.txn.ts) > r.closed.Load() || uint64(c.txn.ts) < s.safe.Load() {
		return false
	}
	desc := r.desc.Load()
	if desc == nil || desc.CheckEpoch(c.Req.Epoch, false) != nil {
		return false // the worker knows how to say so
	}
	if !c.inline() {
		s.readers.submit(readJob{r: r, desc: desc, call: *c, closed: true})
		return true
	}
	got, _, err := s.evaluate(r, c, desc)
	switch {
	case err != nil:
		c.fail(s.readError(err))
	case r.desc.Load() != desc:
		return false // a snapshot, a split or a removal may have come in between
	default:
		s.metrics.closedReads.Add(1)
		r.observeAnswered(c, got.Body)
		c.spent.onlyRead()
		c.answer(&call.Reply{Body: got.Body, Room: got.Room})
	}
	return true
}

// freshFor is how old the newest timestamp of a store may be before a barrier asks for another one, for the next.
const freshFor = time.Second

// recent is the newest timestamp that was fetched, perhaps a long time ago; zero if none was. If it is old another one is
// fetched behind the caller's back.
func (p *stamps) recent() uint64 {
	p.mu.Lock()
	ts, at := p.newest, p.newestAt
	p.mu.Unlock()
	s := p.store
	if now := s.env.Now(); s.opt.Timestamps != nil && (ts == 0 || now.Sub(at) > freshFor) {
		p.fetch(func(uint64, error) {})
	}
	return ts
}

// took keeps a timestamp that placement issued.
func (p *stamps) took(ts uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.newest, p.newestAt = max(p.newest, ts), p.store.env.Now()
}
