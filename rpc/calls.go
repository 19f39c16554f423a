package rpc

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	key := streamKey{addr, store}
	c.mu.Lock()
	s := c.streams[key]
	if s == nil || s.broken() {
		s = &callStream{calls: c, key: key, out: gather{wake: c.env.NewEvent("send")}, waiting: make(map[uint64]*waiter)}
		c.streams[key] = s
		c.env.Go("call-stream", s.run)
	}
	c.mu.Unlock()
	return s.call(ctx, req)
}

// callStream multiplexes calls on one stream. When the stream breaks, everyone who waits on it gets ErrUnavailable, and
// the next call makes a new one.
type callStream struct {
	calls *Calls
	key   streamKey
	out   gather

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]*waiter
	err     error
}

// waiter is who waits for one reply. It is used again after its token was taken: only who took it out of waiting wakes it.
type waiter struct {
	done env.Event
	rep  call.Reply
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

func (s *callStream) call(ctx context.Context, req *call.Request) call.Reply {
	w := s.calls.waiter()
	s.mu.Lock()
	if s.err != nil {
		err := s.err
		s.mu.Unlock()
		return call.Reply{Err: err}
	}
	s.next++
	id := s.next
	s.waiting[id] = w
	s.mu.Unlock()
	s.send(req.Lazy, func(frame []byte) []byte { return call.AppendRequest(frame, id, req) })
	if err := w.done.Wait(ctx, 0); err != nil {
		s.mu.Lock()
		delete(s.waiting, id)
		s.mu.Unlock()
		return call.Reply{Err: err}
	}
	rep := w.rep
	w.rep = call.Reply{}
	s.calls.waiters.Put(w)
	return rep
}

// send has a request sent: with the next one, if it is lazy, or after lazyWait.
func (s *callStream) send(lazy bool, f func(frame []byte) []byte) {
	if !lazy {
		s.out.add(f)
		return
	}
	if timer, _ := s.out.addLazy(f); timer {
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
		for _, frame := range s.out.take() {
			if stream.Send(&kvv1.Frame{Data: frame}) != nil {
				return // receive learns why
			}
			buffer.Frames.Put(&frame)
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
	for {
		f, err := stream.Recv()
		if err != nil {
			s.fail(fromStatus(s.calls.ctx, err, stream.Trailer(), s.what()))
			return
		}
		err = call.DecodeReplies(f.GetData(), func(id uint64, rep *call.Reply) error {
			s.mu.Lock()
			w := s.waiting[id]
			delete(s.waiting, id)
			s.mu.Unlock()
			if w != nil {
				w.rep = *rep
				w.done.Wake()
			}
			return nil
		})
		if err != nil {
			s.fail(fmt.Errorf("%s: malformed reply: %w", s.what(), shard.ErrUnavailable))
			return
		}
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
	if s.err == nil {
		s.err = err
	}
	waiting := s.waiting
	s.waiting = nil
	s.mu.Unlock()
	for _, w := range waiting {
		w.rep = call.Reply{Err: err}
		w.done.Wake()
	}
}
