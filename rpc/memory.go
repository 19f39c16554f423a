package rpc

import (
	"context"
	"io"
	"slices"
	"sync"

	"github.com/skerrydb/skerry/internal/env"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Network is the in-memory twin of the transport between stores: the same promises, no sockets. Frames of one stream
// arrive in order or not at all. A filter loses what a test wants lost.
type Network struct {
	env env.Env

	mu     sync.Mutex
	stores map[shard.StoreID]Store
	links  map[link]*memoryLink
	filter func(from, to shard.StoreID, frame []byte) bool
}

type link struct {
	from, to shard.StoreID
	urgent   bool
}

// memoryLink carries frames of one stream. Its goroutine lives while there are any.
type memoryLink struct {
	queue [][]byte
	live  bool
}

// NewNetwork makes a network without stores.
func NewNetwork(e env.Env) *Network {
	return &Network{env: e, stores: make(map[shard.StoreID]Store), links: make(map[link]*memoryLink)}
}

// Attach connects a store; nil takes it away, as a crash does.
func (n *Network) Attach(id shard.StoreID, s Store) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if s == nil {
		delete(n.stores, id)
		return
	}
	n.stores[id] = s
}

// SetFilter loses every frame, call and snapshot for which keep is false; nil loses none. A call or snapshot is asked
// about with a nil frame.
func (n *Network) SetFilter(keep func(from, to shard.StoreID, frame []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.filter = keep
}

// Store returns the store with an id.
func (n *Network) Store(id shard.StoreID) (Store, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s, ok := n.stores[id]
	return s, ok
}

// Transport is the network as one store sees it.
func (n *Network) Transport(from shard.StoreID) *MemoryTransport {
	return &MemoryTransport{n: n, from: from}
}

// MemoryTransport implements raftstore.Transport.
type MemoryTransport struct {
	n    *Network
	from shard.StoreID
}

// Send queues a frame.
func (t *MemoryTransport) Send(to shard.StoreID, urgent bool, frame []byte) {
	n := t.n
	key := link{t.from, to, urgent}
	n.mu.Lock()
	if n.filter != nil && !n.filter(t.from, to, frame) {
		n.mu.Unlock()
		return
	}
	l := n.links[key]
	if l == nil {
		l = &memoryLink{}
		n.links[key] = l
	}
	l.queue = append(l.queue, slices.Clone(frame)) // as a wire would: the receiver owns its bytes
	start := !l.live
	l.live = true
	n.mu.Unlock()
	if start {
		n.env.Go("link", func() { n.deliver(key, l) })
	}
}

// Reached does nothing: nothing here waits.
func (t *MemoryTransport) Reached(shard.StoreID) {}

func (n *Network) deliver(key link, l *memoryLink) {
	for {
		n.mu.Lock()
		if len(l.queue) == 0 {
			l.live, l.queue = false, nil
			n.mu.Unlock()
			return
		}
		frame := l.queue[0]
		l.queue = l.queue[1:]
		s := n.stores[key.to]
		n.mu.Unlock()
		if s != nil {
			s.Receive(key.from, frame)
		}
	}
}

// reach returns the other store if it can be reached now.
func (t *MemoryTransport) reach(to shard.StoreID) (Store, error) {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	s := t.n.stores[to]
	if s == nil || t.n.filter != nil && !t.n.filter(t.from, to, nil) {
		return nil, shard.ErrUnavailable
	}
	return s, nil
}

// Call asks another store.
func (t *MemoryTransport) Call(ctx context.Context, to shard.StoreID, req *call.Request) call.Reply {
	s, err := t.reach(to)
	if err != nil {
		return call.Reply{Err: err}
	}
	return s.Do(ctx, req)
}

// SendSnapshot hands a snapshot over.
func (t *MemoryTransport) SendSnapshot(ctx context.Context, to shard.StoreID, header []byte, next func() ([]byte, error)) error {
	s, err := t.reach(to)
	if err != nil {
		return err
	}
	h := &handover{next: next, done: t.n.env.NewEvent("snapshot")}
	t.n.env.Go("snapshot", func() { h.end(s.ReceiveSnapshot(ctx, header, h.take)) })
	// As on a wire, a sender that goes away does not wait for the other side, whose disk may hang.
	wait := h.done.Wait(ctx, 0)
	return h.leave(wait)
}

// handover is one snapshot between a sender and a receiver that may each go away first.
type handover struct {
	done env.Event

	mu   sync.Mutex
	next func() ([]byte, error) // nil once the sender has left: its source is closed then
	own  error                  // the sender's own error goes back to it, whatever the receiver makes of it
	err  error                  // the receiver's
}

// take gives the receiver the next chunk. Reading it does not block on anybody.
func (h *handover) take() ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == nil {
		return nil, shard.ErrUnavailable
	}
	chunk, err := h.next()
	if err != nil && err != io.EOF {
		h.own = err
		return nil, shard.ErrUnavailable
	}
	return slices.Clone(chunk), err
}

func (h *handover) end(err error) {
	h.mu.Lock()
	h.err = err
	h.mu.Unlock()
	h.done.Wake()
}

// leave is the sender's end: what came out, or why it did not wait for it.
func (h *handover) leave(wait error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.next = nil
	switch {
	case h.own != nil:
		return h.own
	case wait != nil:
		return wait
	}
	return h.err
}
