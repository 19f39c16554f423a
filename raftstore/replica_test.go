package raftstore

import (
	"testing"
	"unsafe"
)

// TestReplicaSize: Go's allocator has no size between 1,024 and 1,152 bytes, so one field more than this costs 128 bytes of heap in each
// of thousands of sleeping replicas. What is there only while a replica does something belongs behind a pointer.
func TestReplicaSize(t *testing.T) {
	if n := unsafe.Sizeof(replica{}); n > 1024 {
		t.Errorf("a replica takes %d bytes, more than 1024", n)
	}
}
