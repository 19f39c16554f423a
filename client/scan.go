package client

import (
	"context"
	"fmt"
	"iter"

	"github.com/skerrydb/skerry/shard"
	"github.com/skerrydb/skerry/shard/raw"
)

// Bounds of a page of a scan. The first page is small, because many scans end there; each next one may be twice as long.
const (
	pageBytes     = 1 << 20
	firstPageRows = 128
	maxPageRows   = 4096
)

// Scan yields the keys of a range in order, across shards, a page at a time; the next page is fetched meanwhile. An error ends it. Keys and values are the
// caller's; one that is kept keeps its page in memory.
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
		c := cursor{db: db, rest: r.whole(), reverse: reverse, rows: firstPageRows}
		for _, opt := range opts {
			opt.applyScan(&c.o)
		}
		if err := c.check(r); err != nil {
			yield(KV{}, err)
			return
		}
		if r.empty() {
			return
		}
		for rows, err := range readAhead(ctx, db.env, c.page) {
			if err != nil {
				yield(KV{}, err)
				return
			}
			for i := range rows {
				if !yield(KV{Key: rows[i].Key.User(), Value: rows[i].Value}, nil) {
					return
				}
			}
		}
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
func (c *cursor) page(ctx context.Context) (rows []raw.Row, more bool, err error) {
	q := raw.Query{Kind: raw.Scan, Range: c.rest, Reverse: c.reverse, KeysOnly: c.o.keysOnly, Limit: c.rows, MaxBytes: pageBytes}
	if c.o.pageBytes > 0 {
		q.MaxBytes = c.o.pageBytes
	}
	if c.o.limit > 0 {
		q.Limit = min(q.Limit, c.o.limit-c.fetched)
	}
	t := target{first: c.rest.Start}
	if c.reverse {
		t = target{first: c.rest.End, before: true}
	}
	e := c.db.begin(ctx, c.name(), t.first)
	body, err := e.read(&t, q.Append(nil), c.o.follower)
	if err != nil {
		return nil, false, err
	}
	a, err := e.answer(body)
	if err != nil {
		return nil, false, err
	}
	if more, err = c.advance(a); err != nil {
		return nil, false, e.fail(ErrInvalid, err)
	}
	c.rows = min(2*c.rows, maxPageRows)
	c.fetched += len(a.Rows)
	return a.Rows, more && (c.o.limit == 0 || c.fetched < c.o.limit), nil
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
