package client

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
	"github.com/skerrydb/skerry/shard/raw"
)

// Bounds of a page of a scan. The first page is small, because many scans end there; each next one may be twice as long.
const (
	pageBytes     = 1 << 20
	firstPageRows = 128
	maxPageRows   = 4096
)

// Scan yields the keys of a range in order, across shards, a page at a time; the next page is fetched meanwhile, and of a long scan pages of
// the next shards as well. An error ends it. Keys and values are the caller's, unless he gives ReuseRows; one that is kept keeps its page in
// memory.
//
// A key that exists throughout the scan appears exactly once. A page is a linearizable read of its part of one shard;
// the scan as a whole is no view of one moment.
func (db *DB) Scan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[KV, error] {
	return db.scan(ctx, r, false, opts)
}

// ReverseScan is Scan from the end of the range down.
func (db *DB) ReverseScan(ctx context.Context, r Range, opts ...ScanOption) iter.Seq2[KV, error] {
	return db.scan(ctx, r, true, opts)
}

func (db *DB) scan(ctx context.Context, r Range, reverse bool, opts []ScanOption) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		w := walk{cursor: cursor{db: db, rest: r.whole(), reverse: reverse, rows: firstPageRows}}
		for _, opt := range opts {
			opt.applyScan(&w.o)
		}
		if err := w.check(r); err != nil {
			yield(KV{}, err)
			return
		}
		if r.empty() {
			return
		}
		for p, err := range w.pages(ctx) {
			if err != nil {
				yield(KV{}, err)
				return
			}
			for i := range p.rows {
				if !yield(KV{Key: p.rows[i].Key.User(), Value: p.rows[i].Value}, nil) {
					return
				}
			}
			p.giveBack()
		}
	}
}

// page is some rows of a scan, in order.
type page struct {
	rows []raw.Row // of pageRows
	room []byte    // of buffer.Frames: all rows lie in it, and nobody keeps one; nil: none
}

// pageRows are rows of pages before.
var pageRows sync.Pool

// giveBack ends the use of a page, and of the keys and values that it has lent.
func (p *page) giveBack() {
	clear(p.rows) // what they point to may be kept, or not
	rows := p.rows[:0]
	pageRows.Put(&rows)
	if p.room != nil {
		buffer.Frames.Give(p.room)
	}
}

// cursor is where a scan is.
type cursor struct {
	db      *DB
	o       scanOptions
	reverse bool

	rest    shard.Range // INVARIANT: holds exactly the keys that were not yet looked at
	rows    int         // bound of the next page
	fetched int         // rows
}

func (c *cursor) check(r Range) error {
	op := c.name()
	if c.o.limit < 0 || c.o.pageBytes < 0 {
		return refuse(op, nil, ErrInvalid, fmt.Sprintf("limit %d, page of %d bytes", c.o.limit, c.o.pageBytes), "give positive ones, or none")
	}
	return checkRange(op, r)
}

func (c *cursor) name() string {
	if c.reverse {
		return "reverse scan"
	}
	return "scan"
}

// page reads the next page and moves on. It says whether there is another one.
func (c *cursor) page(ctx context.Context) (p page, more bool, err error) {
	q := raw.Query{Kind: raw.Scan, Range: c.rest, Reverse: c.reverse, KeysOnly: c.o.keysOnly, Limit: c.rows, MaxBytes: pageBytes}
	if c.o.pageBytes > 0 {
		q.MaxBytes = c.o.pageBytes
	}
	if c.o.limit > 0 {
		q.Limit = min(q.Limit, c.o.limit-c.fetched)
	}
	t := c.target()
	e := c.db.begin(ctx, c.name(), t.first)
	rep, err := e.fetch(&t, call.Request{Kind: call.Read, Follower: c.o.follower, Lend: c.o.reuse, Body: q.Append(nil)})
	if err != nil {
		return page{}, false, err
	}
	var a raw.Answer
	if rows, ok := pageRows.Get().(*[]raw.Row); ok {
		a.Rows = *rows
	}
	if err := a.Decode(rep.Body); err != nil {
		return page{}, false, e.unreadable(err)
	}
	if more, err = c.advance(&a); err != nil {
		return page{}, false, e.fail(ErrInvalid, err)
	}
	c.rows = min(2*c.rows, maxPageRows)
	c.fetched += len(a.Rows)
	p.rows = a.Rows
	if c.o.reuse {
		p.room = rep.Room
	}
	return p, more && (c.o.limit == 0 || c.fetched < c.o.limit), nil
}

// target is where the rest begins.
func (c *cursor) target() target {
	if c.reverse {
		return target{first: c.rest.End, before: true}
	}
	return target{first: c.rest.Start}
}

// advance cuts what a page covers off the rest, and says whether there is more. A page that covers nothing would be asked for
// again for ever.
func (c *cursor) advance(a *raw.Answer) (more bool, err error) {
	if !a.More {
		return false, nil
	}
	if !c.reverse {
		if a.Next.Compare(c.rest.Start) <= 0 {
			return false, fmt.Errorf("the scan does not move on from %s", c.rest.Start)
		}
		c.rest.Start = a.Next.Clone()
	} else {
		if a.Next.Compare(c.rest.End) >= 0 {
			return false, fmt.Errorf("the reverse scan does not move on from %s", c.rest.End)
		}
		c.rest.End = a.Next.Clone()
	}
	return !c.rest.Empty(), nil
}
