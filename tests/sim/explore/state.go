package explore

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// kind is what an event is.
type kind uint8

const (
	delivers kind = iota // a message
	syncs                // the oldest append of a replica
	applies              // the oldest apply of a replica
)

// event is something that was asked for and has not happened yet.
type event struct {
	kind   kind
	at     uint64 // the replica
	frame  []byte // of a message
	what   string // of a message
	parked bool   // put off until nothing else is left
}

// state is a moment of a scenario. It cannot be copied, since raft cannot: to come back to one, what led to it is done
// again.
type state struct {
	desc     *shard.Descriptor
	now      group.Instant
	replicas []*replica
	events   []event
	left     Budget
	folds    bool
	script   []string // what happened, for people; nil if nobody asks
	telling  bool

	seq     uint64
	reads   uint64
	attempt attempt

	// What was seen, over all lives.
	leaders  map[uint64]uint64 // by term
	solid    map[uint64]solid  // applied anywhere, by index
	lost     map[call.OpID]bool
	violence string // the first violation
}

// attempt is a write that a client made and knows no answer of: it may arrive late, and is asked about.
type attempt struct {
	op        call.OpID
	term      uint64 // of the leader that it names; 0: none was made
	since     uint64 // the applied index that it names
	arrived   bool
	never     bool // "never" was answered
	saidAt    string
	isApplied bool
}

// solid is what the replicas made of an entry.
type solid struct {
	term  uint64
	data  string
	state uint64 // hash of the machine behind it
}

// Budget is how often each thing may happen.
type Budget struct {
	Elapses, Campaigns, Crashes, Drops, Proposals, Reads, Transfers, Splits, Attempts, Asks int
}

// conf is raft's configuration.
func (w *state) conf() *pb.ConfState {
	var ids []uint64
	for _, r := range w.desc.Replicas {
		ids = append(ids, uint64(r.ID))
	}
	return pb.EnsureConfState(&pb.ConfState{Voters: ids})
}

func key(s string) shard.Key { return shard.RawKey([]byte(s)) }

// newState makes a group whose first replica leads, with nothing under way.
func newState(s *Scenario, telling bool) *state {
	w := &state{now: 1000 * tick, folds: s.Folds, leaders: make(map[uint64]uint64), solid: make(map[uint64]solid), lost: make(map[call.OpID]bool), telling: telling,
		desc: &shard.Descriptor{ID: 1010, Range: shard.Range{Start: key(""), End: key("z")}, Epoch: shard.Epoch{ConfVer: 1, Version: 1}}}
	for i := range s.Voters {
		w.desc.Replicas = append(w.desc.Replicas, shard.Replica{ID: shard.ReplicaID(i + 1), Store: shard.StoreID(i + 1), Role: shard.Voter})
	}
	for i := range s.Voters {
		rate := 1.0
		if s.Drift {
			rate = []float64{1 - maxDrift/2, 1, 1 + maxDrift/2}[i%3]
		}
		w.replicas = append(w.replicas, newReplica(w, uint64(i+1), rate))
	}
	w.elapse()
	w.campaign(w.replicas[0])
	w.quiet()
	w.elapse()
	if !w.replicas[0].g.Leading() {
		panic("explore: the first replica does not lead")
	}
	w.left = s.Budget
	return w
}

// quiet does everything that is under way, in order.
func (w *state) quiet() {
	for len(w.events) > 0 {
		w.run(0)
	}
}

func (w *state) tell(format string, args ...any) {
	if w.telling {
		w.script = append(w.script, fmt.Sprintf(format, args...))
	}
}

func (w *state) violated(format string, args ...any) {
	if w.violence == "" {
		w.violence = fmt.Sprintf(format, args...)
		w.tell("VIOLATED %s", w.violence)
	}
}

func (w *state) ask(e event) { w.events = append(w.events, e) }

// send puts messages on the network, and notes what they promise.
func (w *state) send(msgs []*pb.Message) {
	for _, m := range msgs {
		w.replicas[m.GetFrom()-1].promise.note(w, m)
		e := event{kind: delivers, at: m.GetTo(), frame: group.AppendMessage(nil, w.desc.ID, m)}
		if w.telling {
			e.what = strings.Join(strings.Fields(raft.DescribeMessage(m, func(b []byte) string { return fmt.Sprintf("%d bytes", len(b)) })), " ")
		}
		w.ask(e)
	}
}

// forget drops what a crash takes from the events of a replica. Messages stay: they may arrive after their sender died.
func (w *state) forget(id uint64) {
	kept := w.events[:0]
	for _, e := range w.events {
		if e.kind == delivers || e.at != id {
			kept = append(kept, e)
		}
	}
	w.events = kept
}

// run lets an event happen.
func (w *state) run(i int) {
	e := w.events[i]
	w.events = append(w.events[:i:i], w.events[i+1:]...)
	r := w.replicas[e.at-1]
	switch e.kind {
	case syncs:
		w.tell("r%d syncs", e.at)
		r.synced()
	case applies:
		w.tell("r%d applies", e.at)
		r.applied()
	case delivers:
		err := group.DecodeFrame(e.frame, func(_ shard.ID, m *pb.Message) error { return r.g.Step(m, r.clock()) })
		w.tell("deliver %s (%v)", e.what, err)
	}
	r.settle()
}

// elapse lets an election timeout pass.
func (w *state) elapse() {
	w.tell("an election timeout passes")
	w.now += (electionTicks + 1) * tick
}

func (w *state) campaign(r *replica) {
	w.tell("r%d campaigns: %v", r.id, r.g.Campaign(r.clock()))
	r.settle()
}

// propose puts a write into the log, cut for the range as the proposer knows it.
func (w *state) propose(r *replica) {
	w.seq++
	op := call.OpID{Client: 1, Seq: w.seq}
	w.tell("r%d proposes %d: %v", r.id, op.Seq, r.g.Propose(r.entryOf(op), op))
	r.settle()
}

// entryOf is an entry with one write. Its key lies behind where splits cut.
func (r *replica) entryOf(op call.OpID) []byte {
	b := apply.NewData(nil, apply.Header{Eval: apply.EvalVersion, Epoch: r.machine.Desc.Epoch})
	c := raw.Command{Ops: []raw.Op{{Kind: raw.Put, Key: key("t"), Value: fmt.Append(nil, op.Seq)}}}
	b.Add(op, c.Append(nil))
	return b.Entry()
}

func (w *state) split(r *replica) {
	ids := []shard.SplitID{{Shard: 1020}}
	for _, o := range r.machine.Desc.Replicas {
		ids[0].Replicas = append(ids[0].Replicas, o.ID+100)
	}
	data := apply.EncodeSplit(apply.Header{Eval: apply.EvalVersion, Epoch: r.machine.Desc.Epoch}, []shard.Key{key("m")}, ids)
	w.seq++
	w.tell("r%d proposes a split: %v", r.id, r.g.Propose(data, call.OpID{Client: 2, Seq: w.seq}))
	r.settle()
}

// read begins a round.
func (w *state) read(r *replica) {
	w.reads++
	newest := uint64(0)
	// in any order: the largest
	for i := range w.solid {
		newest = max(newest, i)
	}
	err := r.g.ReadIndex(w.reads, r.clock())
	if err == nil {
		r.rounds[w.reads] = newest
	}
	w.tell("r%d reads: %v", r.id, err)
	r.settle()
}

func (w *state) transfer(r *replica, to uint64) {
	if !bug.LeaseOverTransfer.On() {
		r.lease = 0
	}
	w.tell("r%d transfers to r%d: %v", r.id, to, r.g.TransferLeader(shard.ReplicaID(to)))
	r.settle()
}

// try is a client's attempt, which names the leader's term; it arrives later, or never.
func (w *state) try(r *replica) {
	w.attempt = attempt{op: call.OpID{Client: 3, Seq: 1}, term: r.g.Term(), since: r.machine.Applied.Index}
	w.tell("a client sends an attempt to the leader of term %d", w.attempt.term)
}

// arrive brings the attempt to a leader, which takes it in its own term only and if it has not said "never".
func (w *state) arrive(r *replica) {
	a := &w.attempt
	a.arrived = true
	if !r.g.Leading() || r.g.Term() != a.term || r.cancelled[a.op] {
		w.tell("r%d refuses the attempt", r.id)
		return
	}
	w.tell("r%d proposes the attempt: %v", r.id, r.g.Propose(r.entryOf(a.op), a.op))
	r.settle()
}

// outcome asks a leader what became of the attempt (rule 9).
func (w *state) outcome(r *replica) {
	a := &w.attempt
	say := "not ready"
	switch {
	case !r.g.Leading() || r.g.Muted() || a.term > r.g.Term():
	case a.term != r.g.Term() && !r.g.AppliedOwnTerm() && !bug.NeverTooEarly.On():
	default:
		last := r.g.LastIndex()
		if a.term != r.g.Term() {
			last = r.machine.Applied.Index
		}
		if r.finds(a.op, a.since, last) {
			say = "found"
			break
		}
		say = "never"
		a.never, a.saidAt = true, fmt.Sprintf("r%d in term %d", r.id, r.g.Term())
		if a.term == r.g.Term() && !bug.NeverForgotten.On() {
			r.cancelled[a.op], r.cancelledTerm = true, a.term
		}
	}
	w.tell("r%d is asked for the outcome: %s", r.id, say)
	if a.never && a.isApplied {
		w.violated("outcome: %s said \"never\" of an attempt that was applied", a.saidAt)
	}
}

// finds looks for an attempt in the log.
func (r *replica) finds(op call.OpID, since, last uint64) (found bool) {
	for i := since + 1; i <= last; i++ {
		if e := r.entry(i); e != nil {
			apply.Ops(e.GetData(), func(o call.OpID) bool { found = found || o == op; return !found })
		}
	}
	return found
}

// stateOf hashes what a replica has applied.
func (r *replica) stateOf() uint64 {
	h := newHasher()
	h.bytes(r.machine.Applied.Append(nil))
	h.bytes(r.machine.Desc.Append(nil))
	_ = r.data.Scan(shard.Range{}, func(k shard.Key, v []byte) bool {
		h.bytes(k)
		h.bytes(v)
		return true
	})
	return h.sum
}

// hash is everything that the future depends on, and what violations are found by.
func (w *state) hash() uint64 {
	h := newHasher()
	for _, r := range w.replicas {
		h.walkGroup(r.g)
		h.number(r.stateOf())
		hs, _, _ := r.disk.InitialState()
		h.number(hs.GetTerm(), hs.GetVote(), hs.GetCommit(), uint64(r.lease), r.cancelledTerm, uint64(len(r.cancelled)))
		last, _ := r.disk.LastIndex()
		if es, err := r.disk.Entries(firstIndex+1, last+1, math.MaxUint64); err == nil {
			h.entries(es)
		}
		for _, a := range r.appends {
			h.number(1, a.Term, a.Vote, a.Commit, uint64(len(a.Responses)), uint64(len(a.Hold)))
			h.entries(a.Entries)
		}
		for _, a := range r.applies {
			h.number(2)
			h.entries(a.Entries)
		}
		h.each(r.rounds)
		h.number(r.promise.term, r.promise.acked, r.promise.acks)
		h.each(r.promise.votes)
	}
	for _, e := range w.events {
		h.number(uint64(e.kind), e.at, boolean(e.parked))
		h.bytes(e.frame)
	}
	h.value(w.left)
	h.value(w.attempt)
	h.number(uint64(w.now), w.seq, w.reads)
	h.each(w.leaders)
	for i := uint64(firstIndex + 1); ; i++ {
		s, ok := w.solid[i]
		if !ok {
			break
		}
		h.number(s.term, s.state)
		h.bytes([]byte(s.data))
	}
	return h.sum
}

func boolean(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// sameData compares the bytes of entries.
func sameData(a string, b []byte) bool { return bytes.Equal([]byte(a), b) }
