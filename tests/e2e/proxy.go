package e2e

import (
	"net"
	"sync"
	"testing"
	"time"
)

// The two ways of a connection, seen from whoever dialled it.
const (
	forward = iota
	back
	ways
)

// proxy passes connections on to one node, until it is cut: then bytes stop, in one direction or in both, and new
// connections hang, as behind a firewall that drops. What was held back is delivered when the cut ends, unless the
// connections are broken off meanwhile.
type proxy struct {
	l  net.Listener
	to string

	mu     sync.Mutex
	isCut  [ways]bool
	delay  time.Duration // of every piece of bytes, in both directions
	healed *sync.Cond
	conns  map[net.Conn]struct{}
	closed bool
}

func newProxy(t testing.TB, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to, conns: make(map[net.Conn]struct{})}
	p.healed = sync.NewCond(&p.mu)
	go p.accept()
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.serve(in)
	}
}

func (p *proxy) serve(in net.Conn) {
	defer in.Close()
	if !p.keep(in) {
		return
	}
	defer p.drop(in)
	// A handshake goes both ways.
	if !p.pass(forward) || !p.pass(back) {
		return
	}
	out, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer out.Close()
	if !p.keep(out) {
		return
	}
	defer p.drop(out)
	done := make(chan struct{}, ways)
	go func() { p.copy(out, in, forward); done <- struct{}{} }()
	go func() { p.copy(in, out, back); done <- struct{}{} }()
	<-done
}

func (p *proxy) copy(dst, src net.Conn, way int) {
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if !p.pass(way) {
				return
			}
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass holds bytes back while that way is cut, and for the delay; false if the proxy is closed.
func (p *proxy) pass(way int) bool {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.isCut[way] && !p.closed {
		p.healed.Wait()
	}
	return !p.closed
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// cut stops the bytes of each way, or lets them go on.
func (p *proxy) cut(there, backThere bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = [ways]bool{there, backThere}
	p.healed.Broadcast()
}

// slow delays everything that passes from now on; zero ends it.
func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// breakOff closes all connections. What they held back is lost.
func (p *proxy) breakOff() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) close() {
	_ = p.l.Close()
	p.mu.Lock()
	p.closed = true
	p.healed.Broadcast()
	p.mu.Unlock()
	p.breakOff()
}
