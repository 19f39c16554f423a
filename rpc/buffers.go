package rpc

import (
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"

	"github.com/skerrydb/skerry/internal/buffer"
)

// buffers are what gRPC reads messages into and writes them from.
var buffers mem.BufferPool = new(buffer.Pool)

// ShareBuffers makes the pool that of the whole process, encoders of messages included, which know no other way to be given
// one. For programs, before they use gRPC; a library leaves it to them.
func ShareBuffers() { experimental.SetDefaultBufferPool(buffers) }
