package rpc

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

// watched are the credentials of the connection to one address. They remember why the last attempt to speak securely
// failed, because gRPC tells callers only a text of it, and of a refusal by the server, which comes after the caller's
// part of the handshake, often not even that.
type watched struct {
	credentials.TransportCredentials
	addr string
	tls  *tls.Config // nil: plain text
	last *atomic.Pointer[SecurityError]
}

func newWatched(addr string, cfg *tls.Config) *watched {
	w := &watched{addr: addr, tls: cfg, last: new(atomic.Pointer[SecurityError])}
	if cfg == nil {
		w.TransportCredentials = insecure.NewCredentials()
	} else {
		w.TransportCredentials = credentials.NewTLS(cfg)
	}
	return w
}

// ClientHandshake implements credentials.TransportCredentials.
func (w *watched) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := w.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		w.note(err)
		return nil, nil, err
	}
	return &watchedConn{Conn: conn, w: w}, info, nil
}

// Clone implements credentials.TransportCredentials.
func (w *watched) Clone() credentials.TransportCredentials {
	return &watched{TransportCredentials: w.TransportCredentials.Clone(), addr: w.addr, tls: w.tls, last: w.last}
}

func (w *watched) note(err error) {
	name := w.addr
	if host, _, e := net.SplitHostPort(w.addr); e == nil {
		name = host
	}
	if w.tls != nil && w.tls.ServerName != "" {
		name = w.tls.ServerName
	}
	if e := securityError(w.addr, name, err); e != nil {
		w.last.Store(e)
	}
}

// watchedConn looks at the first thing that the server says.
type watchedConn struct {
	net.Conn
	w     *watched
	heard bool // of the connection's only reader
}

// Read implements net.Conn.
func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.heard {
		return n, err
	}
	switch {
	case n > 0 && c.w.tls == nil && b[0] == plainTextAlert[0]:
		// An HTTP/2 server begins with the length of its settings, whose first byte is zero.
		c.w.last.Store(&SecurityError{Addr: c.w.addr, Reason: RefusedPlainText, Why: "the server speaks TLS, and we do not",
			Hint: "name the authority of its certificate with --tls-ca (client.WithTLS)"})
	case n > 0:
		c.w.last.Store(nil)
	case err != nil:
		c.w.note(err)
	}
	c.heard = true
	return n, err
}

// refused is an error of gRPC and what is known about it.
type refused struct {
	error
	why *SecurityError
}

func (r *refused) Unwrap() error              { return r.why }
func (r *refused) GRPCStatus() *status.Status { return status.Convert(r.error) }

// explain adds to an error what the credentials know.
func (w *watched) explain(err error) error {
	if err != nil {
		if why := w.last.Load(); why != nil {
			return &refused{err, why}
		}
	}
	return err
}

// options make a connection use the credentials and explain its errors.
func (w *watched) options() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(w),
		grpc.WithUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return w.explain(next(ctx, method, req, reply, cc, opts...))
		}),
		grpc.WithStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			s, err := next(ctx, d, cc, method, opts...)
			return s, w.explain(err)
		}),
	}
}
