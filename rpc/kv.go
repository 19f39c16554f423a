package rpc

import (
	"bytes"
	"context"
	"io"
	"strconv"

	"google.golang.org/grpc/metadata"

	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// kvServer serves the streams of clients.
type kvServer struct {
	kvv1.UnimplementedKVServer
	s *Server
}

// A request of which less than one part in pinPart of a large frame is made has a copy of its body: should it wait, it would
// keep all the others' in memory.
const (
	pinFrameBytes = 1 << 20
	pinPart       = 16
)

// Stream takes frames of requests and answers in frames of replies, as they come.
func (k *kvServer) Stream(stream kvv1.KV_StreamServer) error {
	if id, err := headerID(stream.Context(), headerStore); err == nil && shard.StoreID(id) == clockStore {
		return k.serveTimestamps(stream)
	}
	store, err := k.s.storeOf(stream.Context())
	if err != nil {
		return err
	}
	out := newReplies(k.s.env, store.ID(), store.Memory())
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	k.s.env.Go("kv-replies", func() { out.run(ctx, stream) })
	var asks []call.Ask
	for {
		if err := out.await(ctx); err != nil {
			return err
		}
		f, err := stream.Recv()
		if err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		asks = asks[:0]
		room := requestRoom{alone: len(f.GetData()) > pinFrameBytes}
		err = call.DecodeRequests(f.GetData(), func(id uint64, r *call.Request) error {
			req := room.next()
			*req = *r
			if n := len(f.GetData()); n > pinFrameBytes && len(req.Body) < n/pinPart {
				req.Body = bytes.Clone(req.Body)
			}
			asks = append(asks, call.Ask{ID: id, Req: req, To: out})
			return nil
		})
		if err != nil {
			return &shard.InvalidError{Why: "malformed frame: " + err.Error()}
		}
		store.Handle(asks)
		if clear(asks); cap(asks) > maxKeptAsks {
			asks = nil
		}
	}
}

// requestRoom makes room for the requests of one frame, for several at once: those of a small frame keep its bytes in memory
// together anyway.
type requestRoom struct {
	alone bool // each has its own: one that waits would keep what the others hold
	made  int
	free  []call.Request
}

const (
	// maxRequestRoom are made at once, at most.
	maxRequestRoom = 16
	// maxKeptAsks is for how many requests of a frame a stream that rests keeps room.
	maxKeptAsks = 1024
)

func (m *requestRoom) next() *call.Request {
	if m.alone {
		return new(call.Request)
	}
	if len(m.free) == 0 {
		m.free = make([]call.Request, min(max(m.made, 1), maxRequestRoom))
		m.made += len(m.free)
	}
	req := &m.free[0]
	m.free = m.free[1:]
	return req
}

// storeOf finds the store that a stream's header names.
func (s *Server) storeOf(ctx context.Context) (Store, error) {
	id, err := headerID(ctx, headerStore)
	if err != nil {
		return nil, err
	}
	return s.store(shard.StoreID(id))
}

func headerID(ctx context.Context, name string) (uint64, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	v := md.Get(name)
	if len(v) == 0 {
		return 0, &shard.InvalidError{Why: "the stream lacks the header " + name}
	}
	id, err := strconv.ParseUint(v[0], 10, 64)
	if err != nil {
		return 0, &shard.InvalidError{Why: "the header " + name + " is not a number"}
	}
	return id, nil
}
