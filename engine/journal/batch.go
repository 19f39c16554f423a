package journal

import (
	"encoding/binary"
	"errors"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/internal/codec"
)

// Life tells the logs of one shard apart that follow each other on a store: whose log it is, and the entry before its
// first one. A replica that is restored from a snapshot begins a new one.
type Life struct {
	Replica     uint64
	Index, Term uint64
}

// The kinds of items.
const (
	// itemAppend: entries that join on to the log or overwrite its end. What lies behind the last of them is gone.
	itemAppend = 'A'
	// itemForget: the log of the shard is empty.
	itemForget = 'F'
)

// item is what a batch does to the log of one shard.
type item struct {
	kind     byte
	shard    uint64
	life     Life
	first    uint64 // index of the first entry
	from, to int    // its entries are spans[from:to]
}

// span is where an entry's value lies in a record, from its beginning on, header included.
type span struct{ off, n uint32 }

// Batch is one record in the making. The zero value is empty. It may be used again after Reset.
type Batch struct {
	buf   []byte
	items []item
	spans []span
}

// Append begins the append of n entries, from index first on, to the log of a shard. Each of them follows by Entry.
func (b *Batch) Append(shard uint64, l Life, first uint64, n int) {
	b.begin(itemAppend, shard, l)
	b.items[len(b.items)-1].first = first
	b.buf = binary.AppendUvarint(b.buf, first)
	b.buf = binary.AppendUvarint(b.buf, uint64(n))
}

// itemBytes is the most that an item takes besides the values of its entries: its kind, and six numbers.
const itemBytes = 1 + 6*binary.MaxVarintLen64

func (b *Batch) begin(kind byte, shard uint64, l Life) {
	b.buf = buffer.Batches.Grow(b.buf, headerLen+itemBytes)
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, headerLen)...)
	}
	b.buf = append(b.buf, kind)
	b.buf = binary.AppendUvarint(b.buf, shard)
	if kind != itemForget {
		b.buf = binary.AppendUvarint(b.buf, l.Replica)
		b.buf = binary.AppendUvarint(b.buf, l.Index)
		b.buf = binary.AppendUvarint(b.buf, l.Term)
	}
	b.items = append(b.items, item{kind: kind, shard: shard, life: l, from: len(b.spans), to: len(b.spans)})
}

// grow makes room for all entries of a log.
func (b *Batch) grow(l *log) {
	n := 0
	for _, r := range l.refs {
		n += int(r.n) + binary.MaxVarintLen32
	}
	b.buf = buffer.Batches.Grow(b.buf, n)
}

// Entry returns room for the value of the next entry, n bytes of whatever, to be filled before anything else is added.
func (b *Batch) Entry(n int) []byte {
	b.buf = buffer.Batches.Grow(b.buf, n+binary.MaxVarintLen32)
	b.buf = binary.AppendUvarint(b.buf, uint64(n))
	off := len(b.buf)
	b.buf = b.buf[:off+n]
	b.spans = append(b.spans, span{uint32(off), uint32(n)})
	b.items[len(b.items)-1].to = len(b.spans)
	return b.buf[off : off+n : off+n]
}

func (b *Batch) forget(shard uint64) { b.begin(itemForget, shard, Life{}) }

// Empty reports whether nothing was added.
func (b *Batch) Empty() bool { return len(b.items) == 0 }

// Len is the length of the record.
func (b *Batch) Len() int { return len(b.buf) }

// Reset empties the batch.
func (b *Batch) Reset() {
	b.buf, b.items, b.spans = buffer.Batches.Keep(b.buf, buffer.SpareBatch), b.items[:0], b.spans[:0]
}

// errPayload is the error of a record that is whole and makes no sense.
var errPayload = errors.New("a record makes no sense")

// decode fills the batch from a payload that lay behind a header.
func (b *Batch) decode(payload []byte) error {
	b.Reset()
	d := codec.Decoder{B: payload}
	for d.Err() == nil && len(d.B) > 0 {
		it := item{kind: d.Byte(), shard: d.Uvarint(), from: len(b.spans)}
		switch it.kind {
		case itemForget:
		case itemAppend:
			it.life = Life{Replica: d.Uvarint(), Index: d.Uvarint(), Term: d.Uvarint()}
			it.first = d.Uvarint()
			for n := d.Count(1); n > 0 && d.Err() == nil; n-- {
				v := d.Bytes()
				b.spans = append(b.spans, span{uint32(headerLen + len(payload) - len(d.B) - len(v)), uint32(len(v))})
			}
		default:
			return errPayload
		}
		it.to = len(b.spans)
		b.items = append(b.items, it)
	}
	if d.Err() != nil {
		return errPayload
	}
	return nil
}
