package client

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/skerrydb/skerry/internal/buffer"
	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/call"
)

// Bounds of a page of a scan. The first page is small, because many scans end there; each next one may be twice as long.
const (
	pageBytes     = 1 << 20
	firstPageRows = 128
	maxPageRows   = 4096
)

// source is what a scan reads rows R of.
type source[R any] interface {
	// read asks the shard of t for the first rows of q's range. Safe for concurrent use.
	read(e *effort, t *target, q *query) (page[R], error)
}

// query asks for one page.
type query struct {
	in      shard.Range
	reverse bool
	limit   int // rows
	bytes   int
	o       *scanOptions // without its limit and bytes
}

// room is the memory of a reply that nobody keeps, if the scan lends its rows.
func (q *query) room(rep *call.Reply) []byte {
	if !q.o.reuse {
		return nil
	}
	return rep.Room
}

// page is some rows of a scan, in order.
type page[R any] struct {
	rows  []R
	spare *sync.Pool // where rows go when they were read; nil: nowhere
	room  []byte     // of buffer.Frames: all rows lie in it, and nobody keeps one; nil: none

	more bool
	next shard.Key // with more: where the rest begins, or, reversed, ends
}

// giveBack ends the use of a page, and of the keys and values that it has lent.
func (p *page[R]) giveBack() {
	if p.spare != nil {
		clear(p.rows) // what they point to may be kept, or not
		rows := p.rows[:0]
		p.spare.Put(&rows)
	}
	if p.room != nil {
		buffer.Frames.Give(p.room)
	}
}

// spareRows takes rows out of a pool of them; nil: there are none.
func spareRows[R any](pool *sync.Pool) []R {
	if rows, ok := pool.Get().(*[]R); ok {
		return *rows
	}
	return nil
}

// rowsOf yields the rows of pages; each is valid until the next one. An error ends it.
func rowsOf[R any](pages iter.Seq2[page[R], error]) iter.Seq2[*R, error] {
	return func(yield func(*R, error) bool) {
		for p, err := range pages {
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range p.rows {
				if !yield(&p.rows[i], nil) {
					return
				}
			}
			p.giveBack()
		}
	}
}

// cursor is where a scan is.
type cursor[R any] struct {
	db      *DB
	from    source[R]
	op      string // for errors
	o       scanOptions
	reverse bool

	rest    shard.Range // INVARIANT: holds exactly the keys that were not yet looked at
	rows    int         // bound of the next page
	fetched int         // rows
}

// newCursor begins a scan of r, of which whole is the part of the keyspace.
func newCursor[R any](db *DB, from source[R], r Range, whole shard.Range, reverse bool, opts []ScanOption) (*cursor[R], error) {
	c := &cursor[R]{db: db, from: from, op: "scan", reverse: reverse, rest: whole, rows: firstPageRows}
	if reverse {
		c.op = "reverse scan"
	}
	for _, opt := range opts {
		opt.applyScan(&c.o)
	}
	if c.o.limit < 0 || c.o.pageBytes < 0 {
		return nil, refuse(c.op, nil, ErrInvalid, fmt.Sprintf("limit %d, page of %d bytes", c.o.limit, c.o.pageBytes), "give positive ones, or none")
	}
	if err := checkRange(c.op, r); err != nil {
		return nil, err
	}
	return c, nil
}

// pages yields the pages in order, each read when it is wanted.
func (c *cursor[R]) pages(ctx context.Context) iter.Seq2[page[R], error] {
	return func(yield func(page[R], error) bool) {
		for more := !c.rest.Empty(); more; {
			var p page[R]
			var err error
			if p, more, err = c.page(ctx); !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// page reads the next page and moves on. It says whether there is another one.
func (c *cursor[R]) page(ctx context.Context) (p page[R], more bool, err error) {
	q := query{in: c.rest, reverse: c.reverse, limit: c.rows, bytes: pageBytes, o: &c.o}
	if c.o.pageBytes > 0 {
		q.bytes = c.o.pageBytes
	}
	if c.o.limit > 0 {
		q.limit = min(q.limit, c.o.limit-c.fetched)
	}
	t := c.target()
	e := c.db.begin(ctx, c.op, t.first)
	if p, err = c.from.read(&e, &t, &q); err != nil {
		return page[R]{}, false, err
	}
	if more, err = c.advance(&p); err != nil {
		return page[R]{}, false, e.fail(ErrInvalid, err)
	}
	c.rows = min(2*c.rows, maxPageRows)
	c.fetched += len(p.rows)
	return p, more && (c.o.limit == 0 || c.fetched < c.o.limit), nil
}

// target is where the rest begins.
func (c *cursor[R]) target() target {
	if c.reverse {
		return target{first: c.rest.End, before: true}
	}
	return target{first: c.rest.Start}
}

// advance cuts what a page covers off the rest, and says whether there is more. A page that covers nothing would be asked for
// again for ever.
func (c *cursor[R]) advance(p *page[R]) (more bool, err error) {
	if !p.more {
		return false, nil
	}
	if !c.reverse {
		if p.next.Compare(c.rest.Start) <= 0 {
			return false, fmt.Errorf("the scan does not move on from %s", c.rest.Start)
		}
		c.rest.Start = p.next.Clone()
	} else {
		if p.next.Compare(c.rest.End) >= 0 {
			return false, fmt.Errorf("the reverse scan does not move on from %s", c.rest.End)
		}
		c.rest.End = p.next.Clone()
	}
	return !c.rest.Empty(), nil
}
