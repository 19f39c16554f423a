package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

const (
	// handshakeTimeout bounds how long a new connection may take until both sides know each other.
	handshakeTimeout = 10 * time.Second
	// refusalQuiet lies between two lines of the log about the same kind of refusal.
	refusalQuiet = 10 * time.Second
	// lingerTimeout is how long a refused caller may take to read why.
	lingerTimeout = 500 * time.Millisecond
	// maxHandshakes bounds the handshakes of one HTTP listener that are under way.
	maxHandshakes = 64
)

// recordHandshake is the first byte of every caller that speaks TLS.
const recordHandshake = 0x16

// plainTextAlert is a fatal alert "protocol version": what a caller in plain text gets to read, and a Conns understands.
var plainTextAlert = []byte{0x15, 3, 1, 0, 2, 2, 70}

// plainHTTPAnswer is the same for a browser.
const plainHTTPAnswer = "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nthis server speaks TLS: use https, see --tls-ca of its settings\n"

// Guard lets in who speaks TLS as its configuration asks, and counts and logs whom it refuses, by reason. One serves all
// listeners of a node. Safe for concurrent use.
type Guard struct {
	cfg *tls.Config
	log *slog.Logger

	counts map[Refusal]*atomic.Uint64

	mu    sync.Mutex
	spoke map[Refusal]time.Time
}

// NewGuard makes a guard. What can change without a restart is behind the functions of cfg.
func NewGuard(cfg *tls.Config, log *slog.Logger) *Guard {
	g := &Guard{cfg: cfg, log: log, counts: make(map[Refusal]*atomic.Uint64), spoke: make(map[Refusal]time.Time)}
	for _, r := range Refusals {
		g.counts[r] = new(atomic.Uint64)
	}
	return g
}

// Refused is how many connections were refused for one reason.
func (g *Guard) Refused(r Refusal) uint64 { return g.counts[r].Load() }

// refuse counts and, now and then, logs.
func (g *Guard) refuse(from net.Addr, r Refusal, err error) {
	if errors.Is(err, io.EOF) {
		return // it hung up in the middle
	}
	n := g.counts[r].Add(1)
	now := time.Now()
	g.mu.Lock()
	last, spoke := g.spoke[r]
	quiet := spoke && now.Sub(last) < refusalQuiet
	if !quiet {
		g.spoke[r] = now
	}
	g.mu.Unlock()
	if !quiet {
		g.log.Warn("a connection was refused", "from", from.String(), "reason", string(r), "err", err, "so_far", n)
	}
}

var errPlainText = errors.New("the caller does not speak TLS")

// greet reads a caller's first byte. Who hangs up before it said anything, as a probe of the port does, is not counted.
func (g *Guard) greet(raw net.Conn, answer []byte) (net.Conn, error) {
	c := &headedConn{Conn: raw, head: make([]byte, 1)}
	if _, err := io.ReadFull(raw, c.head); err != nil {
		return nil, err
	}
	if c.head[0] == recordHandshake {
		return c, nil
	}
	g.refuse(raw.RemoteAddr(), RefusedPlainText, errPlainText)
	dismiss(raw, answer)
	return nil, errPlainText
}

// dismiss says why and waits a little for the caller to read it: a close with unread bytes would take the answer back.
func dismiss(raw net.Conn, answer []byte) {
	_ = raw.SetDeadline(time.Now().Add(lingerTimeout))
	_, _ = raw.Write(answer)
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
	_, _ = io.CopyN(io.Discard, raw, 64<<10)
}

// headedConn gives back what was read in advance.
type headedConn struct {
	net.Conn
	head []byte
}

func (c *headedConn) Read(b []byte) (int, error) {
	if len(c.head) > 0 {
		n := copy(b, c.head)
		c.head = c.head[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// Credentials are the guard's for a gRPC server.
func (g *Guard) Credentials() credentials.TransportCredentials {
	return &guardCredentials{TransportCredentials: credentials.NewTLS(g.cfg), g: g}
}

type guardCredentials struct {
	credentials.TransportCredentials
	g *Guard
}

// ServerHandshake implements credentials.TransportCredentials.
func (c *guardCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, err := c.g.greet(raw, plainTextAlert)
	if err != nil {
		_ = raw.Close()
		return nil, nil, err
	}
	out, info, err := c.TransportCredentials.ServerHandshake(conn)
	if err != nil {
		c.g.refuse(raw.RemoteAddr(), refusalOf(err), err)
	}
	return out, info, err
}

// Clone implements credentials.TransportCredentials.
func (c *guardCredentials) Clone() credentials.TransportCredentials {
	return &guardCredentials{TransportCredentials: c.TransportCredentials.Clone(), g: c.g}
}

// Listener lets only those connections of an HTTP listener through whose handshake is done.
func (g *Guard) Listener(l net.Listener) net.Listener {
	cfg := g.cfg.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	out := &guardListener{Listener: l, g: g, cfg: cfg, ready: make(chan net.Conn), done: make(chan struct{}), slots: make(chan struct{}, maxHandshakes)}
	go out.run()
	return out
}

// guardListener's goroutines are run's, which ends with the listener, and one per handshake, which ends within
// handshakeTimeout.
type guardListener struct {
	net.Listener
	g     *Guard
	cfg   *tls.Config
	ready chan net.Conn
	done  chan struct{} // closed when the listener has ended, for the reason in err
	err   error
	slots chan struct{}
}

func (l *guardListener) run() {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			l.err = err
			close(l.done)
			return
		}
		l.slots <- struct{}{}
		go func() {
			defer func() { <-l.slots }()
			if c := l.handshake(raw); c != nil {
				select {
				case l.ready <- c:
				case <-l.done:
					_ = c.Close()
				}
			}
		}()
	}
}

func (l *guardListener) handshake(raw net.Conn) net.Conn {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	_ = raw.SetDeadline(time.Now().Add(handshakeTimeout))
	conn, err := l.g.greet(raw, []byte(plainHTTPAnswer))
	if err != nil {
		_ = raw.Close()
		return nil
	}
	c := tls.Server(conn, l.cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		l.g.refuse(raw.RemoteAddr(), refusalOf(err), err)
		_ = raw.Close()
		return nil
	}
	_ = raw.SetDeadline(time.Time{})
	return c
}

// Accept implements net.Listener.
func (l *guardListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.done:
		return nil, l.err
	}
}
