package rpc

import (
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/skerrydb/skerry/shard"
)

// Sizes of gRPC. Windows are large because one stream carries what hundreds of callers ask for; the largest message is
// one value of 8 MiB with its entry, or one full frame behind it.
const (
	windowBytes = 64 << 20
	// receiveBytes is what a caller may send on a stream before the server has taken it: it waits in the server's memory if
	// the server does not read from a stream (see replies.await).
	receiveBytes    = 8 << 20
	bufferBytes     = 128 << 10
	maxMessageBytes = 64 << 20
)

// Conns keeps one connection per address. Connections are made on first use and again after they broke, with backoff.
// Safe for concurrent use.
type Conns struct {
	tls *tls.Config
	// backoff is between attempts to connect; not changed after the first.
	backoff backoff.Config

	cluster atomic.Uint64 // see SetCluster

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

// NewConns makes an empty set. cfg nil is plain text. Without a ServerName in it each server's certificate must be valid
// for the host that was dialled.
func NewConns(cfg *tls.Config) *Conns {
	// A store that comes back is wanted at once: wait at most a second.
	return &Conns{tls: cfg, conns: make(map[string]*grpc.ClientConn),
		backoff: backoff.Config{BaseDelay: minReconnect, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnect}}
}

// get returns the connection to an address.
func (c *Conns) get(addr string) (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	if cc := c.conns[addr]; cc != nil {
		return cc, nil
	}
	cc, err := grpc.NewClient("passthrough:///"+addr, append(newWatched(addr, c.tls).options(),
		grpc.WithChainUnaryInterceptor(c.nameUnary), grpc.WithChainStreamInterceptor(c.nameStream),
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithReadBufferSize(bufferBytes), grpc.WithWriteBufferSize(bufferBytes), experimental.WithBufferPool(buffers),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes), grpc.ForceCodecV2(frames)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second, Backoff: c.backoff}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	c.conns[addr] = cc
	return cc, nil
}

// retry has an address whose connection fails tried at once by its next call: a connection that waits before it is tried again gives way to
// a new one. gRPC's own ResetConnectBackoff walks through a map that a connection which is being made changes (as of v1.85.0), which ends the
// process.
func (c *Conns) retry(addr string) {
	c.mu.Lock()
	cc := c.conns[addr]
	failing := cc != nil && cc.GetState() == connectivity.TransientFailure
	if failing {
		delete(c.conns, addr)
	}
	c.mu.Unlock()
	if failing {
		_ = cc.Close() // its calls fail at once as it is
	}
}

// SetCluster says which cluster the other sides must be of: from then on a server of another one refuses every call, because
// an address may have been given to somebody else, with stores and shards of the same numbers. Zero, as at the beginning, is
// any cluster.
func (c *Conns) SetCluster(id shard.ClusterID) { c.cluster.Store(uint64(id)) }

// named adds the cluster to a call's header, unless the caller did.
func (c *Conns) named(ctx context.Context) context.Context {
	id := c.cluster.Load()
	if md, _ := metadata.FromOutgoingContext(ctx); id == 0 || len(md.Get(headerCluster)) > 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, headerCluster, strconv.FormatUint(id, 10))
}

func (c *Conns) nameUnary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	return invoke(c.named(ctx), method, req, reply, cc, opts...)
}

func (c *Conns) nameStream(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return open(c.named(ctx), d, cc, method, opts...)
}

// Close closes all connections; calls under way end with ErrUnavailable.
func (c *Conns) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, cc := range c.conns {
		_ = cc.Close()
	}
	c.conns = nil
	return nil
}
