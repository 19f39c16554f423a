package raw

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/skerrydb/skerry/shard"
)

// QueryKind is what a Query asks for.
type QueryKind uint8

// The kinds. They are part of the wire format.
const (
	Get      QueryKind = 1 // the values of Keys
	Scan     QueryKind = 2 // one page of Range
	Checksum QueryKind = 3 // one checksum over Range
)

// Query is a read of one shard's part. A zero Limit or MaxBytes is the maximum.
type Query struct {
	Kind     QueryKind
	Keys     []shard.Key // Get
	Range    shard.Range // Scan, Checksum
	Reverse  bool        // Scan: from the end down
	KeysOnly bool        // no values
	WithTTL  bool        // fill Row.ExpireIn
	Limit    int         // Scan: rows of the page
	MaxBytes int         // Get, Scan: keys and values of the page; it holds one row more if that is its first
}

// Row is a key and what it holds.
type Row struct {
	Key      shard.Key // nil in the answer to a Get: rows are in the order of the query's keys
	Value    []byte
	Found    bool          // false only in the answer to a Get
	ExpireIn time.Duration // with WithTTL: what is left of the key's life; zero is for ever
}

// Sum is a checksum of a set of keys that does not depend on their order, so the sums of disjoint parts (of shards,
// pages, or before and after a split) add up to the sum of the whole. It covers the keys that are not expired, each with
// its mode byte, value and expire_at; so it does not depend either on how far reclaiming has come. It finds accidents,
// not forgery.
type Sum struct {
	// Hash is the sum modulo 2^64, over all keys, of xxhash64(len(key) as 8 bytes big-endian, key, stored value).
	Hash  uint64
	Keys  uint64
	Bytes uint64 // of user keys and user values
}

// Add returns the checksum of both parts together.
func (s Sum) Add(o Sum) Sum {
	return Sum{Hash: s.Hash + o.Hash, Keys: s.Keys + o.Keys, Bytes: s.Bytes + o.Bytes}
}

// Answer is what a Query found in one shard.
type Answer struct {
	Rows []Row
	// More says that the query is not exhausted, by the page's bounds or because its range goes on beyond the shard. Of a
	// Get the rows are those of its first keys, and the others are to be asked again.
	More bool
	// Next is, with More, where the rest begins: the start of the next page's range, or in reverse its end.
	Next shard.Key
	// Sum answers a Checksum.
	Sum Sum
	// Range is the part of the query's range that this page covers: all that it holds is in the answer.
	Range shard.Range
}

// Check holds the query against the limits. An error is a *shard.InvalidError that says what to change.
func (q *Query) Check() error {
	if q.Limit < 0 || q.MaxBytes < 0 {
		return invalidf("limits of a page are %d rows and %d bytes; give none, or positive ones", q.Limit, q.MaxBytes)
	}
	switch q.Kind {
	case Get:
		if n := len(q.Keys); n == 0 || n > MaxQueryKeys {
			return invalidf("get of %d keys; give between 1 and %d", n, MaxQueryKeys)
		}
		for _, k := range q.Keys {
			if err := checkKey(k); err != nil {
				return err
			}
		}
		return nil
	case Scan, Checksum:
		return checkRange(q.Range)
	}
	return invalidf("unknown query %d", q.Kind)
}

// CheckIn returns a *shard.KeyNotInShardError if the query does not begin in d: a key of a Get lies outside, or the
// first key that a scan would read. A scan may go on beyond the shard; its answer says how far it came.
func (q *Query) CheckIn(d *shard.Descriptor) error { return q.checkIn(d.ID, d.Range) }

func (q *Query) checkIn(id shard.ID, in shard.Range) error {
	outside := func(k shard.Key) error { return &shard.KeyNotInShardError{Shard: id, Key: k.Clone(), Range: in} }
	if q.Kind == Get {
		for _, k := range q.Keys {
			if !in.Contains(k) {
				return outside(k)
			}
		}
		return nil
	}
	if !q.Reverse && !in.Contains(q.Range.Start) {
		return outside(q.Range.Start)
	}
	// In reverse the first key lies just before the end.
	if q.Reverse && (in.CompareEnd(q.Range.End) < 0 || len(q.Range.End) != 0 && q.Range.End.Compare(in.Start) <= 0) {
		return outside(q.Range.End)
	}
	return nil
}

// Run reads q's part of a shard whose range is in, from a view whose shard time is now. due is the stamp that the read
// fixed when it arrived, zero for none: if Run meets a key that is alive at now and gone at due, it stops with
// needsClock, and the caller has a clock entry with that stamp applied, then runs again on a new view. (The stamp stays
// the same, else a long scan over short lives would never end.) The answer copies what it keeps of r and aliases q and
// in. An error is a *shard.KeyNotInShardError, or else the store is broken.
func (q *Query) Run(r Reader, in shard.Range, now, due shard.Millis) (a Answer, needsClock bool, err error) {
	e, needsClock, err := q.RunEncoded(r, in, now, due, nil)
	if err != nil || needsClock {
		return Answer{}, needsClock, err
	}
	return a, false, a.Decode(e.Body)
}

// Encoded is an answer's encoding.
type Encoded struct {
	Body []byte
	Room []byte      // the buffer of Buffers whose end Body is; nil if it is in none
	Part shard.Range // the answer's Range
}

// Buffers lends memory for long answers, as internal/buffer.Pool does.
type Buffers interface {
	Get(n int) *[]byte
	Put(b *[]byte)
}

// RunEncoded is Run, and Append of what it answers: rows are encoded as they are met, in a buffer of from if they are many.
func (q *Query) RunEncoded(r Reader, in shard.Range, now, due shard.Millis, from Buffers) (e Encoded, needsClock bool, err error) {
	if err := q.checkIn(0, in); err != nil {
		return Encoded{}, false, err
	}
	p := page{q: q, now: now, due: max(now, due), maxRows: q.maxRows(), maxBytes: q.maxBytes(), from: from}
	p.begin()
	if q.Kind == Get {
		err = p.get(r)
	} else {
		err = p.scan(r, q.Range.Intersect(in))
	}
	if err != nil || p.needsClock {
		p.giveBack()
		return Encoded{}, p.needsClock && err == nil, err
	}
	return p.encoded(), false, nil
}

// RunOne is Run of a Get of one key, whose stored value the caller has found, or not, and encodes the answer: what most reads
// are is done with one allocation.
func (q *Query) RunOne(in shard.Range, stored []byte, found bool, now, due shard.Millis) (body []byte, needsClock bool, err error) {
	if err := q.checkIn(0, in); err != nil {
		return nil, false, err
	}
	p := page{q: q, now: now, due: max(now, due), maxBytes: q.maxBytes()}
	row, expireAt, err := p.row(q.Keys[0], stored, found)
	if err != nil || p.needsClock {
		return nil, p.needsClock, err
	}
	rows := [1]Row{p.timed(row, expireAt)}
	a := Answer{Rows: rows[:]}
	return a.Append(make([]byte, 0, len(row.Value)+oneRowBytes)), false, nil
}

// oneRowBytes is what the encoding of an answer of one row takes beside the value, at most.
const oneRowBytes = 24

func (q *Query) maxRows() int {
	if q.Kind == Checksum {
		return 0 // no rows, no bound
	}
	if q.Limit == 0 || q.Limit > MaxPageRows {
		return MaxPageRows
	}
	return q.Limit
}

func (q *Query) maxBytes() int {
	if q.MaxBytes == 0 || q.MaxBytes > MaxPageBytes {
		return MaxPageBytes
	}
	return q.MaxBytes
}

// page is an answer being built.
type page struct {
	q                 *Query
	now, due          shard.Millis
	maxRows, maxBytes int

	a          Answer // without its rows
	rows       int
	out        []byte // pageHeadBytes of room, then the rows, encoded
	from       Buffers
	lent       bool // out is from there
	bytes      int  // of their keys and values
	needsClock bool
}

const (
	// pageHeadBytes is room for what stands before the rows and is known after them; with longer keys it is copied.
	pageHeadBytes = 160
	// rowGuess is how large a row is taken to be, and rowHead what it takes beside key and value, at most.
	rowGuess = 320
	rowHead  = 24
	// lentBytes is from where on an answer is encoded in a buffer that is lent.
	lentBytes = 4 << 10
)

// begin makes room for as many bytes as the rows may take, as far as the query says.
func (p *page) begin() {
	guess := pageHeadBytes
	switch p.q.Kind {
	case Get:
		guess += min(rowGuess*len(p.q.Keys), p.maxBytes)
	case Scan:
		guess += min(rowGuess*p.maxRows, p.maxBytes+p.maxBytes/8)
	}
	p.out = p.room(guess)[:pageHeadBytes]
}

// room is a buffer of at least n bytes, lent if that pays.
func (p *page) room(n int) []byte {
	if p.lent = p.from != nil && n >= lentBytes; p.lent {
		return *p.from.Get(n)
	}
	return make([]byte, n)
}

// grow makes room for n bytes more.
func (p *page) grow(n int) {
	if n > cap(p.out)-len(p.out) {
		p.move(p.out, max(2*cap(p.out), len(p.out)+n))
	}
}

// move puts what is to be kept of the page's room into one of n bytes, and gives up the one before.
func (p *page) move(keep []byte, n int) {
	old, lent := p.out, p.lent
	p.out = p.room(n)
	p.out = p.out[:copy(p.out, keep)]
	if lent {
		p.from.Put(&old)
	}
}

// giveBack gives up what was encoded.
func (p *page) giveBack() {
	if out := p.out; p.lent {
		p.from.Put(&out)
	}
	p.out, p.lent = nil, false
}

// encoded is the answer, once all rows are there.
func (p *page) encoded() Encoded {
	var room [pageHeadBytes]byte
	head := p.a.appendHead(room[:0], p.rows, p.q.Kind == Scan)
	e := Encoded{Part: p.a.Range}
	at := pageHeadBytes - len(head)
	if at < 0 {
		e.Body = append(head, p.out[pageHeadBytes:]...)
		p.giveBack()
		return e
	}
	copy(p.out[at:], head)
	e.Body = p.out[at:]
	if cap(p.out) > 2*len(p.out) {
		// The guess was far too large: an answer may wait for a while, and counts as its length.
		p.move(e.Body, len(e.Body))
		e.Body = p.out
	}
	if p.lent {
		e.Room = p.out
	}
	return e
}

func (p *page) get(r Reader) error {
	for _, k := range p.q.Keys {
		b, ok, err := r.Get(k)
		if err != nil {
			return fmt.Errorf("get %s: %w", short(k), err)
		}
		row, expireAt, err := p.row(k, b, ok)
		if err != nil || p.needsClock {
			return err
		}
		if !p.add(row, expireAt) {
			p.a.More, p.a.Next = true, k
			return nil
		}
	}
	return nil
}

// row is that of a key of a Get, and when it expires. Its value is part of b.
func (p *page) row(k shard.Key, b []byte, found bool) (row Row, expireAt shard.Millis, err error) {
	if !found {
		return Row{}, 0, nil
	}
	v, found, err := p.visible(k, b)
	if err != nil || p.needsClock {
		return Row{}, 0, err
	}
	row.Found = found
	if found && !p.q.KeysOnly {
		row.Value = v.User
	}
	return row, v.ExpireAt, nil
}

func (p *page) scan(r Reader, part shard.Range) error {
	p.a.Range = part
	var bad error
	err := r.Scan(part, p.q.Reverse, func(k shard.Key, b []byte) bool {
		v, ok, err := p.visible(k, b)
		switch {
		case err != nil:
			bad = err
			return false
		case p.needsClock:
			return false
		case !ok:
			return true
		case p.q.Kind == Checksum:
			p.a.Sum = p.a.Sum.Add(sumOf(k, v, b))
			return true
		}
		row := Row{Key: k, Found: true}
		if !p.q.KeysOnly {
			row.Value = v.User
		}
		if !p.add(row, v.ExpireAt) {
			p.cutAt(k)
			return false
		}
		return true
	})
	if bad != nil || err != nil {
		return fmt.Errorf("scan %s: %w", part, firstOf(bad, err))
	}
	p.goOn()
	return nil
}

// visible takes a stored value apart. It is not there if it is expired, and sets needsClock if it is due.
func (p *page) visible(k shard.Key, b []byte) (Value, bool, error) {
	v, err := DecodeValue(b)
	if err != nil {
		return Value{}, false, fmt.Errorf("read %s: %w", short(k), err)
	}
	if v.dueBy(p.now, p.due) {
		p.needsClock = true
	}
	return v, !v.Expired(p.now), nil
}

// add encodes a row into the page. It reports false, and leaves it out, if the page is full; a first row always fits.
func (p *page) add(row Row, expireAt shard.Millis) bool {
	n := len(row.Key) + len(row.Value)
	if p.rows > 0 && (p.bytes+n > p.maxBytes || p.q.Kind == Scan && p.rows >= p.maxRows) {
		return false
	}
	p.bytes += n
	p.rows++
	row = p.timed(row, expireAt)
	p.grow(n + rowHead)
	p.out = row.append(p.out, p.q.Kind == Scan)
	return true
}

// timed adds what is left of the row's life, if that is asked for.
func (p *page) timed(row Row, expireAt shard.Millis) Row {
	if p.q.WithTTL && row.Found && expireAt != 0 {
		row.ExpireIn = left(expireAt, p.due)
	}
	return row
}

// left is how long a key lives on at shard time now. expireAt is above now.
func left(expireAt, now shard.Millis) time.Duration {
	return time.Duration(min(uint64(expireAt-now), uint64(MaxTTL/time.Millisecond))) * time.Millisecond
}

// cutAt ends the page before the key k, which did not fit.
func (p *page) cutAt(k shard.Key) {
	p.a.More = true
	if p.q.Reverse {
		p.a.Next = k.Next()
		p.a.Range.Start = p.a.Next
		return
	}
	p.a.Next = k.Clone()
	p.a.Range.End = p.a.Next
}

// goOn sends a query whose range goes on beyond the shard to the neighbour.
func (p *page) goOn() {
	if p.a.More {
		return
	}
	if p.q.Reverse {
		if p.q.Range.Start.Compare(p.a.Range.Start) < 0 {
			p.a.More, p.a.Next = true, p.a.Range.Start
		}
		return
	}
	if p.q.Range.CompareEnd(p.a.Range.End) > 0 {
		p.a.More, p.a.Next = true, p.a.Range.End
	}
}

func sumOf(k shard.Key, v Value, stored []byte) Sum {
	var d xxhash.Digest
	d.Reset()
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(len(k)))
	_, _ = d.Write(n[:]) // a Digest's Write never returns an error
	_, _ = d.Write(k)
	_, _ = d.Write(stored)
	return Sum{Hash: d.Sum64(), Keys: 1, Bytes: uint64(len(k.User()) + len(v.User))}
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
