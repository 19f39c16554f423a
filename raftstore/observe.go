package raftstore

import (
	"hash/fnv"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/raftstore/apply"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// Observer watches what the replicas of a store do, for monitors from outside: the simulator's. Production has none. Its
// methods are called on workers, may not block, and may not call the store.
type Observer interface {
	// Started says what a replica begins with, in this life of the process.
	Started(rs *engine.ReplicaState)
	// Applied is called for each entry, before its effects are visible. entry is a hash of its type and data, effect one
	// of what came out.
	Applied(id shard.ID, rep shard.ReplicaID, index, term, entry, effect uint64)
	// Installed is called when a snapshot has replaced a replica's state.
	Installed(id shard.ID, rep shard.ReplicaID, index, term uint64)
	// Led is called when a replica has become leader of a term.
	Led(id shard.ID, rep shard.ReplicaID, term uint64)
	// Leased is called when a replica may answer reads alone until a time of its machine's clock; zero takes it back.
	Leased(id shard.ID, rep shard.ReplicaID, term uint64, until env.Time)
	// Destroyed is called when a replica is removed for good.
	Destroyed(id shard.ID, rep shard.ReplicaID)
}

func (s *Store) observeApplied(r *replica, e *raftpb.Entry, res *apply.Result) {
	o := s.opt.Observer
	if o == nil {
		return
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte{byte(e.GetType())})
	_, _ = h.Write(e.GetData())
	entry := h.Sum64()
	h.Reset()
	for i := range res.Replies {
		rep := &res.Replies[i]
		_, _ = h.Write(rep.Body)
		if rep.Err != nil {
			_, _ = h.Write([]byte(rep.Err.Error()))
		}
	}
	o.Applied(r.id, r.self, e.GetIndex(), e.GetTerm(), entry, h.Sum64())
}

func (r *replica) observeLease(term uint64, until env.Time) {
	if o := r.w.store.opt.Observer; o != nil {
		o.Leased(r.id, r.self, term, until)
	}
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
