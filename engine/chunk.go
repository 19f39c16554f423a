package engine

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/codec"
)

// A snapshot travels as chunks: blocks of physical keys and values in the order of the engine, data before locks, numbered
// from zero, the last one marked.
//
//	version(1) flags(1) number(varint) { key length, key, value length, value }... crc-32c(4)
//
// The checksum covers everything before it. Chunks arrive whole, in order, exactly once: the receiver refuses anything
// else, so that a snapshot that was cut short can never be installed.

const (
	chunkVersion  = 2 // 1 held data only, whose keys stood without their kind
	chunkLastFlag = 1
)

// chunkWriter builds one chunk.
type chunkWriter struct{ b []byte }

func (w *chunkWriter) begin(number uint64, sizeHint int) {
	w.b = append((*buffer.Frames.Get(sizeHint))[:0], chunkVersion, 0)
	w.b = codec.AppendUvarint(w.b, number)
}

func (w *chunkWriter) add(k, v []byte) {
	w.b = codec.AppendBytes(w.b, k)
	w.b = codec.AppendBytes(w.b, v)
}

func (w *chunkWriter) finish(last bool) []byte {
	if last {
		w.b[1] |= chunkLastFlag
	}
	return binary.LittleEndian.AppendUint32(w.b, crc32.Checksum(w.b, castagnoli))
}

// chunkReader reads the pairs of one chunk, which it has checked.
type chunkReader struct {
	number uint64
	last   bool
	d      codec.Decoder
}

// readChunk checks a chunk and its header.
func readChunk(b []byte) (chunkReader, error) {
	n := len(b) - crcLen
	if n < 3 {
		return chunkReader{}, fmt.Errorf("%w: snapshot chunk of %d bytes", ErrCorruption, len(b))
	}
	if have, want := binary.LittleEndian.Uint32(b[n:]), crc32.Checksum(b[:n], castagnoli); have != want {
		return chunkReader{}, fmt.Errorf("%w: snapshot chunk has checksum %08x, not %08x", ErrCorruption, have, want)
	}
	r := chunkReader{d: codec.Decoder{B: b[:n]}}
	if v := r.d.Byte(); v != chunkVersion {
		return chunkReader{}, fmt.Errorf("%w: snapshot chunk of version %d", ErrCorruption, v)
	}
	flags := r.d.Byte()
	r.last = flags&chunkLastFlag != 0
	r.number = r.d.Uvarint()
	if r.d.Err() != nil || flags&^chunkLastFlag != 0 {
		return chunkReader{}, fmt.Errorf("%w: snapshot chunk: %w", ErrCorruption, codec.ErrMalformed)
	}
	return r, nil
}

// next returns the next pair, aliasing the chunk; ok is false at the end.
func (r *chunkReader) next() (k, v []byte, ok bool, err error) {
	if len(r.d.B) == 0 {
		return nil, nil, false, r.d.Err()
	}
	k, v = r.d.Bytes(), r.d.Bytes()
	if r.d.Err() != nil || len(k) == 0 {
		return nil, nil, false, fmt.Errorf("%w: snapshot chunk: %w", ErrCorruption, codec.ErrMalformed)
	}
	return k, v, true, nil
}
