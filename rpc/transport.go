package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/skerrydb/skerry/internal/budget"
	"github.com/skerrydb/skerry/internal/env"
	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Bounds of what waits for one stream to another store, beside the store's budget of memory. Raft sends again what is
// dropped.
const (
	maxBulkBytes   = 64 << 20
	maxUrgentBytes = 4 << 20
	// smallFrameBytes is up to where a frame may wait also if there is no memory left: it acknowledges, and others give
	// memory back when they hear that.
	smallFrameBytes = 16 << 10
	// linkPart of the share of frames is what those to one store may take, so that one that takes none leaves the others
	// theirs.
	linkPart = 2
)

// Backoff of a stream that broke: a store that restarts is wanted at once, see Reached, one that is gone costs little.
const (
	minReconnect = 50 * time.Millisecond
	maxReconnect = time.Second
)

// Transport implements raftstore.Transport over gRPC. Addresses come from placement, by SetAddr. Safe for concurrent
// use.
type Transport struct {
	env    env.Env
	conns  *Conns
	from   shard.StoreID
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	memory  *budget.Budget // nil: nothing is counted
	cluster shard.ClusterID
	addrs   map[shard.StoreID]string
	streams map[link]*frameStream
	// shortest and longest are how long a stream waits before it is tried again, when it has just broken and when it never holds.
	shortest, longest time.Duration
}

// NewTransport makes the transport of one store.
func NewTransport(e env.Env, conns *Conns, from shard.StoreID, cluster shard.ClusterID) *Transport {
	ctx, cancel := context.WithCancel(context.Background())
	return &Transport{env: e, conns: conns, from: from, cluster: cluster, ctx: ctx, cancel: cancel,
		addrs: make(map[shard.StoreID]string), streams: make(map[link]*frameStream), shortest: minReconnect, longest: maxReconnect}
}

// SetAddr says where a store's node listens. Streams to where it was before end and begin again there: the old node may
// go on without the store, or be silent for long.
func (t *Transport) SetAddr(id shard.StoreID, addr string) {
	t.mu.Lock()
	var moved []*frameStream
	if t.addrs[id] != addr {
		t.addrs[id] = addr
		moved = t.streamsLocked(id)
	}
	t.mu.Unlock()
	for _, s := range moved {
		s.hangUp()
	}
}

// SetMemory has frames that wait take memory from a budget. Call it before the first Send.
func (t *Transport) SetMemory(b *budget.Budget) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.memory = b
}

// SetCluster makes the id known that handshakes carry.
func (t *Transport) SetCluster(id shard.ClusterID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cluster = id
}

// Close ends all streams.
func (t *Transport) Close() { t.cancel() }

func (t *Transport) addr(id shard.StoreID) (string, shard.ClusterID, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.addrs[id]; a != "" {
		return a, t.cluster, nil
	}
	return "", 0, fmt.Errorf("address of %s is not known: %w", id, shard.ErrUnavailable)
}

// Send queues a frame.
func (t *Transport) Send(to shard.StoreID, urgent bool, frame []byte) {
	key := link{t.from, to, urgent}
	t.mu.Lock()
	s := t.streams[key]
	if s == nil {
		s = &frameStream{t: t, key: key, wake: t.env.NewEvent("frames"), again: t.env.NewEvent("again"), limit: maxBulkBytes, memory: t.memory, urgent: urgent}
		switch {
		case urgent:
			s.limit = maxUrgentBytes
		case t.memory != nil:
			s.limit = min(s.limit, int(t.memory.Share(budget.Outbound)/linkPart))
		}
		t.streams[key] = s
		t.env.Go("frames", s.run)
	}
	t.mu.Unlock()
	s.add(frame)
}

// Reached has streams to a store tried at once that wait before they are tried again, and the connection to its node.
func (t *Transport) Reached(id shard.StoreID) {
	t.mu.Lock()
	addr := t.addrs[id]
	t.mu.Unlock()
	t.conns.retry(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.streamsLocked(id) {
		s.again.Wake()
	}
}

// streamsLocked are those to a store.
func (t *Transport) streamsLocked(id shard.StoreID) (out []*frameStream) {
	for _, urgent := range []bool{false, true} {
		if s := t.streams[link{t.from, id, urgent}]; s != nil {
			out = append(out, s)
		}
	}
	return out
}

// frameStream is one stream to another store. While it is broken, frames that wait are dropped after a while, because
// old ones would only delay what raft sends again.
type frameStream struct {
	t     *Transport
	key   link
	wake  env.Event
	again env.Event // not to wait any longer before the next session
	limit int

	memory *budget.Budget // nil: nothing is counted
	urgent bool

	mu    sync.Mutex
	queue [][]byte
	bytes int                // of queue, taken from memory
	end   context.CancelFunc // of the last session, nil before the first
}

// hangUp ends the session, if there is one.
func (s *frameStream) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		s.end()
	}
}

func (s *frameStream) add(frame []byte) {
	s.mu.Lock()
	if !s.holdLocked(len(frame)) {
		s.mu.Unlock()
		return
	}
	s.queue = append(s.queue, frame)
	s.bytes += len(frame)
	first := len(s.queue) == 1
	s.mu.Unlock()
	if first {
		s.wake.Wake()
	}
}

// holdLocked takes memory for a frame, and reports whether it may wait.
//
// INVARIANT: what an election, or an acknowledgement, needs is not refused for want of memory, nor is a frame of any size
// on a stream on which none waits: else entries that fill memory elsewhere might never be replicated.
func (s *frameStream) holdLocked(n int) bool {
	if s.bytes+n > s.limit && len(s.queue) > 0 {
		s.memory.Refuse(budget.Outbound)
		return false
	}
	if s.urgent || n <= smallFrameBytes || len(s.queue) == 0 {
		s.memory.Add(budget.Outbound, int64(n))
		return true
	}
	return s.memory.Take(budget.Outbound, int64(n))
}

// take returns the frames that wait, and how many bytes they took from memory.
func (s *frameStream) take() ([][]byte, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, n := s.queue, s.bytes
	s.queue, s.bytes = nil, 0
	return q, n
}

// flush sends the frames that wait.
func (s *frameStream) flush(stream raftv1.Raft_FramesClient) error {
	queue, n := s.take()
	defer s.memory.Give(budget.Outbound, int64(n))
	for _, b := range queue {
		if err := stream.SendMsg(&frame{bytes: b}); err != nil {
			return err
		}
	}
	return nil
}

// drop forgets the frames that wait.
func (s *frameStream) drop() {
	_, n := s.take()
	s.memory.Give(budget.Outbound, int64(n))
}

// run connects, sends, and connects again, until the transport closes.
func (s *frameStream) run() {
	wait := s.t.shortest
	for s.t.ctx.Err() == nil {
		start := s.t.env.Now()
		s.session()
		if s.t.env.Now().Sub(start) > 2*s.t.longest {
			wait = s.t.shortest
		}
		s.drop() // what waited is old by now
		if s.again.Wait(s.t.ctx, wait) == nil {
			wait = s.t.shortest
			continue
		}
		wait = min(2*wait, s.t.longest)
	}
}

// session is the life of one connection: it returns when the stream breaks.
func (s *frameStream) session() {
	ctx, cancel := context.WithCancel(s.t.ctx)
	defer cancel()
	// The address is read after hangUp can end the session, so that no change of it is missed.
	s.mu.Lock()
	s.end = cancel
	s.mu.Unlock()
	addr, cluster, err := s.t.addr(s.key.to)
	if err != nil {
		return
	}
	cc, err := s.t.conns.get(addr)
	if err != nil {
		return
	}
	ctx = metadata.AppendToOutgoingContext(ctx, headerStore, fmt.Sprint(uint64(s.key.to)),
		headerFrom, fmt.Sprint(uint64(s.key.from)), headerCluster, fmt.Sprint(uint64(cluster)))
	stream, err := raftv1.NewRaftClient(cc).Frames(ctx)
	if err != nil {
		return
	}
	s.t.env.Go("frames-end", func() {
		// The other side says nothing before the end: this returns when the stream breaks.
		_ = stream.RecvMsg(new(raftv1.FramesDone))
		cancel()
		s.wake.Wake()
	})
	for {
		if s.flush(stream) != nil {
			return
		}
		if s.wake.Wait(ctx, 0) != nil {
			return
		}
	}
}

// Call asks another store and waits.
func (t *Transport) Call(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply {
	addr, cluster, err := t.addr(to)
	if err != nil {
		return call.Reply{Err: err}
	}
	cc, err := t.conns.get(addr)
	if err != nil {
		return call.Reply{Err: err}
	}
	if req.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = t.env.WithTimeout(ctx, req.Timeout)
		defer cancel()
	}
	res, err := invoke(ctx, "call "+to.String(), &raftv1.CallRequest{ClusterId: uint64(cluster), ToStoreId: uint64(to),
		Request: call.AppendRequest(nil, 1, req)}, raftv1.NewRaftClient(cc).Call)
	if err != nil {
		return call.Reply{Err: err}
	}
	var out call.Reply
	if err := call.DecodeReplies(res.GetReply(), func(_ uint64, rep *call.Reply) error { out = *rep; return nil }); err != nil {
		return call.Reply{Err: fmt.Errorf("call %s: malformed reply: %w", to, shard.ErrUnavailable)}
	}
	return out
}

// raftServer serves other stores.
type raftServer struct {
	raftv1.UnimplementedRaftServer
	s *Server
}

// Frames takes the frames of another store until it goes away.
func (r *raftServer) Frames(stream raftv1.Raft_FramesServer) error {
	store, from, err := r.handshake(stream.Context())
	if err != nil {
		return err
	}
	for {
		f, err := stream.Recv()
		if err == io.EOF {
			return stream.SendAndClose(&raftv1.FramesDone{})
		}
		if err != nil {
			return err
		}
		store.Receive(from, f.GetData())
	}
}

func (r *raftServer) handshake(ctx context.Context) (Store, shard.StoreID, error) {
	cluster, err := headerID(ctx, headerCluster)
	if err == nil {
		err = r.s.checkCluster(shard.ClusterID(cluster))
	}
	if err != nil {
		return nil, 0, err
	}
	from, err := headerID(ctx, headerFrom)
	if err != nil {
		return nil, 0, err
	}
	store, err := r.s.storeOf(ctx)
	return store, shard.StoreID(from), err
}

// Call answers one question of another store.
func (r *raftServer) Call(ctx context.Context, req *raftv1.CallRequest) (*raftv1.CallReply, error) {
	if err := r.s.checkCluster(shard.ClusterID(req.GetClusterId())); err != nil {
		return nil, err
	}
	store, err := r.s.store(shard.StoreID(req.GetToStoreId()))
	if err != nil {
		return nil, err
	}
	var rep call.Reply
	err = call.DecodeRequests(req.GetRequest(), func(_ uint64, q *call.Request) error {
		one := *q
		rep = store.Do(ctx, &one)
		return nil
	})
	if err != nil {
		return nil, &shard.InvalidError{Why: "malformed request: " + err.Error()}
	}
	if errors.Is(rep.Err, context.DeadlineExceeded) || errors.Is(rep.Err, context.Canceled) {
		return nil, rep.Err // the end of the call, not an answer: a status tells so, a reply would make text of it
	}
	return &raftv1.CallReply{Reply: call.AppendReply(nil, 1, &rep)}, nil
}
