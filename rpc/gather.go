package rpc

import (
	"cmp"
	"sync"
	"time"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/env"
)

// maxGatherBytes closes a frame to further items, so that a few large values do not add up to a message beyond gRPC's
// limit. One item of any size still fits.
const maxGatherBytes = 8 << 20

// gather collects items from many goroutines into frames for one sender: who comes while a frame is being sent goes
// with the next one, so batches grow with the load and nobody waits for a timer. Only an item that is in no hurry does: it
// goes with whoever comes next, or after lazyWait.
type gather struct {
	wake env.Event
	most int // bytes that close a frame to further items; 0: maxGatherBytes

	mu     sync.Mutex
	full   []*frame
	open   *frame
	last   int  // bytes of the frame before, without bodies
	woken  bool // the sender was told of what there is
	timed  bool // a timer runs that tells it
	closed bool
}

// lazyWait is how long an item that is in no hurry waits for company.
const lazyWait = time.Millisecond

// add appends an item of some n bytes by f to the open frame. It reports false if the sender is gone.
func (g *gather) add(n int, f func(b []byte) []byte) bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	first := g.addLocked(n, f, body{})
	g.mu.Unlock()
	if first {
		g.wake.Wake()
	}
	return true
}

// addLocked is add under mu, of a gather that is not closed. It reports whether the sender must be woken. What the item ends
// with may be a body, which then is the frame's.
func (g *gather) addLocked(n int, f func(b []byte) []byte, end body) bool {
	g.appendLocked(n, f, end)
	first := !g.woken
	g.woken = true
	return first
}

func (g *gather) appendLocked(n int, f func(b []byte) []byte, end body) {
	if g.open == nil {
		g.open = &frame{bytes: buffer.Frames.Grow(nil, g.last)}
	}
	g.open.bytes = f(buffer.Frames.Grow(g.open.bytes, n))
	if end.data != nil {
		end.at = len(g.open.bytes)
		g.open.bodies = append(g.open.bodies, end)
		g.open.size += len(end.data)
	}
	g.last = len(g.open.bytes)
	if g.open.len() >= cmp.Or(g.most, maxGatherBytes) {
		g.full = append(g.full, g.open)
		g.open = nil
	}
}

// addLazy is add of an item that is in no hurry. If timer, the caller calls flush after lazyWait.
func (g *gather) addLazy(n int, f func(b []byte) []byte) (timer, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false, false
	}
	g.appendLocked(n, f, body{})
	timer = !g.woken && !g.timed
	g.timed = g.timed || timer
	return timer, true
}

// flush has what waits sent.
func (g *gather) flush() {
	g.mu.Lock()
	g.timed = false
	tell := !g.woken && (g.open != nil || len(g.full) > 0)
	g.woken = g.woken || tell
	g.mu.Unlock()
	if tell {
		g.wake.Wake()
	}
}

// take returns the frames that are ready, in order.
func (g *gather) take() []*frame {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.takeLocked()
}

func (g *gather) takeLocked() []*frame {
	out := g.full
	if g.open != nil {
		out = append(out, g.open)
	}
	g.full, g.open, g.woken = nil, nil, false
	return out
}

// close drops what is left; nothing more is taken.
func (g *gather) close() {
	g.mu.Lock()
	g.closed, g.full, g.open = true, nil, nil
	g.mu.Unlock()
}
