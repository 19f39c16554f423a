package rpc

import (
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
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

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

// NewConns makes an empty set. cfg nil is plain text. Without a ServerName in it each server's certificate must be valid
// for the host that was dialled.
func NewConns(cfg *tls.Config) *Conns {
	return &Conns{tls: cfg, conns: make(map[string]*grpc.ClientConn)}
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
		grpc.WithInitialWindowSize(windowBytes), grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithReadBufferSize(bufferBytes), grpc.WithWriteBufferSize(bufferBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
			// A store that comes back is wanted at once: wait at most a second.
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	c.conns[addr] = cc
	return cc, nil
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
