package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/env"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Header names of streams.
const (
	headerStore   = "skerry-store"
	headerFrom    = "skerry-from"
	headerCluster = "skerry-cluster"
)

var errClosed = shard.ErrClosed

// reconnectWait keeps a caller that is refused at once from dialling in a circle.
const reconnectWait = 20 * time.Millisecond

// Calls is a client's way to stores: one stream per store carries all of its calls. Safe for concurrent use.
type Calls struct {
	env    env.Env
	conns  *Conns
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	streams map[streamKey]*callStream

	waiters sync.Pool // of *waiter
}

type streamKey struct {
	addr  string
	store shard.StoreID
}

// NewCalls makes calls over conns.
func NewCalls(e env.Env, conns *Conns) *Calls {
	ctx, cancel := context.WithCancel(context.Background())
	return &Calls{env: e, conns: conns, ctx: ctx, cancel: cancel, streams: make(map[streamKey]*callStream)}
}

// Close ends all streams; waiting calls get ErrUnavailable.
func (c *Calls) Close() { c.cancel() }

// Call sends a request to a store at an address and waits for its reply. The reply's error is ErrUnavailable, wrapped
// with why, if there was none: whether the store got the request is not known. It is ctx's error if ctx ended.
func (c *Calls) Call(ctx context.Context, addr string, store shard.StoreID, req *call.Request) call.Reply {
	w := c.waiter()
	w.one[0] = call.Reply{}
	again := c.stream(addr, store).call(ctx, w, req, nil, w.one[:])
	rep := w.one[0]
	if again {
		c.waiters.Put(w)
	}
	return rep
}

// CallMany is Call for several requests, which travel together: it returns once all have their replies in reps.
func (c *Calls) CallMany(ctx context.Context, addr string, store shard.StoreID, reqs []*call.Request, reps []call.Reply) {
	if w := c.waiter(); c.stream(addr, store).call(ctx, w, nil, reqs, reps) {
		c.waiters.Put(w)
	}
}

// stream is the one to a store at an address.
func (c *Calls) stream(addr string, store shard.StoreID) *callStream {
	key := streamKey{addr, store}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[key]
	if s == nil || s.broken() {
		s = &callStream{calls: c, key: key, out: gather{wake: c.env.NewEvent("send")}, waiting: make(map[uint64]place)}
		c.streams[key] = s
		c.env.Go("call-stream", s.run)
	}
	return s
}

// callStream multiplexes calls on one stream. When the stream breaks, everyone who waits on it gets ErrUnavailable, and
// the next call makes a new one.
type callStream struct {
	calls *Calls
	key   streamKey
	out   gather

	lent atomic.Int32 // calls under way that give back what they get

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]place // of replies, by the id of the request
	err     error
}

// waiter is who waits for replies. It is used again after its token was taken: only who took the last one out of waiting wakes
// it.
type waiter struct {
	done env.Event
	one  [1]call.Reply // of who waits for no more

	// Under the stream's mu.

	reps []call.Reply
	left int  // that are waited for
	lend bool // the replies' rooms are given back
}

// place is where a reply goes.
type place struct {
	w  *waiter
	at int // in w.reps
}

func (c *Calls) waiter() *waiter {
	if w, ok := c.waiters.Get().(*waiter); ok {
		return w
	}
	return &waiter{done: c.env.NewEvent("call")}
}

func (s *callStream) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// call sends one request, or many, and waits until all replies are in reps, or ctx ends. It reports whether w is free again.
func (s *callStream) call(ctx context.Context, w *waiter, one *call.Request, many []*call.Request, reps []call.Reply) bool {
	s.mu.Lock()
	if err := s.err; err != nil {
		s.mu.Unlock()
		fill(reps, err)
		return true
	}
	first := s.next + 1
	s.next += uint64(len(reps))
	w.reps, w.left, w.lend = reps, len(reps), one != nil && one.Lend
	for i := range reps {
		s.waiting[first+uint64(i)] = place{w, i}
	}
	s.mu.Unlock()
	if w.lend {
		s.lent.Add(1)
		defer s.lent.Add(-1)
	}
	if one != nil {
		s.send(one.Lazy, requestBytes+len(one.Body), func(b []byte) []byte { return call.AppendRequest(b, first, one) })
	} else {
		s.send(false, bytesOf(many), func(b []byte) []byte {
			for i, req := range many {
				b = call.AppendRequest(b, first+uint64(i), req)
			}
			return b
		})
	}
	if err := w.done.Wait(ctx, 0); err != nil {
		s.giveUp(first, w, err)
		return false
	}
	w.reps = nil
	return true
}

// giveUp ends a wait: replies that did not come are err.
func (s *callStream) giveUp(first uint64, w *waiter, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range w.reps {
		id := first + uint64(i)
		if _, waits := s.waiting[id]; waits {
			delete(s.waiting, id)
			w.reps[i] = call.Reply{Err: err}
		}
	}
	w.reps = nil
}

// fill makes err the reply to everything.
func fill(reps []call.Reply, err error) {
	for i := range reps {
		reps[i] = call.Reply{Err: err}
	}
}

// took gives a reply to who waits for it, and returns that waiter if it was his last one. It is called under mu.
func (p place) took(rep *call.Reply) *waiter {
	p.w.reps[p.at] = *rep
	if p.w.left--; p.w.left > 0 {
		return nil
	}
	return p.w
}

// requestBytes is about what a request takes in a frame besides its body.
const requestBytes = 64

// bytesOf is about what requests take in a frame.
func bytesOf(reqs []*call.Request) int {
	n := requestBytes * len(reqs)
	for _, req := range reqs {
		n += len(req.Body)
	}
	return n
}

// send has some n bytes of requests sent: with the next one, if they are lazy, or after lazyWait.
func (s *callStream) send(lazy bool, n int, f func(b []byte) []byte) {
	if !lazy {
		s.out.add(n, f)
		return
	}
	if timer, _ := s.out.addLazy(n, f); timer {
		s.calls.env.Go("lazy-call", func() {
			_ = s.calls.env.Sleep(s.calls.ctx, lazyWait)
			s.out.flush()
		})
	}
}

// run connects and then sends whatever has gathered, in one frame each time.
func (s *callStream) run() {
	ctx, cancel := context.WithCancel(s.calls.ctx)
	defer cancel()
	stream, err := s.connect(ctx)
	if err != nil {
		_ = s.calls.env.Sleep(ctx, reconnectWait)
		s.fail(err)
		return
	}
	s.calls.env.Go("call-replies", func() {
		s.receive(stream)
		cancel()
	})
	defer s.out.close()
	for s.out.wake.Wait(ctx, 0) == nil {
		s.calls.env.Yield() // callers that were answered together have their next call in one frame
		for _, f := range s.out.take() {
			if stream.SendMsg(f) != nil {
				return // receive learns why
			}
		}
	}
}

func (s *callStream) connect(ctx context.Context) (kvv1.KV_StreamClient, error) {
	cc, err := s.calls.conns.get(s.key.addr)
	if err != nil {
		return nil, err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, headerStore, fmt.Sprint(uint64(s.key.store)))
	stream, err := kvv1.NewKVClient(cc).Stream(ctx)
	if err != nil {
		return nil, fromStatus(ctx, err, nil, s.what())
	}
	return stream, nil
}

func (s *callStream) what() string { return fmt.Sprintf("call %s at %s", s.key.store, s.key.addr) }

// receive hands replies to their waiters until the stream ends.
func (s *callStream) receive(stream kvv1.KV_StreamClient) {
	in := received{lent: &s.lent}
	for {
		if err := stream.RecvMsg(&in); err != nil {
			s.fail(fromStatus(s.calls.ctx, err, stream.Trailer(), s.what()))
			return
		}
		first := true
		err := call.DecodeReplies(in.data, func(id uint64, rep *call.Reply) error {
			s.answered(id, rep, in.whole(rep.Body, first))
			first = false
			return nil
		})
		if err != nil {
			s.fail(fmt.Errorf("%s: malformed reply: %w", s.what(), shard.ErrUnavailable))
			return
		}
	}
}

// answered hands a reply to who waits for it, and the buffer that it fills, if there is one, to who gives it back.
func (s *callStream) answered(id uint64, rep *call.Reply, room []byte) {
	s.mu.Lock()
	p, ok := s.waiting[id]
	var last *waiter
	if ok {
		delete(s.waiting, id)
		if p.w.lend {
			rep.Room, room = room, nil
		}
		last = p.took(rep)
	}
	s.mu.Unlock()
	if last != nil {
		last.done.Wake()
	}
	if !ok && room != nil {
		buffer.Frames.Give(room)
	}
}

// fail ends the stream for good.
func (s *callStream) fail(err error) {
	// Whatever ended the stream is no answer to the calls that waited on it: what became of each is not known. But a server of
	// another cluster ends a stream before it looks at anything that came on it.
	var foreign *shard.WrongClusterError
	if errors.As(err, &foreign) {
		err = fmt.Errorf("%s: %w", s.what(), foreign)
	} else if err == nil || !errors.Is(err, shard.ErrUnavailable) {
		err = fmt.Errorf("%s: stream ended (%v): %w", s.what(), err, shard.ErrUnavailable)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
	for _, p := range s.waiting {
		if w := p.took(&call.Reply{Err: err}); w != nil {
			w.done.Wake()
		}
	}
	s.waiting = nil
}
