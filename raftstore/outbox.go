package raftstore

import (
	"go.etcd.io/raft/v3/raftpb"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
)

// Frames between stores end with one byte that says what they hold.
const (
	frameRaft    byte = 1 // raft messages, encoded by package group
	frameLive    byte = 2 // one store heartbeat to another store, see liveness.go
	frameControl byte = 3 // sleep and destroy, see control.go
	frameSpace   byte = 4 // the sender's disk is nearly full, see space.go
	frameCompare byte = 5 // sums of replicas, and verdicts over them, see comparison.go
)

// maxFrameBytes closes a frame to further messages. One message of any size still fits.
const maxFrameBytes = 4 << 20

// outbox gathers what goes to other stores in one pass: one frame per store and stream. Few stores, so a slice.
type outbox struct {
	frames []outFrame
}

type outFrame struct {
	to     shard.StoreID
	urgent bool
	buf    []byte
	last   int // bytes of the frame before
}

// minFrameBytes is the least room that a frame is made with.
const minFrameBytes = 512

// add encodes a message at once: raft may change its entries later.
func (o *outbox) add(s *Store, id shard.ID, m *raftpb.Message) {
	to, ok := s.storeOf(shard.ReplicaID(m.GetTo()), id)
	if !ok {
		return // the replica is gone; raft learns that by membership
	}
	f := o.frame(to, isUrgent(m))
	if f.buf == nil {
		f.buf = buffer.Frames.Grow(nil, max(f.last, minFrameBytes))
	}
	f.buf = group.AppendMessage(buffer.Frames.Grow(f.buf, group.MessageRoom(m)), id, m)
	if len(f.buf) >= maxFrameBytes {
		f.flush(s)
	}
}

// frame is the open frame to a store, begun if there is none.
func (o *outbox) frame(to shard.StoreID, urgent bool) *outFrame {
	for i := range o.frames {
		f := &o.frames[i]
		if f.to == to && f.urgent == urgent {
			return f
		}
	}
	o.frames = append(o.frames, outFrame{to: to, urgent: urgent})
	return &o.frames[len(o.frames)-1]
}

// flush sends the frames.
func (o *outbox) flush(s *Store) {
	for i := range o.frames {
		if f := &o.frames[i]; f.buf != nil {
			f.flush(s)
		}
	}
}

func (f *outFrame) flush(s *Store) {
	frame := append(f.buf, frameRaft)
	f.last, f.buf = len(frame), nil
	s.send(f.to, f.urgent, frame)
}

// isUrgent keeps what decides over leadership out of the way of entries.
func isUrgent(m *raftpb.Message) bool {
	switch m.GetType() {
	case raftpb.MsgApp, raftpb.MsgAppResp, raftpb.MsgSnap:
		return false
	}
	return true
}

// send hands a frame to the transport, unless this store has no right to speak (rule 5).
func (s *Store) send(to shard.StoreID, urgent bool, frame []byte) {
	if s.hung.Load() || s.stopped() {
		return
	}
	s.metrics.sentFrames.Add(1)
	s.transport.Send(to, urgent, frame)
}
