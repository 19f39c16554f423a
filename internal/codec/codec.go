// Package codec holds the few primitives of which every hand-written encoding is made: unsigned varints, fixed-width
// integers and length-prefixed bytes. Encodings that are stored or sent begin with a version byte of their own.
package codec

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed is returned by Decoder.Err after a read beyond the end, a varint too long, or bytes left over.
var ErrMalformed = errors.New("malformed encoding")

// AppendUvarint appends v as a varint.
func AppendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendBytes appends len(p) as a varint, then p.
func AppendBytes(b, p []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(p)))
	return append(b, p...)
}

// AppendString is AppendBytes for a string.
func AppendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// AppendBool appends one byte, 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// Decoder reads what the Append functions wrote. After the first malformed read every read returns zero values, so a
// caller checks Err (or Done) once, at the end. Use: d := Decoder{B: b}. Byte slices that it returns alias B.
type Decoder struct {
	B   []byte // what is left to read
	bad bool
}

func (d *Decoder) fail() { d.bad, d.B = true, nil }

// Uvarint reads a varint.
func (d *Decoder) Uvarint() uint64 {
	v, n := binary.Uvarint(d.B)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.B = d.B[n:]
	return v
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if len(d.B) == 0 {
		d.fail()
		return 0
	}
	v := d.B[0]
	d.B = d.B[1:]
	return v
}

// Bool reads one byte that must be 0 or 1.
func (d *Decoder) Bool() bool {
	v := d.Byte()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

// Uint64 reads 8 bytes, big-endian.
func (d *Decoder) Uint64() uint64 {
	if len(d.B) < 8 {
		d.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(d.B)
	d.B = d.B[8:]
	return v
}

// Bytes reads length-prefixed bytes; nil if there are none.
func (d *Decoder) Bytes() []byte {
	n := d.Uvarint()
	if n > uint64(len(d.B)) {
		d.fail()
		return nil
	}
	if n == 0 {
		return nil
	}
	p := d.B[:n:n]
	d.B = d.B[n:]
	return p
}

// String reads length-prefixed bytes as a string.
func (d *Decoder) String() string { return string(d.Bytes()) }

// Count reads a varint that counts items of at least minBytes each, so that a hostile count cannot make the caller
// allocate more than the input could hold.
func (d *Decoder) Count(minBytes int) int {
	n := d.Uvarint()
	if minBytes < 1 {
		minBytes = 1
	}
	if n > uint64(len(d.B)/minBytes) {
		d.fail()
		return 0
	}
	return int(n)
}

// Version reads the version byte; a version above max is malformed.
func (d *Decoder) Version(max byte) byte {
	v := d.Byte()
	if v == 0 || v > max {
		d.fail()
	}
	return v
}

// Err is ErrMalformed after a malformed read.
func (d *Decoder) Err() error {
	if d.bad {
		return ErrMalformed
	}
	return nil
}

// Done is Err, and also malformed if bytes are left over.
func (d *Decoder) Done() error {
	if d.bad || len(d.B) != 0 {
		return ErrMalformed
	}
	return nil
}
