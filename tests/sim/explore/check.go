package explore

import (
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/shard"
)

// promise is the most that a replica has said to others, over all its lives.
type promise struct {
	term  uint64            // it has spoken in
	votes map[uint64]uint64 // for whom, by term
	acked uint64            // everything up to this index was acknowledged
	acks  uint64            // in this term
}

// note notes what a message promises. INVARIANT: one vote in a term.
func (p *promise) note(w *state, m *pb.Message) {
	switch m.GetType() {
	case pb.MsgVote, pb.MsgApp, pb.MsgHeartbeat:
		p.vote(w, m, m.GetFrom(), m.GetType() == pb.MsgVote)
	case pb.MsgVoteResp:
		p.vote(w, m, m.GetTo(), !m.GetReject())
	case pb.MsgAppResp:
		p.term = max(p.term, m.GetTerm())
		if m.GetReject() {
			return
		}
		if p.acks != m.GetTerm() {
			p.acks, p.acked = m.GetTerm(), 0
		}
		p.acked = max(p.acked, m.GetIndex())
	}
}

func (p *promise) vote(w *state, m *pb.Message, to uint64, given bool) {
	p.term = max(p.term, m.GetTerm())
	if !given {
		return
	}
	if was, ok := p.votes[m.GetTerm()]; ok && was != to {
		w.violated("promise: r%d votes for r%d in term %d, and has voted for r%d", m.GetFrom(), to, m.GetTerm(), was)
	}
	if p.votes == nil {
		p.votes = make(map[uint64]uint64)
	}
	p.votes[m.GetTerm()] = to
}

// checkPromise compares what a life begins with to what was said before it. INVARIANT: nothing is said before it is on
// disk.
func (w *state) checkPromise(r *replica) {
	hs, _, err := r.disk.InitialState()
	must(err)
	last, err := r.disk.LastIndex()
	must(err)
	switch p := &r.promise; {
	case hs.GetTerm() < p.term:
		w.violated("promise: r%d starts in term %d, and has spoken in term %d", r.id, hs.GetTerm(), p.term)
	case hs.GetTerm() == p.acks && last < p.acked:
		w.violated("promise: r%d starts with a log up to %d in term %d, and has acknowledged %d in it", r.id, last, p.acks, p.acked)
	}
}

// led checks a new leader. INVARIANT: one replica leads a term; it has everything that was applied anywhere; and nobody
// else may answer reads alone when it begins.
func (w *state) led(r *replica, term uint64) {
	w.tell("r%d leads term %d", r.id, term)
	if was, ok := w.leaders[term]; ok && was != r.id {
		w.violated("leader: r%d and r%d lead term %d", was, r.id, term)
	}
	w.leaders[term] = r.id
	// in any order: a missing entry ends the search, whichever is met first
	for i, s := range w.solid {
		if i <= r.machine.Applied.Index {
			continue
		}
		if e := r.entry(i); e == nil || e.GetTerm() != s.term || !sameData(s.data, e.GetData()) {
			w.violated("committed: r%d leads term %d without entry %d of term %d, which was applied", r.id, term, i, s.term)
		}
	}
	for _, o := range w.replicas {
		if o != r && o.clock() < o.lease {
			w.violated("lease: r%d leads term %d while r%d may answer alone for another %d ms", r.id, term, o.id, (o.lease-o.clock())/1e6)
		}
	}
}

// applied checks an entry that a replica has applied. INVARIANT: all replicas apply the same at an index, and come to the
// same state; nothing is applied of which somebody was told that it never would be; no key lies outside of its shard.
func (w *state) applied(r *replica, e *pb.Entry, res *apply.Result) {
	is := solid{term: e.GetTerm(), data: string(e.GetData()), state: r.stateOf()}
	was, ok := w.solid[e.GetIndex()]
	switch {
	case ok && (was.term != is.term || was.data != is.data):
		w.violated("log: r%d applies at %d an entry of term %d, another one of term %d was applied there", r.id, e.GetIndex(), is.term, was.term)
	case ok && was.state != is.state:
		w.violated("state: r%d comes to another state than others by entry %d", r.id, e.GetIndex())
	}
	w.solid[e.GetIndex()] = is
	for _, reply := range res.Replies {
		if w.lost[reply.Op] && reply.Op.Client != 0 {
			w.violated("lost: r%d applies %v, which was reported lost", r.id, reply.Op)
		}
		if reply.Op == w.attempt.op && reply.Op.Client != 0 && reply.Err == nil {
			w.attempt.isApplied = true
			if w.attempt.never {
				w.violated("outcome: r%d applies an attempt of which %s said \"never\"", r.id, w.attempt.saidAt)
			}
		}
	}
	// Of what a split cut off the other side has the data; nothing may be written here behind it.
	if _, isSplit := res.Event.(*apply.Split); isSplit {
		r.data.DeleteRange(shard.Range{Start: r.machine.Desc.Range.End, End: w.desc.Range.End})
	}
	_ = r.data.Scan(w.desc.Range, func(k shard.Key, _ []byte) bool {
		if r.machine.Desc.CheckKey(k) != nil {
			w.violated("range: r%d has a key outside of %s", r.id, r.machine.Desc.Range)
		}
		return true
	})
}
