package simfs

import (
	"cmp"
	"encoding/binary"
	"io"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2/record"
)

// batchHeader is the beginning of every record of a log: sequence number of the first operation (8 bytes), number of
// operations (4 bytes), little-endian.
const batchHeader = 12

// batch is a record of a log.
type batch struct {
	end int64 // of the record in the file
	// last is the sequence number of its last operation. A batch without operations has that of the one before it.
	last uint64
	// empty is set if it has no operations. Pebble's recovery skips those, and how many there are may depend on timing.
	empty bool
}

// scanned is a log and what is in it.
type scanned struct {
	n       *node
	batches []batch
}

// newReader makes a reader of a log or manifest. Pebble does not export the type of a file number.
func newReader[N ~uint64](make func(io.Reader, N) *record.Reader, r io.Reader, num uint64) *record.Reader {
	return make(r, N(num))
}

// eachRecord calls f with the first bytes of every whole record of a file and the offset of its end. It stops where
// Pebble's recovery would.
func eachRecord(d *data, num uint64, head int, f func(head []byte, end int64)) {
	r := newReader(record.NewReader, &reader{d: d}, num)
	buf := make([]byte, head)
	for {
		rec, err := r.Next()
		if err != nil {
			return
		}
		n, err := io.ReadFull(rec, buf)
		if err == nil {
			_, err = io.Copy(io.Discard, rec)
		}
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return
		}
		f(buf[:n], r.Offset())
	}
}

// scanLog reads a log, unless it has been read since it grew.
func scanLog(n *node) scanned {
	s := scanned{n: n, batches: n.batches}
	if n.scannedBytes == n.data.size {
		return s
	}
	s.batches = nil
	eachRecord(&n.data, n.num, batchHeader, func(head []byte, end int64) {
		if len(head) < batchHeader {
			return
		}
		seq, count := binary.LittleEndian.Uint64(head), binary.LittleEndian.Uint32(head[8:])
		s.batches = append(s.batches, batch{end: end, last: seq + uint64(count) - 1, empty: count == 0})
	})
	n.batches, n.scannedBytes = s.batches, n.data.size
	return s
}

// scanLogs reads all logs of a database that exist or may come back, in their order.
func (dir *node) scanLogs() []scanned {
	var out []scanned
	for _, e := range dir.limbo {
		if e.n.kind == walLog {
			out = append(out, scanLog(e.n))
		}
	}
	for _, e := range dir.entries {
		if e.n.kind == walLog {
			out = append(out, scanLog(e.n))
		}
	}
	slices.SortFunc(out, func(a, b scanned) int { return cmp.Compare(a.n.num, b.n.num) })
	return out
}

// promise is up to where the log must survive.
type promise struct {
	seq uint64
	// wal and synced are how far Pebble had synced the newest log when seq was promised.
	wal    uint64
	synced int64
}

// Durable says that everything up to a sequence number is on disk, which makes it so, provided that Pebble has synced
// the log up to there: a promise that was not kept by a sync is worth nothing. It never goes back. It fits
// engine.Options.Synced.
func (f *FS) Durable(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.frozen || seq < f.promised.seq || f.wal == nil {
		return
	}
	f.promised = promise{seq: seq, wal: f.wal.num, synced: f.wal.synced}
}

// holds reports whether a batch must survive.
func (p promise) holds(n *node, b batch) bool {
	switch {
	case b.last > p.seq:
		return false
	case n.num == p.wal:
		return b.end <= p.synced
	}
	return n.num < p.wal && b.end <= n.synced
}

// eachOther calls f with every batch that need not survive, in the order of commits, until it returns false. Batches
// without operations are not counted.
func (p promise) eachOther(logs []scanned, f func(lostBatch) bool) {
	for _, l := range logs {
		for i, b := range l.batches {
			if !b.empty && !p.holds(l.n, b) && !f(lostBatch{log: l.n.num, batch: i}) {
				return
			}
		}
	}
}

// settle makes everything durable that Pebble has synced.
func (f *FS) settle(dir *node) {
	if f.frozen || f.wal == nil {
		return
	}
	all := promise{seq: math.MaxUint64, wal: f.wal.num, synced: f.wal.synced}
	seq := f.promised.seq
	for _, l := range dir.scanLogs() {
		for _, b := range l.batches {
			if !all.holds(l.n, b) {
				return
			}
			seq = max(seq, b.last)
			f.promised = promise{seq: seq, wal: all.wal, synced: all.synced}
		}
	}
}

// collect drops from limbo what no crash can bring back any more. It runs when a log is removed, which is once for each
// memtable.
func (f *FS) collect(dir *node) {
	if f.frozen {
		return
	}
	lost := uint64(math.MaxUint64)
	f.promised.eachOther(dir.scanLogs(), func(b lostBatch) bool { lost = b.log; return false })
	base := dir.cut(lost).at
	dir.limbo = slices.DeleteFunc(dir.limbo, func(r removed) bool { return r.at.upTo(base) })
}
