package ports

import (
	"net"
	"testing"
)

// TestNeverTwice: an address is given once, also while nobody listens there, and over the end of a block.
func TestNeverTwice(t *testing.T) {
	seen := make(map[string]bool)
	for _, addr := range Free(t, 2*block) {
		if seen[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	}
	if len(held.claims) < 2 {
		t.Fatal("a second block was not claimed")
	}
}
