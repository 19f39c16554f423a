package raftstore

import (
	"encoding/binary"
	"hash/fnv"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Observer watches what the replicas of a store do, for monitors from outside: the simulator's. Production has none. Its
// methods are called on workers, on readers and on the sync loop, may not block, and may not call the store.
type Observer interface {
	// Started says what a replica begins with, in this life of the process.
	Started(rs *engine.ReplicaState)
	// Described is called when a replica that has data takes up a range, before anybody can read or write by it.
	Described(id shard.ID, rep shard.ReplicaID, d *shard.Descriptor)
	// Installed is called when a snapshot has replaced a replica's state, on disk as well: d, whose last entry is of a term.
	Installed(id shard.ID, rep shard.ReplicaID, d Durable, term uint64)
	// Destroyed is called when a replica is removed for good.
	Destroyed(id shard.ID, rep shard.ReplicaID)

	// LogWritten is called when a log batch is handed to the disk, LogSynced when the disk has the n oldest of them.
	LogWritten()
	LogSynced(n int)
	// Durable says what of a replica is on disk from now on, before anything that it promises leaves.
	Durable(id shard.ID, rep shard.ReplicaID, d Durable)

	// Heard is called when a replica has taken a message of a leader of its present term.
	Heard(id shard.ID, rep shard.ReplicaID, term uint64, at env.Time)
	// Led is called when a replica has become leader of a term.
	Led(id shard.ID, rep shard.ReplicaID, term uint64)
	// Leased is called when a replica may answer reads alone until a time of its machine's clock; zero takes it back.
	Leased(id shard.ID, rep shard.ReplicaID, term uint64, until env.Time, d *shard.Descriptor)

	// Applied is called for each entry, before its effects are visible. entry is a hash of its type and data, effect one
	// of what came out: the replies, and the shard's time.
	Applied(id shard.ID, rep shard.ReplicaID, index, term, entry, effect uint64)
	// Executed is called for each command that was not refused, before its effect is visible.
	Executed(x *Execution)
	// Never is called when a client is told that its attempt was not executed and will not be.
	Never(id shard.ID, op call.OpID)

	// Compared is called with what came out of a comparison that this store proposed.
	Compared(c *Comparison)

	// ReadBegan is called when a linearizable read arrives; what it returns is given to ReadServed, which is called when
	// the read is answered from a state that holds everything up to applied.
	ReadBegan(id shard.ID) uint64
	ReadServed(id shard.ID, rep shard.ReplicaID, began, applied uint64)
	// Answered is called with it for a query of a transaction; both are encoded, and the observer's only for the call.
	Answered(id shard.ID, rep shard.ReplicaID, query, answer []byte)
}

// Durable is what a replica has promised to remember.
type Durable struct {
	Term   uint64
	Vote   uint64 // the replica that it voted for in Term; 0: none
	Last   uint64 // index of its log
	Commit uint64
}

// Execution is one command's. Its fields are the observer's only for the call.
type Execution struct {
	Shard   shard.ID
	Replica shard.ReplicaID
	Index   uint64
	Op      call.OpID
	Version uint64 // of the range, as the command was proposed for
	Desc    *shard.Descriptor
	Body    []byte
	Reply   []byte
}

func (s *Store) observeApplied(r *replica, e *raftpb.Entry, before *shard.Descriptor, res *apply.Result) {
	o := s.opt.Observer
	if o == nil {
		return
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(e.GetType())})
	_, _ = h.Write(e.GetData())
	entry := h.Sum64()
	h.Reset()
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(r.machine.Applied.Time)))
	for i := range res.Replies {
		rep := &res.Replies[i]
		_, _ = h.Write(rep.Body)
		if rep.Err != nil {
			_, _ = h.Write([]byte(rep.Err.Error()))
		}
	}
	o.Applied(r.id, r.self, e.GetIndex(), e.GetTerm(), entry, h.Sum64())
	i := 0
	apply.Commands(e.GetData(), func(version uint64, op call.OpID, body []byte) bool {
		if i < len(res.Replies) && res.Replies[i].Err == nil {
			o.Executed(&Execution{Shard: r.id, Replica: r.self, Index: e.GetIndex(), Op: op, Version: version, Desc: before, Body: body, Reply: res.Replies[i].Body})
		}
		i++
		return true
	})
}

func (r *replica) observeLease(term uint64, until env.Time) {
	if o := r.w.store.opt.Observer; o != nil {
		o.Leased(r.id, r.self, term, until, r.machine.Desc)
	}
}

func (s *Store) observeRead(c *Call) {
	if o := s.opt.Observer; o != nil {
		c.began = o.ReadBegan(c.Req.Shard)
	}
}

func (r *replica) observeServed(c *Call, applied uint64, answer []byte) {
	o := r.w.store.opt.Observer
	if o == nil {
		return
	}
	o.ReadServed(r.id, r.self, c.began, applied)
	r.observeAnswered(c, answer)
}

// observeAnswered is observeServed for a read that need not show what was applied elsewhere: see closed.go.
func (r *replica) observeAnswered(c *Call, answer []byte) {
	o := r.w.store.opt.Observer
	if o == nil {
		return
	}
	if c.txn != nil && c.txn.query != nil {
		o.Answered(r.id, r.self, c.Req.Body, answer)
	}
}

func (r *replica) observeHeard(m *raftpb.Message) {
	o := r.w.store.opt.Observer
	if o == nil || m.GetTerm() != r.group.TermNow() {
		return
	}
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgSnap:
		o.Heard(r.id, r.self, m.GetTerm(), r.w.now)
	}
}

// durable is what the disk will hold of r once the present log batch is synced; nil if nothing of r is in it, or
// without an observer.
func (r *replica) durable(a *group.Append) *Durable {
	if r.w.store.opt.Observer == nil || !a.StateChanged && len(a.Entries) == 0 {
		return nil
	}
	d := &Durable{Term: r.hard.Term, Vote: uint64(r.hard.Vote), Last: r.last(), Commit: a.Commit}
	if n := len(a.Entries); n > 0 {
		d.Last = a.Entries[n-1].GetIndex()
	}
	return d
}

// Inspect decodes a frame between stores for somebody who watches the wire: each raft message in it, or the word that a
// replica is gone for good. What cannot be decoded is left out.
func Inspect(frame []byte, raft func(shard.ID, *raftpb.Message), gone func(shard.ID, shard.ReplicaID)) {
	if len(frame) == 0 {
		return
	}
	body := frame[:len(frame)-1]
	switch frame[len(frame)-1] {
	case frameRaft:
		_ = group.DecodeFrame(body, func(id shard.ID, m *raftpb.Message) error { raft(id, m); return nil })
	case frameControl:
		if c, err := decodeControl(body); err == nil && c.kind == controlDestroyed {
			gone(c.shard, c.from)
		}
	}
}
