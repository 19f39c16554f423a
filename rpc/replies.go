package rpc

import (
	"context"
	"time"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/env"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Bounds of what one client has not taken yet.
const (
	// streamPart of the share of replies is what one stream may hold: a few clients that take nothing leave the others most
	// of it.
	streamPart = 4
	// takenUnit is in what units a stream takes memory from the store's budget, so that small replies, which are sent at
	// once, do not touch what all streams share.
	takenUnit = 256 << 10
	// pausePart of that has a stream take no more requests: the answers to some of them cannot be refused.
	pausePart = 2
	// replyFrame closes a frame of answers to further ones. gRPC takes one frame more than there is room for in the stream's
	// window, which is not seen to wait any more.
	replyFrame = 256 << 10
	// replyBytes is more than an answer takes beside its body.
	replyBytes = 64
	// bodyBytes is from where on the body of an answer is sent as it is, without being copied into a frame.
	bodyBytes = 4 << 10
	// slowWait is what a client is told to wait whose answers pile up.
	slowWait = 100 * time.Millisecond
)

// replies gathers what is to be said on one client's stream, and accounts for it until it is handed to the network.
//
// What a client does not take piles up here, and nowhere else: gRPC takes a frame only when there is room in the stream's
// window. So answers to reads are refused once they do not fit, and a stream on which answers wait is not read from: the
// client's own window then stops it. Answers to writes, and errors, are never lost, for they say what happened.
type replies struct {
	gather
	store  shard.StoreID
	memory *budget.Budget // nil: nothing is counted
	limit  int64          // of what waits and is sent
	room   env.Event      // something was sent

	// Under gather.mu.

	waiting, sending int64
	taken            int64 // from memory: at least waiting + sending, in whole takenUnits
}

func newReplies(e env.Env, store shard.StoreID, memory *budget.Budget) *replies {
	r := &replies{gather: gather{wake: e.NewEvent("replies"), most: replyFrame}, room: e.NewEvent("room"), store: store, memory: memory}
	if memory != nil {
		r.limit = memory.Share(budget.Replies) / streamPart
	}
	return r
}

// Complete implements call.Completer.
func (r *replies) Complete(id uint64, rep *call.Reply) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	n := int64(len(rep.Body)) + replyBytes
	if rep.Read && rep.Err == nil && !r.fitsLocked(n) {
		r.memory.Refuse(budget.Replies)
		rep = &call.Reply{Err: &shard.ServerBusyError{Store: r.store, Why: "the client does not take its answers", Wait: slowWait}}
		n = replyBytes
	}
	r.holdLocked(n)
	first := r.answerLocked(id, rep)
	r.mu.Unlock()
	if first {
		r.wake.Wake()
	}
}

// answerLocked adds an answer. A long body is not copied.
func (r *replies) answerLocked(id uint64, rep *call.Reply) (first bool) {
	if len(rep.Body) >= bodyBytes {
		return r.addLocked(replyBytes, func(b []byte) []byte { return call.AppendReplyHead(b, id, rep) }, body{data: rep.Body, room: rep.Room})
	}
	first = r.addLocked(replyBytes+len(rep.Body), func(b []byte) []byte { return call.AppendReply(b, id, rep) }, body{})
	if rep.Room != nil {
		buffer.Frames.Give(rep.Room)
	}
	return first
}

// Room implements call.Roomy.
func (r *replies) Room() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fitsLocked(replyBytes)
}

// fitsLocked reports whether an answer of n bytes may wait.
//
// INVARIANT: one answer of any size fits on a stream on which none waits.
func (r *replies) fitsLocked(n int64) bool {
	all := r.waiting + r.sending + n
	if r.memory == nil || all == n {
		return true
	}
	return all <= r.limit && (all <= r.taken || r.memory.Room(budget.Replies))
}

// holdLocked counts n bytes.
func (r *replies) holdLocked(n int64) {
	r.waiting += n
	if more := r.waiting + r.sending - r.taken; more > 0 {
		more = (more + takenUnit - 1) / takenUnit * takenUnit
		r.memory.Add(budget.Replies, more)
		r.taken += more
	}
}

// paused reports whether no more requests are taken for now.
func (r *replies) paused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.memory != nil && !r.closed && r.waiting+r.sending > r.limit/pausePart
}

// await returns when requests may be taken.
func (r *replies) await(ctx context.Context) error {
	for r.paused() {
		if err := r.room.Wait(ctx, 0); err != nil {
			return err
		}
	}
	return nil
}

// run sends what gathers, until the stream ends.
func (r *replies) run(ctx context.Context, stream kvv1.KV_StreamServer) {
	defer r.end()
	for r.wake.Wait(ctx, 0) == nil {
		for _, f := range r.begin() {
			if stream.SendMsg(f) != nil {
				return
			}
		}
		r.sent()
	}
}

// begin takes what is ready.
func (r *replies) begin() []*frame {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sending, r.waiting = r.waiting, 0
	return r.takeLocked()
}

// sent gives back what begin took. One unit is kept for the next answers.
func (r *replies) sent() {
	r.mu.Lock()
	r.sending = 0
	if spare := (r.taken - r.waiting) / takenUnit * takenUnit; spare > takenUnit {
		r.memory.Give(budget.Replies, spare-takenUnit)
		r.taken -= spare - takenUnit
	}
	r.mu.Unlock()
	r.room.Wake()
}

// end drops what is left and gives everything back; nothing more is taken.
func (r *replies) end() {
	r.close()
	r.mu.Lock()
	r.memory.Give(budget.Replies, r.taken)
	r.waiting, r.sending, r.taken = 0, 0, 0
	r.mu.Unlock()
	r.room.Wake()
}
