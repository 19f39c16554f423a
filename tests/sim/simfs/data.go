package simfs

import "io"

// chunkBytes is the size of all chunks of a file but its last.
const chunkBytes = 32 << 10

// data is the bytes of a file, in chunks, so that an append copies nothing that is there already.
type data struct {
	chunks [][]byte
	size   int64
	// shared is set if another file holds the same chunks. Bytes behind size are never shared.
	shared bool
}

// clone is the first n bytes, without copying them.
func (d *data) clone(n int64) data {
	n = min(n, d.size)
	c := data{size: n, shared: true}
	for at := int64(0); at < n; at += chunkBytes {
		end := min(chunkBytes, n-at)
		// INVARIANT: the capacity ends with the bytes, so that neither of the two appends into memory of the other.
		c.chunks = append(c.chunks, d.chunks[at/chunkBytes][:end:end])
	}
	d.shared = true
	return c
}

func (d *data) readAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && off < d.size {
		m := copy(p[n:], d.chunks[off/chunkBytes][off%chunkBytes:])
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// writeAt writes p at off, with zeros before it if the file ends earlier.
func (d *data) writeAt(p []byte, off int64) {
	for gap := off - d.size; gap > 0; gap = off - d.size {
		d.append(make([]byte, min(gap, chunkBytes)))
	}
	if over := min(d.size-off, int64(len(p))); over > 0 {
		d.overwrite(p[:over], off)
		p = p[over:]
	}
	d.append(p)
}

func (d *data) append(p []byte) {
	for len(p) > 0 {
		if d.size%chunkBytes == 0 {
			d.chunks = append(d.chunks, make([]byte, 0, min(d.size, chunkBytes))) // a file that is long gets longer
		}
		last := &d.chunks[len(d.chunks)-1]
		n := min(len(p), chunkBytes-len(*last))
		*last = append(*last, p[:n]...)
		p = p[n:]
		d.size += int64(n)
	}
}

func (d *data) overwrite(p []byte, off int64) {
	if d.shared {
		for i, c := range d.chunks {
			d.chunks[i] = append([]byte(nil), c...)
		}
		d.shared = false
	}
	for len(p) > 0 {
		n := copy(d.chunks[off/chunkBytes][off%chunkBytes:], p)
		p, off = p[n:], off+int64(n)
	}
}

// reader reads data from the beginning.
type reader struct {
	d   *data
	off int64
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.off >= r.d.size {
		return 0, io.EOF
	}
	n, _ := r.d.readAt(p, r.off)
	r.off += int64(n)
	return n, nil
}
