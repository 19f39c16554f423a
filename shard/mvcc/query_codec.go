package mvcc

import (
	"fmt"

	"github.com/skerrydb/skerry/internal/codec"
	"github.com/skerrydb/skerry/shard"
)

const queryVersion = 1

const (
	queryReverse byte = 1 << iota
	queryKeysOnly
	queryPrevious // of Changes
	queryFrom     // of Changes: an AfterKey follows
	queryFlags    = queryReverse | queryKeysOnly
	changesFlags  = queryFlags | queryPrevious | queryFrom
)

// Append appends the encoding of q: call.Request.Body of a transactional read.
func (q *Query) Append(b []byte) []byte {
	flags := flag(q.Reverse, queryReverse) | flag(q.KeysOnly, queryKeysOnly)
	if q.Kind == Changes {
		flags |= flag(q.Previous, queryPrevious) | flag(q.AfterKey != nil, queryFrom)
	}
	b = append(b, KindQuery, queryVersion, byte(q.Kind), flags)
	b = codec.AppendUvarint(codec.AppendUvarint(b, uint64(q.TS)), uint64(q.OwnTS))
	b = codec.AppendUvarint(b, uint64(len(q.Bypass)))
	for _, ts := range q.Bypass {
		b = codec.AppendUvarint(b, uint64(ts))
	}
	b = codec.AppendUvarint(b, uint64(max(q.Limit, 0)))
	b = codec.AppendUvarint(b, uint64(max(q.MaxBytes, 0)))
	b = appendKeys(b, q.Keys)
	b = codec.AppendBytes(codec.AppendBytes(b, q.Range.Start), q.Range.End)
	if q.Kind != Changes {
		return b
	}
	b = codec.AppendUvarint(codec.AppendUvarint(b, uint64(q.After)), uint64(q.WaitMillis))
	if q.AfterKey != nil {
		b = codec.AppendBytes(b, q.AfterKey)
	}
	return b
}

// DecodeQuery reads what Append wrote; keys alias b. The caller calls Check.
func DecodeQuery(b []byte) (*Query, error) {
	d := codec.Decoder{B: b}
	kind, _ := d.Byte(), d.Version(queryVersion)
	q := &Query{Kind: QueryKind(d.Byte())}
	flags := d.Byte()
	q.Reverse, q.KeysOnly = flags&queryReverse != 0, flags&queryKeysOnly != 0
	q.TS, q.OwnTS = Timestamp(d.Uvarint()), Timestamp(d.Uvarint())
	for range d.Count(1) {
		q.Bypass = append(q.Bypass, Timestamp(d.Uvarint()))
	}
	// Anything above the largest bound that has a meaning is as good as it.
	q.Limit, q.MaxBytes = int(min(d.Uvarint(), 1<<30)), int(min(d.Uvarint(), 1<<30))
	q.Keys = readKeys(&d)
	q.Range = shard.Range{Start: d.Bytes(), End: d.Bytes()}
	known := queryFlags
	if q.Kind == Changes {
		known = changesFlags
		q.Previous, q.After = flags&queryPrevious != 0, Timestamp(d.Uvarint())
		q.WaitMillis = uint32(min(d.Uvarint(), 1<<30))
		if flags&queryFrom != 0 {
			q.AfterKey = append(shard.Key{}, d.Bytes()...)
		}
	}
	if d.Done() != nil || kind != KindQuery || flags&^known != 0 {
		return nil, fmt.Errorf("transactional query: %w", codec.ErrMalformed)
	}
	return q, nil
}

const answerVersion = 1

// Append appends the encoding of a: call.Reply.Body of a transactional read.
func (a *Answer) Append(b []byte) []byte {
	b = appendRejected(append(b, answerVersion), a.Rejected)
	b = appendLocks(appendRows(b, a.Rows), a.Locks)
	b = codec.AppendBytes(codec.AppendBool(b, a.More), a.Next)
	b = codec.AppendBytes(codec.AppendBytes(b, a.Range.Start), a.Range.End)
	for _, v := range [...]uint64{uint64(a.Resolved), a.Sum.Hash, a.Sum.Versions, a.Sum.Locks} {
		b = codec.AppendUvarint(b, v)
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

// Decode is DecodeAnswer into an Answer that is there, whose rows it overwrites.
func (a *Answer) Decode(b []byte) error {
	d := codec.Decoder{B: b}
	d.Version(answerVersion)
	*a = Answer{Rows: a.Rows[:0]}
	var ok1, ok2, ok3 bool
	a.Rejected, ok1 = readRejected(&d)
	a.Rows, ok2 = readRows(&d, a.Rows)
	a.Locks, ok3 = readLocks(&d)
	a.More, a.Next = d.Bool(), d.Bytes()
	a.Range = shard.Range{Start: d.Bytes(), End: d.Bytes()}
	a.Resolved = Timestamp(d.Uvarint())
	a.Sum = Sum{Hash: d.Uvarint(), Versions: d.Uvarint(), Locks: d.Uvarint()}
	if d.Done() != nil || !ok1 || !ok2 || !ok3 {
		return fmt.Errorf("answer to a transactional query: %w", codec.ErrMalformed)
	}
	return nil
}
