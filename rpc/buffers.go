package rpc

import (
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
)

// buffers are what gRPC reads messages into and writes them from. Its own pool has nothing between 32 KiB and 1 MiB, and
// clears a buffer whole before it is used again: a frame of 40 KiB cost the clearing of 1 MiB, 3 % of a busy store's time.
var buffers = func() mem.BufferPool {
	p, err := mem.NewBinaryTieredBufferPool(8, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22)
	if err != nil {
		panic(err) // only for exponents that no machine has
	}
	return p
}()

// ShareBuffers makes the pool that of the whole process, encoders of messages included, which know no other way to be given
// one. For programs, before they use gRPC; a library leaves it to them.
func ShareBuffers() { experimental.SetDefaultBufferPool(buffers) }
