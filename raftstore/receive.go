package raftstore

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/engine"
	"github.com/skerrydb/skerry/internal/bug"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// Receive takes a frame that another store sent. The frame is the store's from now on: entries alias it.
func (s *Store) Receive(from shard.StoreID, frame []byte) {
	if len(frame) == 0 || s.stopped() {
		return
	}
	var err error
	body := frame[:len(frame)-1]
	switch frame[len(frame)-1] {
	case frameRaft:
		err = s.receiveRaft(from, body)
	case frameLive:
		err = s.live.receive(from, body)
	case frameControl:
		err = s.receiveControl(from, body)
	case frameSpace:
		err = s.live.hearSpace(from, body)
	case frameCompare:
		err = s.receiveComparison(from, body)
	default:
		s.metrics.droppedMessages.Add(1)
	}
	if err != nil {
		s.metrics.droppedMessages.Add(1)
		s.logger.Warn("malformed frame dropped", "from", from, "err", err)
	}
}

func (s *Store) receiveRaft(from shard.StoreID, frame []byte) error {
	lots := make([][]message, len(s.workers))
	err := group.DecodeFrame(frame, func(id shard.ID, m *raftpb.Message) error {
		unpin(m, len(frame))
		w := s.worker(id).index
		lots[w] = append(lots[w], message{id: id, msg: m, from: from})
		return nil
	})
	for i, lot := range lots {
		if len(lot) > 0 {
			s.metrics.droppedMessages.Add(uint64(s.workers[i].postMessages(lot, len(frame))))
		}
	}
	return err
}

// A message of which less than one part in pinPart of a large frame is made takes its entries out of it.
const (
	pinFrameBytes = 128 << 10
	pinPart       = 16
)

// unpin copies the entries of a message that would keep a frame in memory which holds much else. Logs keep their newest
// entries for long: those of a shard of small values would keep all that came beside them for a shard of large ones.
func unpin(m *raftpb.Message, frameBytes int) {
	entries := m.GetEntries()
	if frameBytes < pinFrameBytes || len(entries) == 0 {
		return
	}
	n := 0
	for _, e := range entries {
		n += len(e.GetData())
	}
	if n >= frameBytes/pinPart {
		return
	}
	own := make([]byte, 0, n)
	for _, e := range entries {
		at := len(own)
		own = append(own, e.GetData()...)
		e.Data = own[at:len(own):len(own)]
	}
}

// birth creates an uninitialised replica on the first message for it: it has no data and waits for a snapshot.
//
// INVARIANT (rule 16): never for an id that was removed here, which the tombstone remembers for ever.
func (w *worker) birth(m message) *replica {
	s := w.store
	switch m.msg.GetType() {
	case raftpb.MsgApp, raftpb.MsgHeartbeat, raftpb.MsgVote, raftpb.MsgPreVote:
	default:
		return nil
	}
	to := shard.ReplicaID(m.msg.GetTo())
	if !plausible(uint64(m.id)) || !plausible(m.msg.GetTo()) || !plausible(m.msg.GetFrom()) {
		s.metrics.droppedMessages.Add(1)
		return nil
	}
	if _, dying := w.dying[m.id]; dying {
		return nil // its tombstone may not be there yet; whoever sent this sends again
	}
	next, ok, err := s.engine.Tombstone(m.id)
	if err != nil {
		s.broken("read the tombstone of "+m.id.String(), err)
		return nil
	}
	if ok && to < next && !bug.ForgetTombstone.On() {
		s.sendDestroyed(m.from, m.id, to)
		return nil
	}
	rs := engine.ReplicaState{Shard: m.id, Replica: to, Hard: engine.HardState{Term: birthTerm(m.msg)}}
	b := s.engine.NewStateBatch()
	b.CreateReplica(rs)
	err = b.Commit(true)
	b.Close()
	if err != nil {
		s.broken("create a replica of "+m.id.String(), err)
		return nil
	}
	r, err := s.newReplica(rs, group.Instant(w.now), 0)
	if err != nil {
		s.broken("create a replica of "+m.id.String(), err)
		return nil
	}
	r.turn(lifeMessage)
	s.adopt(r)
	r.peers.Store(&[]shard.Replica{{ID: shard.ReplicaID(m.msg.GetFrom()), Store: m.from}})
	w.rouse(r)
	s.logger.Info("replica born, waits for a snapshot", "shard", m.id, "replica", to, "from", m.from)
	return r
}

// birthTerm is the term that a replica is born in: that of whoever spoke to it. A pre-candidate names the next one, which
// nobody has reached.
//
// INVARIANT (rule 16): it is written with the birth, so a replica that crashes before it has answered anybody still knows a
// term in which, or before which, its addition was committed. By that term it asks whether it was removed (onAsk); without
// one nobody could tell it from a replica that is not yet known to be a member.
func birthTerm(m *raftpb.Message) uint64 {
	if m.GetType() == raftpb.MsgPreVote {
		return m.GetTerm() - min(m.GetTerm(), 1)
	}
	return m.GetTerm()
}

// plausible bounds ids from the network: nothing honest comes near 2^62, and a replica must not be made of nonsense.
func plausible(id uint64) bool { return id != 0 && id <= 1<<62 }

// misdirected answers a message that names another replica id than the one that is here.
func (w *worker) misdirected(r *replica, m message) {
	w.store.metrics.droppedMessages.Add(1)
	if to := shard.ReplicaID(m.msg.GetTo()); to < r.self {
		w.store.sendDestroyed(m.from, m.id, to)
	}
}

// maxLearntPeers bounds whom a replica remembers beyond its descriptor: nobody has more replicas, and the newest speak.
const maxLearntPeers = 16

// learnPeer remembers where a replica is that the descriptor does not know. An uninitialised replica answers whoever
// speaks to it, and so does one that lags behind changes of membership: the leader that could tell it may have been added
// by the first change that it lacks, and sends nothing more until it is answered.
func (r *replica) learnPeer(id shard.ReplicaID, store shard.StoreID) {
	var known []shard.Replica
	if p := r.peers.Load(); p != nil {
		known = *p
	}
	for _, p := range known {
		if p.ID == id && p.Store == store {
			return
		}
	}
	var own []shard.Replica
	if r.born() {
		own = r.machine.Desc.Replicas
	}
	learnt := slices.DeleteFunc(slices.Clone(known[min(len(own), len(known)):]), func(p shard.Replica) bool { return p.ID == id })
	if len(learnt) >= maxLearntPeers {
		learnt = learnt[1:]
	}
	peers := slices.Concat(own, learnt, []shard.Replica{{ID: id, Store: store}})
	r.peers.Store(&peers)
}
