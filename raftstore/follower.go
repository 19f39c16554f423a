package raftstore

import (
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// followerReads are reads on a replica that does not lead: one question to the leader answers for all of them.
type followerReads struct {
	waiting []Call // not yet asked for
	asking  bool
	told    []toldReads
}

// toldReads may run once index is applied. term is the leader's that said so: if an entry of a later term is applied
// first, index may never come, and the leader is asked again (design T5).
type toldReads struct {
	term, index uint64
	calls       []Call
}

// acceptFollowerRead queues a read and asks the leader for its index.
func (r *replica) acceptFollowerRead(c *Call) {
	if !r.born() {
		r.fail(c, &shard.NotReadyError{Shard: r.id, Why: "this replica has no data yet"})
		return
	}
	if err := r.machine.Desc.CheckEpoch(c.Req.Epoch, false); err != nil {
		r.fail(c, err)
		return
	}
	if len(r.follower.waiting) >= maxWaitingReads {
		r.fail(c, &shard.ServerBusyError{Store: r.w.store.id, Why: "too many reads wait for " + r.id.String(), Wait: busyWait})
		return
	}
	r.follower.waiting = append(r.follower.waiting, *c)
	r.askLeader()
}

// askLeader asks for one barrier for every read that waits. Follower reads do not use raft's forwarded MsgReadIndex:
// v3.7.0 loses it silently, and the same barrier serves stale reads, watches and backups later.
func (r *replica) askLeader() {
	f := &r.follower
	if f.asking || len(f.waiting) == 0 {
		return
	}
	lead := r.leader()
	if lead.ID == 0 || lead.ID == r.self {
		calls := f.waiting
		f.waiting = nil
		for i := range calls {
			r.fail(&calls[i], r.notLeader())
		}
		return
	}
	f.asking = true
	calls, gen := f.waiting, r.gen
	f.waiting = nil
	s := r.w.store
	req := &call.Request{Kind: call.Barrier, Shard: r.id, Timeout: s.opt.electionTimeout()}
	s.goTask("barrier", func() {
		rep := s.transport.Call(s.ctx, lead.Store, req)
		r.w.task(func() { r.onBarrier(gen, calls, &rep) })
	})
}

func (r *replica) onBarrier(gen uint64, calls []Call, rep *call.Reply) {
	r.follower.asking = false
	if rep.Err != nil || gen != r.gen {
		for i := range calls {
			r.fail(&calls[i], r.notLeader())
		}
	} else {
		r.follower.told = append(r.follower.told, toldReads{term: rep.Term, index: rep.Applied, calls: calls})
		r.serveFollower()
	}
	r.askLeader()
}

// serveFollower runs the reads whose index is applied.
func (r *replica) serveFollower() {
	told := r.follower.told
	if len(told) == 0 {
		return
	}
	r.follower.told = nil
	for _, t := range told {
		switch {
		case t.index <= r.machine.Applied.Index && !r.held:
			for _, c := range t.calls {
				r.w.store.readers.submit(readJob{r: r, desc: r.machine.Desc, call: c})
			}
		case t.term < r.machine.Applied.Term:
			r.follower.waiting = append(r.follower.waiting, t.calls...)
			r.askLeader()
		default:
			r.follower.told = append(r.follower.told, t)
		}
	}
}

// expireFollower drops reads for which nobody waits any more.
func (r *replica) expireFollower() {
	now := int64(r.w.now)
	for i := range r.follower.told {
		t := &r.follower.told[i]
		kept := t.calls[:0]
		for _, c := range t.calls {
			if c.expire != 0 && c.expire < now {
				c.fail(shard.ErrUnavailable)
				continue
			}
			kept = append(kept, c)
		}
		t.calls = kept
	}
}
