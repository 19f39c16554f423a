package badinput

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/skerrydb/skerry/internal/codec"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	placementv1 "github.com/skerrydb/skerry/proto/skerry/placement/v1"
	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
	"github.com/skerrydb/skerry/raftstore/group"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// What no client of ours sends.

// dial is a connection of its own to an address.
func (r *run) dial(addr string) *grpc.ClientConn {
	r.Helper()
	const any = 1 << 30
	cc, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(any), grpc.MaxCallRecvMsgSize(any)))
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = cc.Close() })
	return cc
}

// wireError is what a server answers, typed if it sent a typed error along.
func wireError(err error, trailer metadata.MD) error {
	if v := trailer.Get("skerry-error-bin"); len(v) > 0 {
		d := codec.Decoder{B: []byte(v[0])}
		if typed := call.ReadError(&d); d.Done() == nil && typed != nil {
			return typed
		}
	}
	return fmt.Errorf("%s", status.Convert(err).Message())
}

// headers are the pairs of a stream's header.
func headers(pairs ...any) metadata.MD {
	var texts []string
	for _, p := range pairs {
		texts = append(texts, fmt.Sprint(p))
	}
	return metadata.Pairs(texts...)
}

// kvStream sends frames on a client's stream and returns how the server ends it.
func (r *run) kvStream(h metadata.MD, frames ...[]byte) error {
	r.Helper()
	stream, err := kvv1.NewKVClient(r.dial(r.of().c.Addrs()[0])).Stream(metadata.NewOutgoingContext(r.ctx(), h))
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range frames {
		_ = stream.Send(&kvv1.Frame{Data: f}) // Recv says why not
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return wireError(err, stream.Trailer())
		}
	}
}

// firstStore is the store of the first node.
func (r *run) firstStore() uint64 {
	r.Helper()
	info, err := r.of().conns.Node(r.of().c.Addrs()[0]).Info(r.ctx())
	if err != nil || len(info.Stores) != 1 {
		r.Fatal(info, err)
	}
	return uint64(info.Stores[0])
}

// raftStream sends frames of another store to a node, and returns how it ends the stream.
func (r *run) raftStream(addr string, h metadata.MD, frames ...[]byte) error {
	r.Helper()
	stream, err := raftv1.NewRaftClient(r.dial(addr)).Frames(metadata.NewOutgoingContext(r.ctx(), h))
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range frames {
		_ = stream.Send(&raftv1.Frame{Data: f}) // CloseAndRecv says why not
	}
	if _, err := stream.CloseAndRecv(); err != nil {
		return wireError(err, stream.Trailer())
	}
	return nil
}

// raftFrames sends frames to the store that leads the shard of canaries, as if they came from another store of the cluster.
func (r *run) raftFrames(frames ...[]byte) error {
	r.Helper()
	s, addr := r.leader("canary/0")
	info, err := r.of().conns.Node(addr).Info(r.ctx())
	if err != nil {
		r.Fatal(err)
	}
	from := s.Replicas[0].Store
	if from == s.Leader.Store {
		from = s.Replicas[1].Store
	}
	return r.raftStream(addr, headers("skerry-store", uint64(s.Leader.Store), "skerry-from", uint64(from), "skerry-cluster", uint64(info.Cluster)), frames...)
}

// shortContexts are raft heartbeat responses with contexts that raft does not expect, from every other replica of a shard to its
// leader, in the leader's term.
func (r *run) shortContexts() (out [][]byte) {
	r.Helper()
	if err := r.db().Put(r.ctx(), []byte("awake"), nil); err != nil {
		r.Fatal(err)
	}
	if _, err := r.db().Get(r.ctx(), []byte("awake")); err != nil { // by a round of heartbeats, or a lease that one gave
		r.Fatal(err)
	}
	s := r.shard("canary/0")
	for _, from := range s.Replicas {
		for n := range 17 {
			m := &raftpb.Message{Type: raftpb.MsgHeartbeatResp.Enum(), From: new(uint64(from.ID)), To: new(uint64(s.Leader.ID)),
				Term: new(s.Term), Context: make([]byte, n)}
			if from.ID != s.Leader.ID {
				out = append(out, append(group.AppendMessage(nil, s.ID, m), 1))
			}
		}
	}
	return out
}

// order sends placement an order that is not in our words.
func (r *run) order(text string) error {
	r.Helper()
	var trailer metadata.MD
	_, err := placementv1.NewPlacementClient(r.dial(r.of().c.Addrs()[0])).Administer(r.ctx(),
		&placementv1.AdministerRequest{Order: []byte(text)}, grpc.Trailer(&trailer))
	if err == nil {
		return nil
	}
	return wireError(err, trailer)
}

// getBody is a query for a key.
func getBody(key string) []byte {
	return (&raw.Query{Kind: raw.Get, Keys: []shard.Key{shard.RawKey([]byte(key))}}).Append(nil)
}

// slowReader asks for far more than fits a stream's window and reads none of it; others are served meanwhile, and then it
// gets all its answers.
func (r *run) slowReader() error {
	const asked, size = 64, 512 << 10
	r.Helper()
	if err := r.db().Put(r.ctx(), []byte("slow"), make([]byte, size)); err != nil {
		return err
	}
	s, addr := r.leader("slow")
	stream, err := kvv1.NewKVClient(r.dial(addr)).Stream(metadata.NewOutgoingContext(r.ctx(), headers("skerry-store", uint64(s.Leader.Store))))
	if err != nil {
		return err
	}
	for i := range asked {
		req := &call.Request{Kind: call.Read, Shard: s.ID, Epoch: s.Epoch, Timeout: patience, Body: getBody("slow")}
		if err := stream.Send(&kvv1.Frame{Data: call.AppendRequest(nil, uint64(i+1), req)}); err != nil {
			return err
		}
	}
	for range 100 {
		began := time.Now()
		if _, err := r.db().Get(r.ctx(), []byte("canary/0")); err != nil {
			return err
		}
		if took := time.Since(began); took > 5*time.Second {
			return fmt.Errorf("beside a slow reader a read took %s", took)
		}
	}
	answered := 0
	for answered < asked {
		f, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("after %d answers: %w", answered, err)
		}
		err = call.DecodeReplies(f.GetData(), func(_ uint64, rep *call.Reply) error {
			answered++
			if errors.As(rep.Err, new(*shard.NotLeaderError)) { // by then another one leads, which is an answer, too
				return nil
			}
			return rep.Err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// silentStreams opens streams that say nothing and never end.
func (r *run) silentStreams() error {
	const many = 200
	cc := r.dial(r.of().c.Addrs()[0])
	for range many {
		if _, err := kvv1.NewKVClient(cc).Stream(metadata.NewOutgoingContext(r.ctx(), headers("skerry-store", r.firstStore()))); err != nil {
			return err
		}
	}
	_, err := r.db().Get(r.ctx(), []byte("canary/0"))
	return err
}

// mute is a server that takes connections and says nothing.
func (r *run) mute() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

// web is a server of something else.
func (r *run) web() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = s.Serve(l) }()
	r.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}
