package rpc

import (
	"bytes"
	"sync/atomic"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/skerrydb/skerry/internal/buffer"
	kvv1 "github.com/skerrydb/skerry/proto/skerry/kv/v1"
	raftv1 "github.com/skerrydb/skerry/proto/skerry/raft/v1"
)

// frame is one message of a stream, as its sender gathered it. Whoever sends it gives its bytes away: they go back to
// buffer.Frames once the network has taken them.
type frame struct {
	bytes  []byte // from buffer.Frames
	bodies []body // what stands between them without having been copied, in order
	size   int    // of all bodies
}

// body is part of a frame.
type body struct {
	at   int    // it comes before frame.bytes[at:]
	data []byte // nobody writes to it any more
	room []byte // the buffer of buffer.Frames whose end data is; nil: none
}

// len is how long the frame is.
func (f *frame) len() int { return len(f.bytes) + f.size }

// frameField is the only field of the messages of streams, kvv1.Frame and raftv1.Frame.
const frameField = 1

// copiedBytes is up to where a frame is copied into memory that gRPC forgets: it does not give back buffers of this size.
const copiedBytes = 1 << 10

// frameCodec is gRPC's encoding of messages, except that what a frame holds is neither copied when it is sent, nor twice when
// it is received. The bytes on the wire are the same.
type frameCodec struct{ encoding.CodecV2 }

var frames = frameCodec{encoding.GetCodecV2(proto.Name)}

// Marshal implements encoding.CodecV2.
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		if p, ok := v.(*snapshotPart); ok {
			return p.marshal(), nil
		}
		return c.CodecV2.Marshal(v)
	}
	head := protowire.AppendTag(make([]byte, 0, 16), frameField, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(f.len()))
	if len(f.bodies) == 0 && len(f.bytes) <= copiedBytes {
		all := append(append(make([]byte, 0, len(head)+len(f.bytes)), head...), f.bytes...)
		buffer.Frames.Give(f.bytes)
		return mem.BufferSlice{mem.SliceBuffer(all)}, nil
	}
	return f.pieces(append(make(mem.BufferSlice, 0, 2+2*len(f.bodies)), mem.SliceBuffer(head))), nil
}

// pieces appends what the frame is made of to out. The pool keeps what it is given a pointer to: that is to a slice of its own,
// and not into the frame.
func (f *frame) pieces(out mem.BufferSlice) mem.BufferSlice {
	own := f.bytes
	whole := mem.NewBuffer(&own, &buffer.Frames)
	defer whole.Free()
	at := 0
	for i := range f.bodies {
		b := &f.bodies[i]
		if b.at > at {
			out = append(out, whole.Slice(at, b.at))
		}
		at = b.at
		if b.room == nil {
			out = append(out, mem.SliceBuffer(b.data))
			continue
		}
		lent := b.room
		room := mem.NewBuffer(&lent, &buffer.Frames)
		out = append(out, room.Slice(len(lent)-len(b.data), len(lent)))
		room.Free()
	}
	if at < len(f.bytes) {
		out = append(out, whole.Slice(at, len(f.bytes)))
	}
	return out
}

// Unmarshal implements encoding.CodecV2.
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *kvv1.Frame:
		if b, ok := frameData(data); ok {
			m.Data = b
			return nil
		}
	case *raftv1.Frame:
		if b, ok := frameData(data); ok {
			m.Data = b
			return nil
		}
	case *received:
		if m.take(data) {
			return nil
		}
		var f kvv1.Frame
		if err := c.CodecV2.Unmarshal(data, &f); err != nil {
			return err
		}
		*m = received{lent: m.lent, data: f.GetData()}
		return nil
	case *snapshotPart:
		if m.take(data) {
			return nil
		}
		var p raftv1.SnapshotPart
		if err := c.CodecV2.Unmarshal(data, &p); err != nil {
			return err
		}
		m.of(&p)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// usualParts is for how many buffers of gRPC's a frame is put together without making room for the list of them.
const usualParts = 64

// frameData is what the message of a stream holds, a copy. It reports false if there is more in it than that.
func frameData(data mem.BufferSlice) ([]byte, bool) {
	parts := make([][]byte, 0, usualParts)
	for _, b := range data {
		parts = append(parts, b.ReadOnlyData())
	}
	return content(bytes.Join(parts, nil)) // unlike make, it does not clear what is copied over
}

// content is what the encoded message of a stream holds.
func content(all []byte) ([]byte, bool) {
	if len(all) == 0 {
		return nil, true
	}
	field, b, ok := onlyField(all)
	return b, ok && field == frameField
}

// onlyField is the one field of an encoded message, of bytes. ok is false if there is anything else in it.
func onlyField(all []byte) (field protowire.Number, data []byte, ok bool) {
	field, kind, n := protowire.ConsumeTag(all)
	if n < 0 || kind != protowire.BytesType {
		return 0, nil, false
	}
	b, m := protowire.ConsumeBytes(all[n:])
	return field, b, m >= 0 && n+m == len(all)
}

// received is one message of a client's stream. While there is a call that gives back what it gets, long ones are put together in
// buffers of buffer.Frames.
type received struct {
	lent *atomic.Int32 // calls under way that give back
	data []byte
	room []byte // the buffer whose end data is; nil: none
}

// take is Unmarshal of what frames are made of.
func (r *received) take(data mem.BufferSlice) (ok bool) {
	r.data, r.room = nil, nil
	n := data.Len()
	if n < bodyBytes || r.lent.Load() == 0 {
		r.data, ok = frameData(data)
		return ok
	}
	r.room = *buffer.Frames.Get(n)
	data.CopyTo(r.room)
	r.data, ok = content(r.room)
	return ok
}

// whole returns the room of a frame whose only reply has this body, and forgets it; else nil: others lie in it as well.
func (r *received) whole(body []byte, first bool) []byte {
	if !first || len(body) == 0 || &body[len(body)-1] != &r.data[len(r.data)-1] {
		return nil
	}
	room := r.room
	r.room = nil
	return room
}
