package raw

import (
	"fmt"
	"slices"
	"time"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

const queryVersion = 1

// Flags of a query.
const (
	queryReverse byte = 1 << iota
	queryKeysOnly
	queryWithTTL
	queryFlags = queryReverse | queryKeysOnly | queryWithTTL
)

// Append appends the encoding of q: call.Request.Body of a raw read.
func (q *Query) Append(b []byte) []byte {
	b = slices.Grow(b, q.encodedBytes())
	b = append(b, KindRaw, queryVersion, byte(q.Kind),
		flag(q.Reverse, queryReverse)|flag(q.KeysOnly, queryKeysOnly)|flag(q.WithTTL, queryWithTTL))
	b = codec.AppendUvarint(b, uint64(max(q.Limit, 0)))
	b = codec.AppendUvarint(b, uint64(max(q.MaxBytes, 0)))
	if q.Kind != Get {
		b = codec.AppendBytes(b, q.Range.Start)
		return codec.AppendBytes(b, q.Range.End)
	}
	b = codec.AppendUvarint(b, uint64(len(q.Keys)))
	for _, k := range q.Keys {
		b = codec.AppendBytes(b, k)
	}
	return b
}

// encodedBytes is about how many bytes Append appends.
func (q *Query) encodedBytes() int {
	n := 16 + len(q.Range.Start) + len(q.Range.End)
	for _, k := range q.Keys {
		n += len(k) + 2
	}
	return n
}

// DecodeQuery reads what Append wrote; keys alias b. The caller calls Check.
func DecodeQuery(b []byte) (*Query, error) {
	d := codec.Decoder{B: b}
	payload, _ := d.Byte(), d.Version(queryVersion)
	one := new(struct {
		Query
		key [1]shard.Key // of the most frequent query: it comes with its room
	})
	q := &one.Query
	q.Kind = QueryKind(d.Byte())
	flags := d.Byte()
	q.Reverse, q.KeysOnly, q.WithTTL = flags&queryReverse != 0, flags&queryKeysOnly != 0, flags&queryWithTTL != 0
	q.Limit, q.MaxBytes = readInt(&d), readInt(&d)
	if q.Kind == Get {
		if n := d.Count(1); n > 0 {
			if q.Keys = one.key[:0]; n > 1 {
				q.Keys = make([]shard.Key, 0, min(n, MaxQueryKeys))
			}
			for range n {
				q.Keys = append(q.Keys, d.Bytes())
			}
		}
	} else {
		q.Range = shard.Range{Start: d.Bytes(), End: d.Bytes()}
	}
	if d.Done() != nil || payload != KindRaw || flags&^queryFlags != 0 {
		return nil, fmt.Errorf("raw query: %w", codec.ErrMalformed)
	}
	return q, nil
}

const answerVersion = 1

// Flags of an answer: a part whose flag is missing is zero and takes no bytes.
const (
	answerMore byte = 1 << iota
	answerSum
	answerRange
	answerKeys  // rows have keys
	answerFlags = answerMore | answerSum | answerRange | answerKeys
)

// Flags of a row.
const (
	rowFound byte = 1 << iota
	rowTTL
	rowFlags = rowFound | rowTTL
)

// Append appends the encoding of a: call.Reply.Body of a raw read.
func (a *Answer) Append(b []byte) []byte {
	keys := len(a.Rows) > 0 && a.Rows[0].Key != nil
	b = a.appendHead(b, len(a.Rows), keys)
	for i := range a.Rows {
		b = a.Rows[i].append(b, keys)
	}
	return b
}

// appendHead appends what stands before the rows, which have keys, or none.
func (a *Answer) appendHead(b []byte, rows int, keys bool) []byte {
	flags := flag(a.More, answerMore) | flag(a.Sum != Sum{}, answerSum) |
		flag(len(a.Range.Start)+len(a.Range.End) > 0, answerRange) | flag(keys && rows > 0, answerKeys)
	b = append(b, answerVersion, flags)
	if a.More {
		b = codec.AppendBytes(b, a.Next)
	}
	if flags&answerSum != 0 {
		b = codec.AppendUvarint(b, a.Sum.Hash)
		b = codec.AppendUvarint(b, a.Sum.Keys)
		b = codec.AppendUvarint(b, a.Sum.Bytes)
	}
	if flags&answerRange != 0 {
		b = codec.AppendBytes(b, a.Range.Start)
		b = codec.AppendBytes(b, a.Range.End)
	}
	return codec.AppendUvarint(b, uint64(rows))
}

func (r *Row) append(b []byte, key bool) []byte {
	b = append(b, flag(r.Found, rowFound)|flag(r.ExpireIn > 0, rowTTL))
	if key {
		b = codec.AppendBytes(b, r.Key)
	}
	if r.ExpireIn > 0 {
		b = codec.AppendUvarint(b, ttlMillis(r.ExpireIn))
	}
	if r.Found {
		b = codec.AppendBytes(b, r.Value)
	}
	return b
}

// DecodeAnswer reads what Append wrote; keys and values alias b.
func DecodeAnswer(b []byte) (*Answer, error) {
	a := new(Answer)
	if err := a.Decode(b); err != nil {
		return nil, err
	}
	return a, nil
}

// Decode is DecodeAnswer into a, with the room of its Rows, if that is enough.
func (a *Answer) Decode(b []byte) error {
	d := codec.Decoder{B: b}
	d.Version(answerVersion)
	flags := d.Byte()
	ok := flags&^answerFlags == 0
	room := a.Rows[:0]
	*a = Answer{More: flags&answerMore != 0}
	if a.More {
		a.Next = d.Bytes()
	}
	if flags&answerSum != 0 {
		a.Sum = Sum{Hash: d.Uvarint(), Keys: d.Uvarint(), Bytes: d.Uvarint()}
	}
	if flags&answerRange != 0 {
		a.Range = shard.Range{Start: d.Bytes(), End: d.Bytes()}
	}
	if n := d.Count(1); n > 0 {
		if a.Rows = room; n > cap(room) {
			a.Rows = make([]Row, 0, min(n, MaxPageRows)) // a Row is much larger than its smallest encoding
		}
		for range n {
			var r Row
			ok = r.read(&d, flags&answerKeys != 0) && ok
			a.Rows = append(a.Rows, r)
		}
	}
	if d.Done() != nil || !ok {
		return fmt.Errorf("answer to a raw query: %w", codec.ErrMalformed)
	}
	return nil
}

// read reports false for what this version does not know.
func (r *Row) read(d *codec.Decoder, key bool) bool {
	flags := d.Byte()
	ok := flags&^rowFlags == 0
	r.Found = flags&rowFound != 0
	if key {
		r.Key = d.Bytes()
	}
	if flags&rowTTL != 0 {
		var fits bool
		r.ExpireIn, fits = readTTL(d)
		ok = ok && fits && r.ExpireIn >= time.Millisecond
	}
	if r.Found {
		r.Value = d.Bytes()
	}
	return ok
}

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}

// readInt reads a bound of a page; anything above the largest that has a meaning is as good as it.
func readInt(d *codec.Decoder) int { return int(min(d.Uvarint(), 1<<30)) }
