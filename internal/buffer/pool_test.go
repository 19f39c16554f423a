package buffer

import (
	"bytes"
	"testing"
)

// TestPool: a buffer has the length that was asked for, whatever was put back before, and at most twice the room.
func TestPool(t *testing.T) {
	p := new(Pool)
	for n := 0; n <= 9<<20; n += 1 + n/3 {
		b := p.Get(n)
		if len(*b) != n || cap(*b) > max(1<<minExponent, 2*n) {
			t.Fatalf("%d bytes: %d, room for %d", n, len(*b), cap(*b))
		}
		*b = (*b)[:n/2] // gRPC gives back a prefix
		p.Put(b)
		odd := make([]byte, n) // not from here
		p.Put(&odd)
		for large := range 8 { // what comes next has no more room for having been given back larger
			odd := make([]byte, n+n*large/4)
			p.Put(&odd)
		}
	}
}

// TestGrow: what a buffer holds stays what it was while it grows, also when others scribble over all that came back; and it is given back.
func TestGrow(t *testing.T) {
	p := new(Pool)
	var b, want []byte
	for i := range 300 {
		n := i * 7 % 5000
		before := cap(b)
		if b = p.Grow(b, n); cap(b)-len(b) < n {
			t.Fatalf("room for %d of %d bytes", cap(b)-len(b), n)
		}
		if before > 0 && cap(b) != before && cap(b) < 2*before {
			t.Fatalf("from %d to %d bytes", before, cap(b))
		}
		scribble := p.Get(max(before, 1))
		clear((*scribble)[:cap(*scribble)])
		for range n {
			b, want = append(b, byte(i)), append(want, byte(i))
		}
	}
	if !bytes.Equal(b, want) {
		t.Fatal("it holds something else")
	}
	if n := testing.AllocsPerRun(100, func() {
		var b []byte
		for range 100 {
			b = append(p.Grow(b, 100), make([]byte, 100)...)
		}
		p.Put(&b)
	}); n > 20 {
		t.Fatalf("%.0f allocations to gather 10,000 bytes in rooms that are there", n)
	}
}

// TestKeep: room for as much as is allowed stays with its owner, more goes to the pool.
func TestKeep(t *testing.T) {
	p := new(Pool)
	if b := p.Keep(append(make([]byte, 0, 1000), 'x'), 1000); len(b) != 0 || cap(b) != 1000 {
		t.Fatalf("%d bytes, room for %d", len(b), cap(b))
	}
	if b := p.Keep(make([]byte, 1001), 1000); b != nil {
		t.Fatalf("room for %d is kept", cap(b))
	}
	if b := p.Keep(nil, 1000); b != nil {
		t.Fatal("room out of nothing")
	}
}
