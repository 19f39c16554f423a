package journal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// headerLen is the length of a record's header, of little-endian fields:
//
//	0 magic 4 | 4 CRC-32C of all behind it 4 | 8 length of the payload 4 | 12 version 4 | 16 seq 8 | 24 synced.seq 8 |
//	32 synced.off 4 | 36 prev.off 4 | 40 prev.seq 8 | 48 oldest 8
const headerLen = 56

const recordVersion = 1

// magic begins every record, so that records can be found behind one that is not whole.
var magic = [4]byte{'S', 'k', 'R', 0xd7}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// place is a place in the journal: behind the first off bytes of the segment of use seq.
type place struct {
	seq uint64
	off uint32
}

func (p place) before(q place) bool { return p.seq < q.seq || p.seq == q.seq && p.off < q.off }

// header is what a record says besides its payload.
type header struct {
	length uint32
	seq    uint64
	synced place
	prev   place
	oldest uint64
}

// sealRecord writes the header of a record, whose payload lies behind the first headerLen bytes of b.
func sealRecord(b []byte, h header) {
	copy(b, magic[:])
	le := binary.LittleEndian
	le.PutUint32(b[8:], uint32(len(b)-headerLen))
	le.PutUint32(b[12:], recordVersion)
	le.PutUint64(b[16:], h.seq)
	le.PutUint64(b[24:], h.synced.seq)
	le.PutUint32(b[32:], h.synced.off)
	le.PutUint32(b[36:], h.prev.off)
	le.PutUint64(b[40:], h.prev.seq)
	le.PutUint64(b[48:], h.oldest)
	le.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
}

// recordLen is the length of the record whose header b begins with, as far as the header can tell.
func recordLen(b []byte) (n int64, ok bool) {
	if len(b) < headerLen || !bytes.Equal(b[:4], magic[:]) {
		return 0, false
	}
	return headerLen + int64(binary.LittleEndian.Uint32(b[8:])), true
}

// readRecord takes the record apart that begins b. ok is false if there is none that is whole.
func readRecord(b []byte) (h header, payload []byte, ok bool) {
	le := binary.LittleEndian
	end, ok := recordLen(b)
	if !ok || end > int64(len(b)) || le.Uint32(b[12:]) != recordVersion {
		return h, nil, false
	}
	h.length = uint32(end - headerLen)
	if le.Uint32(b[4:]) != crc32.Checksum(b[8:end], castagnoli) {
		return h, nil, false
	}
	h.seq, h.oldest = le.Uint64(b[16:]), le.Uint64(b[48:])
	h.synced = place{le.Uint64(b[24:]), le.Uint32(b[32:])}
	h.prev = place{le.Uint64(b[40:]), le.Uint32(b[36:])}
	return h, b[headerLen:end], true
}

// eachRecord calls f with every whole record in b from offset off on, wherever it lies.
func eachRecord(b []byte, off int, f func(off int, h header)) {
	for off < len(b) {
		i := bytes.Index(b[off:], magic[:])
		if i < 0 {
			return
		}
		off += i
		if h, _, ok := readRecord(b[off:]); ok {
			f(off, h)
			off += headerLen + int(h.length)
		} else {
			off++
		}
	}
}
