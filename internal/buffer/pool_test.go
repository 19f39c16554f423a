package buffer

import "testing"

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
