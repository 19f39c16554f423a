package rpc

import (
	"sync"

	"github.com/skerrydb/skerry/internal/env"
)

// maxGatherBytes closes a frame to further items, so that a few large values do not add up to a message beyond gRPC's
// limit. One item of any size still fits.
const maxGatherBytes = 8 << 20

// gather collects items from many goroutines into frames for one sender: who comes while a frame is being sent goes
// with the next one, so batches grow with the load and nobody waits for a timer.
type gather struct {
	wake env.Event

	mu     sync.Mutex
	full   [][]byte
	frame  []byte
	closed bool
}

// add appends an item by f to the open frame. It reports false if the sender is gone.
func (g *gather) add(f func(frame []byte) []byte) bool {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return false
	}
	first := g.addLocked(f)
	g.mu.Unlock()
	if first {
		g.wake.Wake()
	}
	return true
}

// addLocked is add under mu, of a gather that is not closed. It reports whether the sender must be woken.
func (g *gather) addLocked(f func(frame []byte) []byte) bool {
	first := len(g.frame) == 0 && len(g.full) == 0
	g.frame = f(g.frame)
	if len(g.frame) >= maxGatherBytes {
		g.full = append(g.full, g.frame)
		g.frame = nil
	}
	return first
}

// take returns the frames that are ready, in order.
func (g *gather) take() [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.takeLocked()
}

func (g *gather) takeLocked() [][]byte {
	out := g.full
	if len(g.frame) > 0 {
		out = append(out, g.frame)
	}
	g.full, g.frame = nil, nil
	return out
}

// close drops what is left; nothing more is taken.
func (g *gather) close() {
	g.mu.Lock()
	g.closed, g.full, g.frame = true, nil, nil
	g.mu.Unlock()
}
