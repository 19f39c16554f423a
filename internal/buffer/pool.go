// Package buffer keeps buffers of bytes for whoever fills and empties them by the ten thousand: messages of gRPC, frames
// between stores and clients, batches of writes.
package buffer

import (
	"math/bits"
	"sync"
)

// Buffers of 2^minExponent to 2^maxExponent bytes are kept; smaller ones are made as large, larger ones are made each time.
const (
	minExponent = 8
	maxExponent = 22
)

// Pool keeps buffers by powers of two. It implements gRPC's mem.BufferPool, whose own pools have nothing between 32 KiB and
// 1 MiB, or clear a buffer whole before it is used again, which was 3 % of a busy store's time; whoever takes one from here
// overwrites what he asked for. Safe for concurrent use. The zero Pool is ready.
type Pool struct {
	tiers [maxExponent + 1 - minExponent]sync.Pool
}

// Get returns a buffer of n bytes with whatever was in it.
func (p *Pool) Get(n int) *[]byte {
	tier := max(bits.Len(uint(max(n, 1)-1))-minExponent, 0)
	if tier >= len(p.tiers) {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.tiers[tier].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, 1<<(tier+minExponent))
	return &b
}

// Put takes a buffer that nobody holds any more, or its beginning. One that did not come from here goes with those that it is
// large enough for, and has no more room than they.
func (p *Pool) Put(b *[]byte) {
	if tier := bits.Len(uint(cap(*b))) - 1 - minExponent; tier >= 0 && tier < len(p.tiers) {
		*b = (*b)[: 0 : 1<<(tier+minExponent)]
		p.tiers[tier].Put(b)
	}
}

// Give is Put for who holds a slice. The pool keeps the pointer that Put is given, so that must not be one to the owner's own slice.
func (p *Pool) Give(b []byte) { p.Put(&b) }

// Keep empties a buffer that its owner uses again. One with room for more than most bytes is put back instead: then it returns nil.
func (p *Pool) Keep(b []byte, most int) []byte {
	if cap(b) > most {
		p.Give(b)
		return nil
	}
	return b[:0]
}

// Grow returns b with room for n more bytes. If b has too little, that is another buffer, from here, of at least twice the room, and b's
// goes here: nobody else may hold it.
func (p *Pool) Grow(b []byte, n int) []byte {
	if cap(b)-len(b) >= n {
		return b
	}
	return p.larger(b, max(len(b)+n, 2*cap(b)))
}

func (p *Pool) larger(b []byte, room int) []byte {
	l := (*p.Get(room))[:len(b)]
	copy(l, b)
	p.Give(b)
	return l
}

// Batches are what gathers in a pass of a worker, to be written at once. Who has more than SpareBatch in the end puts it back.
var Batches Pool

// SpareBatch is how many bytes a batch keeps room for from one pass to the next.
const SpareBatch = 1 << 20

// Frames are what stores and clients say to each other: made by who says it, given back by the transport once they are sent. A frame that
// is not given back is collected as anything else.
var Frames Pool
